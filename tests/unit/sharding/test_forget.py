"""Withdrawn patients and studies: gone everywhere, all others untouched, whatever moment the process dies."""

import contextlib
import dataclasses
import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, UsageError
from radio_io.labels.identifiers import IdColumn, image_lookup, open_dataset_key
from radio_io.labels.import_labels import import_labels
from radio_io.labels.store import load_labels
from radio_io.layout import DatasetLayout
from radio_io.loading.background_counts import count_background, uncounted
from radio_io.loading.background_file import BackgroundFile
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.table import load_image_table
from radio_io.privacy.tombstones import Tombstones, read_tombstones
from radio_io.progress import NoProgress
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import build_dataset
from radio_io.sharding.forget import forget
from radio_io.sharding.forget_request import ForgetRequest, read_request, tombstones_for
from radio_io.sharding.info import dataset_info
from radio_io.sharding.locking import locked
from radio_io.sharding.verify import verify_dataset
from unit.dicom.make_dicom import dataset_of, file_of, picture

PATIENTS, STUDIES, IMAGES = 12, 2, 2


def write_source(folder: Path) -> None:
    """Twelve patients with two studies of two images each; every third patient has an issuer on half of them."""
    folder.mkdir()
    for number in range(PATIENTS * STUDIES * IMAGES):
        patient, study = number // (STUDIES * IMAGES), number // IMAGES
        dataset = dataset_of(
            picture(96 + number % 5, 80, seed=number),
            bits=12,
            PatientID=f"P{patient}",
            IssuerOfPatientID="H" if patient % 3 == 0 and number % 2 else None,
            StudyInstanceUID=f"1.2.{study}",
            SOPInstanceUID=f"1.3.{number}",
        )
        (folder / f"{number:03}").write_bytes(file_of(dataset))


def config_of(root: Path) -> BuildConfig:
    return BuildConfig(
        dataset=root,
        sources=(str((root.parent / "source").resolve()),),
        bins=Bins.parse("128x128"),
        shard_size_bytes=30_000,
        min_shard_images=4,
        workers=0,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("forget")
    write_source(folder / "source")
    build_dataset(config_of(folder / "shards"), NoProgress())
    table = folder / "labels.csv"
    table.write_text("PatientID,L\n" + "".join(f"P{patient},{patient % 2}\n" for patient in range(PATIENTS)))
    import_labels(folder / "shards", [table], id_column=IdColumn.PATIENT_ID, label_column="L", task="odd")
    assert len(DatasetLayout(folder / "shards").record_paths()) >= 6
    return folder / "shards"


@pytest.fixture
def root(whole, tmp_path) -> Path:
    """A copy that a test may change, with its sources."""
    return copy_of(whole, tmp_path)


def copy_of(whole: Path, folder: Path) -> Path:
    shutil.copytree(whole, folder / "shards")
    shutil.copytree(DatasetLayout(whole).private, DatasetLayout(folder / "shards").private)
    (folder / "source").symlink_to(whole.parent / "source")
    return folder / "shards"


def tombstones(root, **request) -> Tombstones:
    return tombstones_for(ForgetRequest(**request), open_dataset_key(root))


def keys_of(root, patient: str) -> set[str]:
    return set(image_lookup(root, open_dataset_key(root), IdColumn.PATIENT_ID).images_of(patient))


def keys_in(tar) -> set[str]:
    with tarfile.open(tar) as archive:
        return {name.partition(".")[0] for name in archive.getnames()}


def members(root) -> dict[str, bytes]:
    """Everything in the tars, by the name of the member."""
    found = {}
    for path in root.glob("*/*/*.tar"):
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
            found |= {member.name: archive.extractfile(member).read() for member in archive}
    return found


def files_of(root) -> dict[str, bytes]:
    """Every file of shards and labels; not the index and its checksum, whose bytes DuckDB does not repeat."""
    paths = [*root.glob("*/*/*.*"), *root.glob("labels/*")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def rows_of(root) -> list:
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as connection:
        return [connection.execute(f"SELECT * FROM {name}").fetchall() for name in ("images", "shards", "labels")]


def assert_gone(root, before: dict[str, bytes], gone: set[str]) -> None:
    """Nothing of the keys is left in any byte of the dataset; all other members are as they were."""
    after = members(root)
    assert {name.split(".")[0] for name in before} - {name.split(".")[0] for name in after} == gone
    assert after == {name: content for name, content in before.items() if name.split(".")[0] not in gone}
    for path in (path for path in root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not [key for key in gone if key.encode() in content], path.name
    assert not gone & {value for table in rows_of(root) for row in table for value in row if isinstance(value, str)}
    assert verify_dataset(root, NoProgress(), workers=0).faults == []


def test_takes_a_patient_out_of_shards_labels_and_index(root):
    before, gone = members(root), keys_of(root, "P4")
    samples = DatasetLayout(root).report_samples
    samples.mkdir(mode=0o700)
    (samples / "fracture.csv").write_text("report of P4")
    replaced = DatasetLayout(root).quarantine / "train" / "000000.tar.1"  # as a repair keeps it
    replaced.parent.mkdir(parents=True)
    replaced.write_bytes(b"image of P4")
    summary = forget(root, tombstones(root, patients=("P4",)), NoProgress())
    assert (summary.images, summary.labels, summary.tombstones) == (len(gone), len(gone), 1) == (4, 4, 1)
    assert_gone(root, before, gone)
    assert not list(samples.iterdir())
    assert not replaced.exists()
    assert len(load_labels(root, "odd")) == (PATIENTS - 1) * STUDIES * IMAGES
    assert read_dataset_file(root).num_images == (PATIENTS - 1) * STUDIES * IMAGES


def test_takes_out_all_images_of_an_id_whatever_the_issuer_or_one_issuers_only(root, whole, tmp_path):
    forget(root, tombstones(root, patients=("P3",)), NoProgress())
    assert keys_of(root, "P3") == set()
    (tmp_path / "b").mkdir()
    other = copy_of(whole, tmp_path / "b")
    assert forget(other, tombstones(other, patients=("P3",), issuer="H"), NoProgress()).images == 2
    assert len(keys_of(other, "P3")) == 2


def test_takes_them_out_of_counts_of_background_and_keeps_the_others(root):
    table, config = load_image_table(root, None), LoaderConfig(patch_size=16)
    every = np.arange(len(table))
    assert count_background(root, table, config, every, NoProgress()) == len(every)
    before, gone = members(root), keys_of(root, "P4")
    forget(root, tombstones(root, patients=("P4",)), NoProgress())
    assert_gone(root, before, gone)
    content = BackgroundFile(root, config).path.read_bytes()
    assert [row for row in every if table.keys[row].tobytes() in content] == [
        row for row in every if table.key(row) not in gone
    ]
    left = load_image_table(root, None)
    assert len(uncounted(root, left, config, np.arange(len(left)))) == 0


def test_takes_out_one_study_only(root):
    before = members(root)
    gone = set(image_lookup(root, open_dataset_key(root), IdColumn.STUDY_INSTANCE_UID).images_of("1.2.5"))
    assert forget(root, tombstones(root, studies=("1.2.5",)), NoProgress()).images == len(gone) == 2
    assert_gone(root, before, gone)


def test_a_later_build_does_not_bring_them_back_and_accounts_for_every_file(root):
    forget(root, tombstones(root, patients=("P4", "P5"), studies=("1.2.0",)), NoProgress())
    before = files_of(root)
    summary = build_dataset(config_of(root), NoProgress())
    assert (summary.new_shards, summary.rejects) == (0, {"WITHDRAWN": 10})
    assert files_of(root) == before
    new = dataset_of(picture(90, 70, seed=999), bits=12, PatientID="P4", SOPInstanceUID="1.3.999")
    (root.parent / "more").mkdir()
    (root.parent / "more" / "new").write_bytes(file_of(new))
    config = dataclasses.replace(config_of(root), sources=(*config_of(root).sources, str(root.parent / "more")))
    summary = build_dataset(config, NoProgress())
    assert summary.rejects == {"WITHDRAWN": 11}
    assert verify_dataset(root, NoProgress(), workers=0).faults == []


def test_a_lost_shard_is_made_again_without_them(root):
    forget(root, tombstones(root, patients=("P4",)), NoProgress())
    before = files_of(root)
    for path in root.glob("train/*/*.parquet"):
        path.unlink()
    build_dataset(config_of(root), NoProgress())
    assert files_of(root) == before


def test_takes_out_whole_shards(root):
    shard = DatasetLayout(root).record_paths()[0]
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as connection:
        shard_id = DatasetLayout(root).shard_id_of(shard)
        rows = connection.execute(
            "SELECT DISTINCT patient_key[:16] FROM images WHERE shard_id = ?", [shard_id]
        ).fetchall()
    before = members(root)
    forget(root, Tombstones(persons=frozenset(row[0] for row in rows)), NoProgress())
    assert not list(shard.parent.glob(shard.stem + ".*"))
    gone = {name.split(".")[0] for name in before} - {name.split(".")[0] for name in members(root)}
    assert_gone(root, before, gone)
    assert build_dataset(config_of(root), NoProgress()).new_shards == 0


def test_of_nobody_in_the_dataset_only_the_tombstone_is_kept(root):
    before = files_of(root)
    assert forget(root, tombstones(root, patients=("stranger",)), NoProgress()).images == 0
    assert files_of(root) == before
    assert len(read_tombstones(DatasetLayout(root))) == 1


def test_a_dry_run_changes_nothing(root):
    everything = {path: path.read_bytes() for path in root.parent.rglob("*") if path.is_file()}
    assert forget(root, tombstones(root, patients=("P4",)), NoProgress(), dry_run=True).images == 4
    assert {path: path.read_bytes() for path in root.parent.rglob("*") if path.is_file()} == everything


def test_clears_caches_named_and_those_of_runs_that_saw_them(root, tmp_path):
    gone = sorted(keys_of(root, "P4"))
    kept = sorted(keys_of(root, "P5"))
    folders = [tmp_path / "named", tmp_path / "used", tmp_path / "other"]
    for folder in folders:
        for key in (*gone, *kept):
            entry = folder / "0123456789abcdef" / key[:2] / f"{key}.htj2k-0"
            entry.parent.mkdir(parents=True, exist_ok=True)
            entry.write_bytes(b"x")
        (folder / "usage").write_bytes(bytes(8))
    runs = [{"run": "a", "cache": str(folders[1])}, {"run": "b", "cache": ""}]
    summary = forget(
        root, tombstones(root, patients=("P4",)), NoProgress(), find_runs=lambda _: runs, caches=(folders[0],)
    )
    assert summary.cached == 2 * len(gone)
    for folder in folders:
        left = {path.name[:32] for path in folder.rglob("*.htj2k-0")}
        assert left == {*kept, *(gone if folder.name == "other" else ())}
        assert (folder / "usage").exists() == (folder.name == "other")


def test_refuses_a_damaged_shard_and_goes_on_when_it_is_restored(root):
    before, gone = members(root), keys_of(root, "P4")
    # A shard of which something stays: one that is withdrawn as a whole is not read at all.
    damaged = next(path for path in sorted(root.glob("*/*/*.tar")) if gone & keys_in(path) and keys_in(path) - gone)
    content = damaged.read_bytes()
    with tarfile.open(damaged) as archive:  # in an image that stays: the others are not looked at again
        start = next(member.offset_data for member in archive if member.name.partition(".")[0] not in gone)
    damaged.write_bytes(
        content[:start] + bytes(byte ^ 255 for byte in content[start : start + 50]) + content[start + 50 :]
    )
    with pytest.raises(DatasetError, match="not what its record says"):
        forget(root, tombstones(root, patients=("P4",)), NoProgress())
    damaged.write_bytes(content)
    build_dataset(config_of(root), NoProgress())  # a build completes it as well
    assert_gone(root, before, gone)
    assert read_tombstones(DatasetLayout(root)).pending is None


def test_tells_which_runs_saw_them_once_more_after_an_interruption(root, monkeypatch):
    seen: list[frozenset[str]] = []

    def find_runs(keys):
        seen.append(keys)
        return [{"run": f"runs/{len(keys)}"}]

    gone = keys_of(root, "P4")
    monkeypatch.setattr("radio_io.sharding.forget.publish_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        forget(root, tombstones(root, patients=("P4",)), NoProgress(), find_runs=find_runs)
    monkeypatch.undo()
    summary = forget(root, tombstones(root, patients=("P4",)), NoProgress(), find_runs=find_runs)
    assert seen == [gone]
    assert (summary.images, summary.runs) == (4, ({"run": "runs/4"},))


@pytest.mark.parametrize(
    ("text", "patients", "studies"),
    [
        ("P1\nP2\n\n", ("P1", "P2"), ()),
        ("PatientID\nP1\nP2\n", ("P1", "P2"), ()),
        ("x;StudyInstanceUID;PatientID\n;1.2;P1\n;;P2\n", ("P1", "P2"), ("1.2",)),
    ],
)
def test_reads_lists(tmp_path, text, patients, studies):
    (tmp_path / "list").write_text(text, encoding="utf-8-sig")
    assert read_request(tmp_path / "list") == ForgetRequest(patients=patients, studies=studies)


@pytest.mark.parametrize(
    "request_", [{}, {"patients": (" ",)}, {"patients": ("UNKNOWN",)}, {"patients": ("P1", "000")}]
)
def test_refuses_to_forget_nobody_in_particular(root, request_):
    with pytest.raises(UsageError, match=r"nobody|placeholder"):
        tombstones(root, **request_)


def test_refuses_a_damaged_list_of_tombstones(root):
    forget(root, tombstones(root, patients=("P4",)), NoProgress())
    DatasetLayout(root).withdrawn.write_text("{}")
    with pytest.raises(DatasetError, match="could come back"):
        build_dataset(config_of(root), NoProgress())


def stop_at(monkeypatch, step: int) -> None:
    """Let the process die at the `step`-th change of a file name: here by an exception that nothing catches."""
    count = [0]

    def counted(function):
        def wrapper(*arguments, **options):
            count[0] += 1
            if count[0] == step:
                raise KeyboardInterrupt
            return function(*arguments, **options)

        return wrapper

    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
    monkeypatch.setattr(atomic, "sync_folder", counted(atomic.sync_folder))


@pytest.mark.parametrize("step", [1, 3, 8, 17, 30, 47])
def test_completes_after_it_was_stopped_at_any_change_of_a_name(root, monkeypatch, step):
    before, gone = members(root), keys_of(root, "P4") | keys_of(root, "P9")
    wanted = tombstones(root, patients=("P4", "P9"))
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with contextlib.suppress(KeyboardInterrupt):
            forget(root, wanted, NoProgress())
    forget(root, wanted, NoProgress())
    assert_gone(root, before, gone)
    assert not list(root.parent.rglob(".tmp-*"))
    summary = build_dataset(config_of(root), NoProgress())
    assert (summary.new_shards, summary.rejects) == (0, {"WITHDRAWN": len(gone)})


PROGRAM = """
import sys, time
from pathlib import Path
from radio_io.labels.identifiers import open_dataset_key
from radio_io.progress import NoProgress
from radio_io.sharding.forget import forget
from radio_io.sharding.forget_request import ForgetRequest, tombstones_for
root = Path(sys.argv[1])
wanted = tombstones_for(ForgetRequest(patients=("P4", "P9", "P3")), open_dataset_key(root))
print("ready", flush=True)
sys.stdin.readline()
forget(root, wanted, NoProgress())
print("done", flush=True)
"""


def start(root) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.slow
def test_completes_after_kill_9_at_50_random_moments(whole, tmp_path):
    """After the next call the images are gone everywhere, all others byte-identical, verify is clean."""
    reference = copy_of(whole, make(tmp_path / "reference"))
    before, gone = members(whole), keys_of(whole, "P4") | keys_of(whole, "P9") | keys_of(whole, "P3")
    process = start(reference)
    started_s = time.monotonic()
    process.communicate(b"\n")
    longest_s = time.monotonic() - started_s
    assert_gone(reference, before, gone)
    generator, ended = random.Random(4), {"early": 0, "killed": 0, "done": 0}
    for number in range(50):
        root = copy_of(whole, make(tmp_path / f"{number}"))
        process = start(root)
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(generator.uniform(0, longest_s))
        process.kill()
        told = process.communicate()[0]
        untouched = files_of(root) == files_of(whole)
        ended["done" if told else "early" if untouched else "killed"] += 1
        forget(root, tombstones(root, patients=("P4", "P9", "P3")), NoProgress())
        assert files_of(root) == files_of(reference)
        assert rows_of(root) == rows_of(reference)
        assert verify_dataset(root, NoProgress(), workers=0).faults == []
        assert dataset_info(root) == dataset_info(reference)
        shutil.rmtree(root.parent)
    assert ended["killed"] >= 10, ended


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_refuses_while_another_process_changes_the_dataset(root):
    from radio_io.errors import StorageError

    with locked(DatasetLayout(root)), pytest.raises(StorageError, match="another radio"):
        forget(root, tombstones(root, patients=("P4",)), NoProgress())


def test_tombstones_hold_pseudonyms_only(root):
    forget(root, tombstones(root, patients=("P4",), studies=("1.2.0",)), NoProgress())
    path = DatasetLayout(root).withdrawn
    values = json.loads(path.read_text())
    assert [len(key) for key in (*values["persons"], *values["studies"])] == [16, 32]
    assert b"P4" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
