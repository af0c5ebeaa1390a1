"""Files of a dataset that are flipped, cut or gone: made again as they were, or named; good ones are never touched."""

import itertools
import shutil
from pathlib import Path

import pytest

from radio_io.config import BuildConfig
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError
from radio_io.labels.identifiers import open_dataset_key
from radio_io.labels.store import write_task
from radio_io.layout import DatasetLayout
from radio_io.privacy.tombstones import Withdrawal, read_tombstones, write_tombstones
from radio_io.progress import NoProgress
from radio_io.sharding.build import publish_index, reject_counts
from radio_io.sharding.forget import forget
from radio_io.sharding.forget_request import ForgetRequest, tombstones_for
from radio_io.sharding.repair import repair_dataset
from small_datasets import build, copy_of, faults, files_of, rows, write_source

TABLES = ("images", "shards", "rejects", "labels")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repair")
    write_source(folder / "source", range(24))
    build(folder / "d", folder / "source")
    layout = DatasetLayout(folder / "d")
    keys = sorted(key for (key,) in rows(layout.root, "SELECT key FROM images"))
    write_task(layout, "odd", {key: str(number % 2) for number, key in enumerate(keys)})
    publish_index(layout, read_dataset_file(layout.root))
    return layout.root


@pytest.fixture
def root(whole, tmp_path):
    return copy_of(whole, tmp_path / "d")


def repair(root, *, sources=True, dry_run=False, workers=0):
    config = BuildConfig(dataset=root, workers=0) if sources else None
    return repair_dataset(root, NoProgress(), config=config, workers=workers, dry_run=dry_run)


def state(root):
    return files_of(root), {name: rows(root, f"SELECT * FROM {name} ORDER BY ALL") for name in TABLES}


def shard(root, number=1):
    return DatasetLayout(root).record_paths()[number].with_suffix("")


def target(root, kind):
    if kind in (".tar", ".idx", ".parquet"):
        return shard(root).with_suffix(kind)
    return root / {"index": "index.duckdb", "json": "dataset.json", "labels": "labels/odd.parquet"}[kind]


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
        return
    if how == "emptied":
        data = data[:0]
    elif how == "cut":
        data = data[: len(data) // 2]
    else:
        data[{"flipped": len(data) // 2, "flipped at the end": -9, "flipped in front": 3}[how]] ^= 4
    path.write_bytes(data)


DAMAGES = ["deleted", "cut", "flipped"]
MORE = [pytest.param(how, marks=pytest.mark.slow) for how in ("emptied", "flipped at the end", "flipped in front")]
KINDS = [".tar", ".idx", ".parquet", "index", "json", "labels"]


@pytest.mark.parametrize("how", [*DAMAGES, *MORE])
@pytest.mark.parametrize("kind", KINDS)
def test_makes_a_file_again_as_it_was(whole, root, kind, how):
    path = target(root, kind)
    damage(path, how)
    broken = path.read_bytes() if path.exists() else None
    if kind == "json":  # nothing can be checked without it
        with pytest.raises(DatasetError):
            faults(root)
    else:
        assert faults(root)
    before = sorted(each for each in root.rglob("*") if each.is_file())
    planned = repair(root, dry_run=True)
    assert sorted(each for each in root.rglob("*") if each.is_file()) == before
    assert not (DatasetLayout(root).private / "quarantine").exists()
    report = repair(root)
    assert (report.faults, report.lost) == ([], [])
    assert len(planned.done) == len(report.done) == 1
    assert faults(root) == []
    assert state(root) == state(whole)
    if broken is not None:
        kept = DatasetLayout(root).private / "quarantine" / path.relative_to(root).with_name(path.name + ".1")
        assert kept.read_bytes() == broken


def test_a_whole_dataset_is_left_alone(whole, root):
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    report = repair(root)
    assert (report.done, report.lost, report.faults, report.images) == ([], [], [], 24)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times


def test_no_index_is_made_from_damaged_labels_that_no_index_has(root):
    labels = DatasetLayout(root).root / "labels" / "odd.parquet"
    damage(labels, "flipped")
    target(root, "index").unlink()
    before = labels.read_bytes()
    report = repair(root)
    assert "index.duckdb: cannot be built before all labels can be read" in report.lost[0]
    assert "import the labels again with --replace" in report.lost[0]
    assert labels.read_bytes() == before


@pytest.mark.parametrize("kind", [".parquet", "labels"])
def test_a_damaged_table_gets_into_no_index(root, kind):
    whole = target(root, "index").read_bytes()
    damage(target(root, kind), "flipped")
    with pytest.raises(DatasetError, match=r"is damaged, .*radio shard verify --repair"):
        publish_index(DatasetLayout(root), read_dataset_file(root))
    assert target(root, "index").read_bytes() == whole


@pytest.mark.parametrize("folder", ["scan", "plan", "rejects"])
def test_a_damaged_private_table_is_refused(root, folder):
    layout = DatasetLayout(root)
    damage(next((layout.private / folder).rglob("*.parquet")), "flipped")
    with pytest.raises(DatasetError, match=r"is damaged, .*restore it from a copy of the private folder"):
        reject_counts(layout)


@pytest.mark.parametrize("lost", [(".tar", ".idx", ".parquet"), (".tar", ".parquet"), (".idx", ".parquet", "index")])
def test_several_files_of_a_shard_at_once(whole, root, lost):
    for kind in lost:
        target(root, kind).unlink()
    assert repair(root, workers=1).lost == []
    assert faults(root) == []
    assert state(root) == state(whole)


def test_headers_and_metadata_of_a_tar_need_no_source(whole, root):
    path = shard(root).with_suffix(".tar")
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    data[-1500] ^= 1
    path.write_bytes(data)
    shutil.rmtree(DatasetLayout(root).private)
    report = repair(root, sources=False)
    assert len(report.done) == 1
    assert "headers from the record" in report.done[0]
    assert state(root) == state(whole)


def test_only_the_damaged_image_is_read_again(whole, root, monkeypatch):
    key, shard_id, offset = rows(root, "SELECT key, shard_id, image_offset FROM images LIMIT 1")[0]
    path = DatasetLayout(root).tar_path(shard_id)
    data = bytearray(path.read_bytes())
    data[offset + 300] ^= 1
    path.write_bytes(data)
    report = repair(root)
    count = rows(root, f"SELECT num_images FROM shards WHERE shard_id = '{shard_id}'")[0][0]
    assert report.done == [f"{shard_id}.tar: made again, 1 of {count} images from their DICOM files"]
    assert state(root) == state(whole)
    assert key


def test_names_what_is_lost_and_touches_nothing_of_it(root):
    key, shard_id, offset = rows(root, "SELECT key, shard_id, image_offset FROM images LIMIT 1")[0]
    path = DatasetLayout(root).tar_path(shard_id)
    data = bytearray(path.read_bytes())
    data[offset + 300] ^= 1
    path.write_bytes(data)
    before = files_of(root)
    report = repair(root, sources=False)
    assert report.lost_keys == {shard_id: (key,)}
    assert "1 images are lost, the others are whole" in report.lost[0]
    assert "radio shard build" in report.lost[0]
    assert report.faults
    assert files_of(root) == before


def test_a_source_that_has_changed_is_not_taken_for_the_image(root):
    key, shard_id, offset = rows(root, "SELECT key, shard_id, image_offset FROM images LIMIT 1")[0]
    path = DatasetLayout(root).tar_path(shard_id)
    data = bytearray(path.read_bytes())
    data[offset + 300] ^= 1
    path.write_bytes(data)
    layout = DatasetLayout(root)
    from radio_io.sharding.plan import planned_shards

    planned = next(plan for plan in planned_shards(layout) if plan.shard_id == shard_id)
    wanted = rows(root, f"SELECT instance_key FROM images WHERE key = '{key}'")[0][0]
    source = next(Path(file.path) for file in planned.files if file.instance_key == wanted)
    original = source.read_bytes()
    try:
        source.write_bytes(original[:-40] + bytes(40))
        before = files_of(root)
        assert repair(root).lost_keys == {shard_id: (key,)}
        assert files_of(root) == before
    finally:
        source.write_bytes(original)
    assert repair(root).lost == []
    assert faults(root) == []


def test_a_tar_in_the_place_of_another_is_no_shard(whole, root):
    first, second = (path.with_suffix(".tar") for path in same_bin(root))
    shutil.copyfile(second, first)
    report = repair(root)
    assert report.lost == []
    assert state(root) == state(whole)


def same_bin(root):
    paths = DatasetLayout(root).record_paths()
    return next((a, b) for a, b in itertools.pairwise(paths) if a.parent == b.parent)


def test_a_record_that_lies_about_a_whole_tar_is_made_again(whole, root):
    path = shard(root).with_suffix(".parquet")
    sha256 = rows(root, "SELECT sha256 FROM shards ORDER BY shard_id")[1][0].encode()
    data = path.read_bytes()
    assert sha256 in data
    path.write_bytes(data.replace(sha256, sha256[::-1]))
    (root / "index.duckdb").unlink()
    assert repair(root, sources=False).lost == []
    assert state(root) == state(whole)


def test_a_private_folder_without_the_copy_cannot_tell_what_a_lost_json_said(root):
    (root / "dataset.json").unlink()
    DatasetLayout(root).dataset_json_copy.unlink()
    with pytest.raises(DatasetError, match="no dataset"):
        repair(root)


def test_a_setting_that_was_changed_in_the_json_is_not_believed(whole, root):
    path = root / "dataset.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    repair(root)
    assert read_dataset_file(root) == read_dataset_file(whole)


def test_a_shared_copy_alone_is_mended_from_itself(whole, root):
    shutil.rmtree(DatasetLayout(root).private)
    shard(root, 0).with_suffix(".idx").unlink()
    shard(root, 1).with_suffix(".parquet").unlink()
    path = root / "dataset.json"
    path.write_text(path.read_text().replace('"num_images": 24', '"num_images": 25'))
    report = repair(root)
    assert (report.lost, report.faults) == ([], [])
    assert state(root) == state(whole)


def test_nobody_comes_back_who_was_withdrawn(root):
    tar = shard(root).with_suffix(".tar")
    patients = rows(
        root, f"SELECT DISTINCT patient_key FROM images WHERE shard_id = '{DatasetLayout(root).shard_id_of(tar)}'"
    )
    old = tar.read_bytes()
    names = [name for name in (f"P{number}" for number in range(12)) if is_one_of(root, name, patients)]
    forget(root, tombstones_for(ForgetRequest(patients=tuple(names)), open_dataset_key(root)), NoProgress())
    assert not tar.exists()
    before = state(root)
    tar.write_bytes(old)  # somebody copies a backup back
    report = repair(root)
    assert report.lost or report.faults
    assert state(root)[1] == before[1]
    assert not tar.with_suffix(".parquet").exists()


def is_one_of(root, name, patients):
    return any(open_dataset_key(root).patient(name) == patient for (patient,) in patients)


def test_refuses_while_a_withdrawal_is_incomplete(root):
    layout = DatasetLayout(root)
    tombstones = read_tombstones(layout)
    write_tombstones(layout, type(tombstones)(pending=Withdrawal()))
    with pytest.raises(DatasetError, match="radio forget"):
        repair(root)


def test_images_come_back_from_a_compressed_archive(tmp_path):
    write_source(tmp_path / "source", range(6))
    archive = shutil.make_archive(str(tmp_path / "export"), "gztar", tmp_path / "source")
    shutil.rmtree(tmp_path / "source")
    build(tmp_path / "d", Path(archive))
    before = state(tmp_path / "d")
    shard(tmp_path / "d", 0).with_suffix(".tar").unlink()
    assert repair(tmp_path / "d", workers=1).lost == []
    assert state(tmp_path / "d") == before
