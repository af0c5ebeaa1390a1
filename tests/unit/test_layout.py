"""Where files of a dataset lie."""

from pathlib import Path

import pytest

from radio_io.errors import DatasetError, UsageError
from radio_io.layout import DatasetLayout, Split, shard_id_for


def test_keeps_private_files_beside_the_dataset(tmp_path):
    layout = DatasetLayout(tmp_path / "shards")
    private = tmp_path / "shards.private"
    paths = [
        layout.key_file,
        layout.scan_dir,
        layout.plan_dir,
        layout.rejects_dir,
        layout.lock_file,
    ]
    assert all(path.parent == private for path in paths)
    assert layout.index == tmp_path / "shards" / "index.duckdb"


def test_takes_a_relative_folder_with_a_dot(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert DatasetLayout(Path("out.v2/")).private == tmp_path / "out.v2.private"


def test_refuses_a_folder_without_a_name():
    with pytest.raises(UsageError, match="name a folder"):
        DatasetLayout(Path("/"))


@pytest.mark.parametrize(
    "shard_id", ["", "train/h1w1/1", "../h1w1/000001", "train/h01w1/000001", "all/h1w1/000001", "train/h1w1/000001.tar"]
)
def test_refuses_what_is_no_shard_id(tmp_path, shard_id):
    layout = DatasetLayout(tmp_path / "shards")
    for path_of in (layout.tar_path, layout.record_path, layout.shard_rejects_path):
        with pytest.raises(DatasetError, match="no shard id"):
            path_of(shard_id)


def test_lists_records_in_order_and_gives_their_ids_back(tmp_path):
    layout = DatasetLayout(tmp_path / "shards")
    ids = sorted(
        shard_id_for(split, height, 48, number) for split in Split for height in (48, 960) for number in (0, 1)
    )
    for shard_id in reversed(ids):
        layout.record_path(shard_id).parent.mkdir(parents=True, exist_ok=True)
        layout.record_path(shard_id).touch()
        layout.tar_path(shard_id).touch()
        (layout.record_path(shard_id).parent / ".tmp-1-000009.parquet").touch()
    assert [layout.shard_id_of(path) for path in layout.record_paths()] == ids
