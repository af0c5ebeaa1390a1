"""The golden datasets of shards/sample: every version reads them, and today's writer still makes the same bytes."""

import hashlib
import json
from pathlib import Path

import duckdb
import pytest

from golden_sample import IMAGES, SAMPLE, image_facts, sample_name, write_sample
from radio_io.codecs.htj2k import Htj2kCodec
from radio_io.dataset import open_dataset
from radio_io.labels.store import load_labels
from radio_io.progress import NoProgress
from radio_io.sharding.sample import pixel_hash
from radio_io.sharding.verify import verify_dataset

GOLDEN = sorted(path.parent for path in SAMPLE.glob("*/dataset.json"))
MUST_READ = (
    "a dataset that an earlier radio wrote is no longer read as it was. Datasets of users would break alike: "
    "make the reader cope; never change shards/sample to make this test pass."
)
ON_PURPOSE = (
    "the writer no longer makes the bytes that it made. If that was not meant, it is a fault: the same files, settings "
    "and key must give the same bytes. If it was meant, and only the version of pyarrow, DuckDB or a codec made the "
    "difference, or the format version is not released yet, delete shards/sample/v<version>-* and run: python "
    "tests/golden_sample.py. If the format of a released version changes, raise FORMAT_VERSION and keep the old "
    "samples: see shards/sample/README.md."
)


def by_name(path: Path) -> str:
    return path.name


def files_of(root: Path) -> dict[str, str]:
    """SHA-256 by name of every file but the two that carry or follow DuckDB's own identifiers."""
    names = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if name not in ("index.duckdb", "dataset.json")
    }


def tables_of(root: Path) -> dict[str, list[tuple]]:
    """Names and types of the columns of every table of the index, and its rows."""
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()]
        return {
            name: [
                *connection.execute(f"DESCRIBE {name}").fetchall(),
                *connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall(),
            ]
            for name in names
        }


def settings_of(root: Path) -> dict[str, object]:
    values = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
    return {name: value for name, value in values.items() if name not in ("checksum", "index_sha256")}


def test_has_one_of_each_codec():
    names = {path.name for path in GOLDEN}
    assert {sample_name(codec) for codec in IMAGES} <= names
    assert {open_dataset(root).codec for root in GOLDEN} == set(IMAGES)


def test_stays_small():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file()) < 4_000_000


@pytest.mark.parametrize("root", GOLDEN, ids=by_name)
def test_verifies_clean(root):
    report = verify_dataset(root, NoProgress())
    assert report.faults == [], MUST_READ
    assert report.images == len(open_dataset(root))


@pytest.mark.parametrize("root", GOLDEN, ids=by_name)
def test_reads_every_image_as_it_was(root):
    expected = json.loads((SAMPLE / f"{root.name}.json").read_text(encoding="utf-8"))
    assert image_facts(root) == expected, MUST_READ
    data = open_dataset(root)
    for key in data:
        assert pixel_hash(data[key].pixels) == expected[key]["pixel_hash"], MUST_READ


@pytest.mark.parametrize("root", GOLDEN, ids=by_name)
def test_answers_queries_and_has_its_labels(root):
    data = open_dataset(root)
    assert {row["split"] for row in data.query(columns="split").to_pylist()} == {"train", "val", "test"}
    assert len(data.keys("rows <= 256")) == 2
    assert len({(row["bin_height"], row["bin_width"]) for row in data.query().to_pylist()}) >= 2
    assert sorted(load_labels(root, "species").values()).count("dog") == 1


@pytest.mark.parametrize("root", [root for root in GOLDEN if root.name.endswith("htj2k")], ids=by_name)
def test_reads_the_front_of_an_image_at_half_its_size(root):
    data = open_dataset(root)
    (key,) = data.keys("region = 'Lower leg'")
    row = data[key].metadata
    with (root / f"{row['shard_id']}.tar").open("rb") as file:
        file.seek(row["image_offset"])
        front = file.read(row["level_sizes"][1])
    half = Htj2kCodec().decode_reduced(front, 1)
    assert half.shape == (-(-row["rows"] // 2), -(-row["columns"] // 2))


@pytest.mark.parametrize("codec", sorted(IMAGES))
def test_todays_writer_makes_the_same_bytes(codec, tmp_path):
    golden, made = SAMPLE / sample_name(codec), tmp_path / sample_name(codec)
    write_sample(made, codec)
    ours, theirs = files_of(made), files_of(golden)
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    assert not different, f"{different}: {ON_PURPOSE}"
    assert settings_of(made) == settings_of(golden), ON_PURPOSE
    assert tables_of(made) == tables_of(golden), ON_PURPOSE
