"""Several processes that build one dataset in an object store: tasks of an array, workers of dask."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from radio_io.config import TaskShare
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.remote_dataset import mirror
from radio_io.sharding.build import build_dataset
from radio_io.sharding.locking import held_together
from radio_io.sharding.verify import verify_dataset
from unit.sources.test_archives import shards, unpacked  # noqa: F401
from unit.sources.test_remote_dataset import (
    config_of,
    pending,
    shard_objects,
    source,  # noqa: F401
    surroundings,  # noqa: F401
    url_of,
)


def start_task(tmp_path, bucket, share):
    command = [sys.executable, "-m", "radio_cli", "shard", "build", str(tmp_path / "src"), "--bins", "600,1200"]
    options = ["--workers", "1", "--dataset", url_of(bucket), "--private", str(tmp_path / "p"), "--task", share]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *options], start_new_session=True, **quiet)


def require_whole(tmp_path, bucket, expected):
    assert shard_objects(bucket) == expected
    assert pending(bucket) == []
    left = [path for pattern in (".tmp-*", "*.tar") for path in (tmp_path / "p").rglob(pattern)]
    assert left == []
    report = verify_dataset(mirror(url_of(bucket)), NoProgress())
    assert (report.faults, report.images) == ([], 6)


@pytest.mark.slow
def test_a_task_begins_while_others_put_theirs(tmp_path, bucket, source, unpacked):  # noqa: F811
    """It takes away nothing that another one has made but not put yet, and the last one publishes."""
    config = config_of(tmp_path, url_of(bucket))
    first = build_dataset(replace(config, task=TaskShare(0, 2)), NoProgress())
    layout = DatasetLayout(config.dataset)
    underway = layout.record_path("train/h600w600/000099")  # of a shard that another task is about to put
    underway.parent.mkdir(parents=True, exist_ok=True)
    underway.write_bytes(b"made")
    with held_together(layout, lambda: True) as other:
        other.share()
        again = build_dataset(replace(config, task=TaskShare(0, 2)), NoProgress())
        assert underway.exists()
    assert first.missing_shards == again.missing_shards > 0
    assert "index.duckdb" not in {path.name for path in layout.root.iterdir()}
    last = build_dataset(replace(config, task=TaskShare(1, 2)), NoProgress())
    assert (last.missing_shards, last.images) == (0, 6)
    require_whole(tmp_path, bucket, unpacked)


@pytest.mark.slow
def test_tasks_build_together_over_a_failing_connection(tmp_path, s3, bucket, source, unpacked):  # noqa: F811
    config_of(tmp_path, url_of(bucket))
    with s3.failing(every=3):
        tasks = [start_task(tmp_path, bucket, f"{i}/3") for i in range(3)]
        assert [task.wait(300) for task in tasks] == [0, 0, 0]
    require_whole(tmp_path, bucket, unpacked)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [".tar", ".parquet"])
def test_tasks_go_on_after_one_was_killed(tmp_path, s3, bucket, source, unpacked, moment):  # noqa: F811
    config_of(tmp_path, url_of(bucket))
    s3.requests.clear()
    tasks = [start_task(tmp_path, bucket, f"{i}/2") for i in range(2)]
    while not any(method == "PUT" and path.endswith(moment) for method, path, _ in list(s3.requests)):
        assert any(task.poll() is None for task in tasks), "they ended before one could be killed"
        time.sleep(0.002)
    os.killpg(tasks[0].pid, signal.SIGKILL)
    for task in tasks:
        task.wait(300)
    assert shard_objects(bucket).items() <= unpacked.items()
    again = [start_task(tmp_path, bucket, f"{i}/2") for i in range(2)]
    assert [task.wait(300) for task in again] == [0, 0]
    require_whole(tmp_path, bucket, unpacked)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_builds_it(tmp_path, s3, bucket, source, unpacked):  # noqa: F811
    summary = build_dataset(
        replace(config_of(tmp_path, url_of(bucket), workers=2), executor="dask"),
        NoProgress(),
    )
    assert summary.images == 6
    require_whole(tmp_path, bucket, unpacked)
