"""Records and index from the tars alone: the same bytes as the build's."""

import shutil

import pytest

from radio_io.layout import DatasetLayout
from radio_io.privacy.tombstones import Tombstones, write_tombstones
from radio_io.progress import NoProgress
from radio_io.sharding.from_tars import rebuild_from_tars
from small_datasets import build, copy_of, faults, files_of, rows, write_source


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tars")
    write_source(folder / "source", range(24))
    build(folder / "d", folder / "source")
    return folder / "d"


@pytest.fixture
def root(whole, tmp_path):
    return copy_of(whole, tmp_path / "d")


def rebuild(root, *, workers=0, dry_run=False):
    return rebuild_from_tars(root, NoProgress(), workers=workers, dry_run=dry_run)


def test_makes_every_record_and_the_index_from_the_tars(whole, root):
    shutil.rmtree(DatasetLayout(root).private)
    for pattern in ("*/*/*.parquet", "*/*/*.idx", "index.duckdb"):
        for path in root.glob(pattern):
            path.unlink()
    report = rebuild(root, workers=1)
    assert len(report.made) == report.tars == report.records > 2
    assert files_of(root) == files_of(whole)
    for table in ("images", "shards"):
        assert rows(root, f"SELECT * FROM {table}") == rows(whole, f"SELECT * FROM {table}")
    assert faults(root) == []


def test_readable_records_stay_and_broken_ones_are_set_aside(whole, root):
    first, second, *_ = DatasetLayout(root).record_paths()
    first.write_bytes(first.read_bytes()[:-7])
    before = second.stat().st_mtime_ns
    planned = rebuild(root, dry_run=True)
    assert first.read_bytes() != (whole / first.relative_to(root)).read_bytes()
    assert rebuild(root).made == planned.made == (DatasetLayout(root).shard_id_of(first),)
    assert second.stat().st_mtime_ns == before
    assert files_of(root) == files_of(whole)
    assert len(list((DatasetLayout(root).private / "quarantine").rglob("*.parquet.1"))) == 1


def test_a_damaged_tar_gets_no_record(root):
    record = DatasetLayout(root).record_paths()[0]
    record.unlink()
    tar = record.with_suffix(".tar")
    data = bytearray(tar.read_bytes())
    data[1000] ^= 1
    tar.write_bytes(data)
    report = rebuild(root)
    assert (report.made, report.refused) == ((), (DatasetLayout(root).shard_id_of(record),))
    assert not record.exists()
    assert rows(root, "SELECT count(*) FROM shards") == [(report.records,)]


def test_a_tar_with_withdrawn_images_gets_no_record(root):
    layout = DatasetLayout(root)
    shard_id, patient = rows(root, "SELECT shard_id, patient_key FROM images LIMIT 1")[0]
    layout.record_path(shard_id).unlink()
    write_tombstones(layout, Tombstones(patients=frozenset({patient})))
    assert rebuild(root).refused == (shard_id,)


def test_a_damaged_index_of_a_shared_copy_does_not_stand_in_its_own_way(whole, root):
    shutil.rmtree(DatasetLayout(root).private)
    index = root / "index.duckdb"
    index.write_bytes(index.read_bytes()[:5000])
    assert rebuild(root).made == ()
    assert rows(root, "SELECT * FROM images") == rows(whole, "SELECT * FROM images")
