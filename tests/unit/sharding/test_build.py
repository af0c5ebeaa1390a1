"""Building: everything accounted for, the same bytes twice, and nothing lost by a crash."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pydicom
import pytest

from radio_io.config import BuildConfig
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, KeyFileError, StorageError
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import build_dataset, publish_index, scan
from radio_io.sharding.info import dataset_info
from radio_io.sharding.locking import locked
from radio_io.sharding.verify import verify_dataset
from radio_io.synth import write_export

REAL_FILES = Path(__file__).parents[2] / "data" / "dicom"


def shard_bytes(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.glob("*/*/*") if p.is_file()}


def test_every_file_is_an_image_or_a_reject(built):
    summary = built.summary
    files = [path for folder in (built.export, REAL_FILES) for path in folder.rglob("*") if path.is_file()]
    assert summary.found == summary.images + sum(summary.rejects.values()) == len(files)
    assert {"NOT_AN_IMAGE", "WRONG_MODALITY", "NOT_DICOM"} <= set(summary.rejects)


def test_rejects_what_the_export_says_is_faulty(tmp_path):
    export = tmp_path / "export"
    write_export(export, images=250, seed=11, scale=0.08, labels=True, workers=0, progress=NoProgress())
    summary = build_dataset(BuildConfig(dataset=tmp_path / "d", sources=(str(export),), workers=0), NoProgress())
    with (tmp_path / "export_ground_truth.csv").open(newline="", encoding="utf-8") as file:
        expected = [row["expected_reject"].split("|") for row in csv.DictReader(file) if row["expected_reject"]]
    for reason in {reason for choices in expected for reason in choices}:
        certain = sum(choices == [reason] for choices in expected)
        possible = sum(reason in choices for choices in expected)
        assert certain <= summary.rejects.get(reason, 0) <= possible, reason
    assert summary.images == 250
    assert len(expected) >= 5


def test_two_builds_with_one_key_give_the_same_bytes(built, tmp_path):
    again = tmp_path / "shards"
    DatasetLayout(again).private.mkdir(mode=0o700)
    shutil.copy2(DatasetLayout(built.root).key_file, DatasetLayout(again).key_file)
    config = BuildConfig(dataset=again, sources=(str(built.export), str(REAL_FILES)))
    build_dataset(BuildConfig(dataset=again, sources=config.sources, workers=0), NoProgress())
    assert shard_bytes(again) == shard_bytes(built.root)


def test_a_second_run_changes_nothing(built):
    before = shard_bytes(built.root)
    config = BuildConfig(dataset=built.root, sources=(str(built.export),), workers=0)
    summary = build_dataset(config, NoProgress())
    assert summary.new_shards == 0
    assert summary.images == built.summary.images
    assert shard_bytes(built.root) == before


def test_new_files_make_new_shards_and_leave_the_others(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    write_export(first, images=12, seed=1, scale=0.06, workers=0, progress=NoProgress())
    write_export(second, images=12, seed=2, scale=0.06, workers=0, progress=NoProgress())
    root = tmp_path / "d"
    one = build_dataset(BuildConfig(dataset=root, sources=(str(first),), workers=0), NoProgress())
    before = shard_bytes(root)
    both = build_dataset(BuildConfig(dataset=root, sources=(str(first), str(second)), workers=0), NoProgress())
    after = shard_bytes(root)
    assert both.found == 2 * one.found
    assert both.images > one.images
    assert {name: after[name] for name in before} == before
    assert verify_dataset(root, NoProgress(), workers=0).faults == []


def test_refuses_other_settings_and_another_key(built):
    other = BuildConfig(dataset=built.root, sources=(str(built.export),), bins=Bins.parse("64,128"), workers=0)
    with pytest.raises(DatasetError, match="bins is"):
        build_dataset(other, NoProgress())
    layout = DatasetLayout(built.root)
    key = layout.key_file.read_bytes()
    try:
        layout.key_file.write_bytes(bytes(32))
        with pytest.raises(KeyFileError, match="built with key"):
            build_dataset(BuildConfig(dataset=built.root, sources=(str(built.export),), workers=0), NoProgress())
    finally:
        layout.key_file.write_bytes(key)


def test_one_instance_in_several_encodings_has_the_same_pixels(built):
    with duckdb.connect(str(built.root / "index.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT pixel_hash, inverted, count(*) FROM images WHERE rows = 1760 AND NOT lossy GROUP BY ALL"
        ).fetchall()
    assert [(inverted, count) for _, inverted, count in rows] == [(True, 4)]


def test_patients_stay_in_one_split(built):
    with duckdb.connect(str(built.root / "index.duckdb"), read_only=True) as connection:
        splits = connection.execute(
            "SELECT max(n) FROM (SELECT count(DISTINCT split) n FROM images GROUP BY patient_key)"
        )
        assert splits.fetchone() == (1,)


@pytest.mark.parametrize("seed", range(4))
def test_verify_finds_a_flipped_bit_anywhere(built, tmp_path, seed):
    copy = tmp_path / "shards"
    shutil.copytree(built.root, copy)
    assert verify_dataset(copy, NoProgress(), workers=0).faults == []
    generator = np.random.default_rng(seed)
    for path in sorted(p for p in copy.rglob("*") if p.is_file()):
        if path.stat().st_size > 2_000_000 and seed:
            continue  # the real radiographs take a second each: once is enough
        original = path.read_bytes()
        damaged = bytearray(original)
        damaged[int(generator.integers(len(damaged)))] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            faults = verify_dataset(copy, NoProgress(), workers=0).faults
        except DatasetError as error:
            faults = [str(error)]
        assert faults, f"a flipped bit in {path.name} was not found"
        path.write_bytes(original)


@pytest.mark.parametrize("wait_s", [0.6, 1.2, 1.8])
def test_a_killed_build_ends_the_same_after_a_second_run(built, tmp_path, wait_s):
    root = tmp_path / "shards"
    DatasetLayout(root).private.mkdir(mode=0o700)
    shutil.copy2(DatasetLayout(built.root).key_file, DatasetLayout(root).key_file)
    sources = [str(built.export), str(REAL_FILES)]
    command = [str(Path(sys.executable).parent / "radio"), "shard", "build", *sources, "--dataset", str(root)]
    process = subprocess.Popen(
        [*command, "--workers", "2"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    build_dataset(BuildConfig(dataset=root, sources=tuple(sources), workers=0), NoProgress())
    assert shard_bytes(root) == shard_bytes(built.root)
    assert read_dataset_file(root).num_images == built.summary.images
    assert verify_dataset(root, NoProgress(), workers=0, quick=True).faults == []


def test_copies_in_a_later_source_are_duplicates(tmp_path):
    first, root = tmp_path / "a", tmp_path / "d"
    write_export(first, images=20, seed=1, scale=0.06, workers=0, progress=NoProgress())
    one = build_dataset(BuildConfig(dataset=root, sources=(str(first),), workers=0), NoProgress())
    before = shard_bytes(root)
    shutil.copytree(first, tmp_path / "copy")
    both = BuildConfig(dataset=root, sources=(str(first), str(tmp_path / "copy")), workers=0)
    two = build_dataset(both, NoProgress())
    assert two.found == 2 * one.found
    assert two.images == one.images
    assert two.rejects["DUPLICATE"] == one.rejects["DUPLICATE"] + one.images + one.rejects["DUPLICATE"]
    assert shard_bytes(root) == before
    assert verify_dataset(root, NoProgress(), workers=0).faults == []
    assert build_dataset(both, NoProgress()).new_shards == 0


def test_another_image_under_a_known_uid_in_a_later_source_is_kept(tmp_path):
    first, second, root = tmp_path / "a", tmp_path / "b", tmp_path / "d"
    shutil.copytree(REAL_FILES, first)
    build_dataset(BuildConfig(dataset=root, sources=(str(first),), workers=0), NoProgress())
    second.mkdir()
    dataset = pydicom.dcmread(first / "dog_thorax_uncompressed.dcm")
    dataset.PixelData = bytes(255 - value for value in dataset.PixelData)
    dataset.save_as(second / "other.dcm")
    two = build_dataset(BuildConfig(dataset=root, sources=(str(first), str(second)), workers=0), NoProgress())
    assert (two.images, two.rejects) == (11, {})
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM images WHERE uid_conflict").fetchone() == (2,)


@pytest.mark.parametrize("suffix", [".tar", ".idx", ".parquet"])
def test_a_file_of_a_shard_that_is_gone_is_made_again(built, tmp_path, suffix):
    root = tmp_path / "shards"
    shutil.copytree(built.root, root)
    shutil.copytree(DatasetLayout(built.root).private, DatasetLayout(root).private)
    next(iter(sorted(root.glob(f"val/*/*{suffix}")) or sorted(root.glob(f"*/*/*{suffix}")))).unlink()
    assert verify_dataset(root, NoProgress(), workers=0, quick=False).faults
    build_dataset(BuildConfig(dataset=root, sources=(str(built.export), str(REAL_FILES)), workers=0), NoProgress())
    assert shard_bytes(root) == shard_bytes(built.root)
    assert verify_dataset(root, NoProgress(), workers=0).faults == []


def test_refuses_a_second_build_into_the_same_dataset(built):
    config = BuildConfig(dataset=built.root, sources=(str(built.export),), workers=0)
    with locked(DatasetLayout(built.root)), pytest.raises(StorageError, match="another radio"):
        build_dataset(config, NoProgress())


def test_a_scan_says_how_many_files_are_new(tmp_path):
    config = BuildConfig(dataset=tmp_path / "d", sources=(str(REAL_FILES),), workers=0)
    first, again = scan(config, NoProgress()), scan(config, NoProgress())
    assert (first.found, first.new, again.found, again.new) == (10, 10, 10, 0)


def test_an_index_rebuilt_from_a_copy_alone_keeps_its_counts_of_rejects(built, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(built.root, copy)
    before = dataset_info(copy)
    publish_index(DatasetLayout(copy), read_dataset_file(copy))
    assert before.rejects
    assert dataset_info(copy) == before
