"""How many images a shard gets: bounded by bytes, and by numbers from both sides."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from radio_io.config import BuildConfig, TaskShare
from radio_io.dataset_file import read_dataset_file
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.progress import NoProgress
from radio_io.sharding import plan
from radio_io.sharding.build import build_dataset, open_key, scan
from radio_io.sharding.plan_order import FOLDER_PREFIX
from radio_io.sharding.scan_table import ScanRow, scan_parts, write_part
from synthetic_dicom import dicom_bytes
from unit.dicom import make_dicom as make

IMAGES = 13


def test_tasks_that_start_at_once_share_one_new_key(tmp_path, monkeypatch):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "a").write_bytes(b"no radiograph")
    config = BuildConfig(dataset=tmp_path / "d", sources=(str(tmp_path / "export"),), workers=0)
    create = Pseudonymizer.create_file

    def create_slowly(*arguments):
        time.sleep(0.3)  # long enough for all to see that there is none
        return create(*arguments)

    monkeypatch.setattr(Pseudonymizer, "create_file", create_slowly)
    with ThreadPoolExecutor(4) as threads:
        tasks = [replace(config, task=TaskShare(index, 4)) for index in range(4)]
        built = [threads.submit(build_dataset, task, NoProgress()) for task in tasks]
        assert [task.result().missing_shards for task in built] == [0] * 4
    assert open_key(config).key_id == read_dataset_file(config.dataset).key_id


def test_removes_what_a_killed_process_left_of_sorting_also_where_there_is_nothing_to_plan(tmp_path):
    config = BuildConfig(dataset=tmp_path / "d", sources=(str(tmp_path),), workers=0)
    left = DatasetLayout(config.dataset).plan_dir / f"{FOLDER_PREFIX}-killed"
    left.mkdir(parents=True)
    (left / "spilled").write_bytes(b"paths")
    plan.extend_plan(config, open_key(config))
    assert not left.exists()


@pytest.mark.parametrize(
    ("settings", "most", "sizes"),
    [
        ({}, 10_000, [13]),
        ({"min_shard_images": 1}, 5, [5, 5, 3]),
        ({"min_shard_images": 7}, 5, [7, 6]),
        ({"shard_size_bytes": 1, "min_shard_images": 4}, 10_000, [4, 4, 4, 1]),
    ],
)
def test_shards_are_bounded(tmp_path, monkeypatch, settings, most, sizes):
    (tmp_path / "src").mkdir()
    pixels = make.picture(64, 48).astype("<u2").tobytes()
    for number in range(IMAGES):
        changes = {"SOPInstanceUID": f"1.2.3.{number}", "PatientID": "one", "Rows": 64, "Columns": 48}
        (tmp_path / "src" / f"{number}.dcm").write_bytes(dicom_bytes(changes | {"PixelData": pixels}))
    monkeypatch.setattr(plan, "MOST_SHARD_IMAGES", most)
    config = BuildConfig(dataset=tmp_path / "d", sources=(str(tmp_path / "src"),), workers=0, **settings)
    pseudonyms = open_key(config)
    scan(config, NoProgress())
    plan.extend_plan(config, pseudonyms)
    assert [len(each.files) for each in plan.planned_shards(DatasetLayout(config.dataset))] == sizes


def test_many_small_plans_stay_in_their_order(tmp_path):
    """A copy in a later source is found by the shards that stand before its own in the plan."""
    layout = DatasetLayout(tmp_path / "d")
    layout.plan_dir.mkdir(parents=True)
    for number in (999, 1000, 101, 0):
        (layout.plan_dir / f"part-{number:03}.parquet").touch()
    assert plan.plan_parts(layout) == [f"part-{number:03}.parquet" for number in (0, 101, 999, 1000)]


def test_no_part_of_the_scan_is_written_over_by_a_later_one(tmp_path):
    layout = DatasetLayout(tmp_path / "d")
    layout.scan_dir.mkdir(parents=True)
    before = [f"part-{number:05}.parquet" for number in (99_999, 100_000)]
    for name in before:
        (layout.scan_dir / name).touch()
    write_part(layout, [ScanRow(path="a", size_bytes=1, modified_ns=1)])
    assert scan_parts(layout) == [*before, "part-100001.parquet"]
    assert all((layout.scan_dir / name).stat().st_size == 0 for name in before)
