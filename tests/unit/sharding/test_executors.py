"""The same bytes from processes here, from a dask cluster that loses a worker, and from separate tasks."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from radio_io import cluster
from radio_io.cluster import is_cluster, run_on_cluster
from radio_io.config import BuildConfig, TaskShare
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import ConfigError, RejectReason, StorageError, UsageError
from radio_io.executors import Task, UnitFailure, finish_recovery, run_units
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset
from radio_io.sharding.locking import held_together, locked
from radio_io.sharding.verify import verify_dataset
from radio_io.synth import write_export

SIZES = {"shard_size_bytes": 20_000, "min_shard_images": 1}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An export in two halves that have files in common, and the dataset that one process makes of it."""
    folder = tmp_path_factory.mktemp("reference")
    write_export(folder / "a", images=30, seed=21, scale=0.06, workers=0, progress=NoProgress())
    write_export(folder / "b", images=10, seed=22, scale=0.06, workers=0, progress=NoProgress())
    copies = sorted(path for path in (folder / "a").rglob("*") if path.is_file())[:12]
    for number, path in enumerate(copies):
        shutil.copy(path, folder / "b" / f"copy{number}")
    for name in ("a", "b"):
        build(folder / "d", folder, name, workers=0)
    return folder


def build(root, folder, *names, **options):
    sources = tuple(str(folder / name) for name in names)
    return build_dataset(BuildConfig(dataset=root, sources=sources, **SIZES, **options), NoProgress())


def with_the_key(folder, root):
    layout = DatasetLayout(root)
    layout.private.mkdir(mode=0o700, parents=True)
    shutil.copy2(DatasetLayout(folder / "d").key_file, layout.key_file)
    return root


def shards(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.glob("*/*/*") if path.is_file()}


def radio(*arguments):
    command = [sys.executable, "-m", "radio_cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_tasks_make_the_same_bytes_together(reference, tmp_path):
    root = with_the_key(reference, tmp_path / "d")
    for name in ("a", "b"):  # the second time, shards of the second part wait for those of the first
        options = ["--dataset", root, "--shard-size", "20kB", "--min-shard-images", "1", "--workers", "1", "--json"]
        if name == "a":
            tasks = [radio("shard", "build", reference / name, *options, "--task", f"{i}/3") for i in range(3)]
            outputs = [task.communicate() for task in tasks]
            assert [task.returncode for task in tasks] == [0, 0, 0], outputs
        else:
            config = BuildConfig(dataset=root, sources=(str(reference / name),), workers=0, **SIZES)
            build_dataset(config, NoProgress())
    assert read_dataset_file(root).num_images >= 40
    expected = shards(reference / "d")
    assert shards(root).keys() == expected.keys()
    assert shards(root) == expected


def test_the_last_task_publishes_the_index(reference, tmp_path):
    root = with_the_key(reference, tmp_path / "d")
    layout = DatasetLayout(root)
    summaries = []
    for i in range(3):
        assert not layout.index.exists()
        config = BuildConfig(dataset=root, sources=(str(reference / "a"),), workers=0, task=TaskShare(i, 3), **SIZES)
        summaries.append(build_dataset(config, NoProgress()))
    assert [bool(summary.missing_shards) for summary in summaries] == [True, True, False]
    assert summaries[2].found == summaries[2].images + sum(summaries[2].rejects.values())
    assert verify_dataset(root, NoProgress(), workers=0).faults == []


def test_a_task_begins_while_others_are_at_work(reference, tmp_path):
    """It waits neither for a moment alone to begin, nor for the others' end to leave."""
    root = with_the_key(reference, tmp_path / "d")

    def task(i):
        sources = (str(reference / "a"),)
        return BuildConfig(dataset=root, sources=sources, workers=0, task=TaskShare(i, 3), **SIZES)

    build_dataset(task(0), NoProgress())
    with held_together(DatasetLayout(root), lambda: True) as other:
        other.share()
        summaries = [build_dataset(task(i), NoProgress()) for i in (1, 0)]
        with pytest.raises(StorageError, match="another radio"):
            build(root, reference, "a", workers=0)
    assert all(summary.missing_shards for summary in summaries)
    assert build_dataset(task(2), NoProgress()).missing_shards == 0
    assert verify_dataset(root, NoProgress(), workers=0).faults == []


def test_a_task_prepares_itself_what_a_dead_one_did_not(tmp_path):
    layout = DatasetLayout(tmp_path / "d")
    layout.private.mkdir()
    asked = []
    with locked(layout, shared=True) as held:
        assert held is None

        def is_prepared():
            asked.append(len(asked))
            return len(asked) == 3

        with held_together(layout, is_prepared) as together:
            assert not together.alone
    assert asked == [0, 1, 2]
    with held_together(layout, is_prepared) as together:
        assert together.alone
        with pytest.raises(StorageError, match="another radio"), locked(layout, shared=True):
            pass
        together.share()
        with locked(layout, shared=True), pytest.raises(StorageError, match="another radio"), locked(layout):
            pass


def test_a_task_goes_on_where_the_planning_one_was_killed(reference, tmp_path):
    config = BuildConfig(
        dataset=tmp_path / "d", sources=(str(reference / "b"),), workers=0, task=TaskShare(0, 1), **SIZES
    )
    layout = DatasetLayout(config.dataset)
    build_dataset(config, NoProgress())
    before = shards(layout.root)
    shutil.rmtree(layout.root)  # the plan is there, nothing else
    shutil.rmtree(layout.rejects_dir)
    build_dataset(config, NoProgress())
    assert shards(layout.root) == before


def test_a_task_does_not_take_a_retry_and_leave_it_undone(reference, tmp_path):
    config = BuildConfig(dataset=tmp_path / "d", sources=(str(reference / "b"),), workers=0, task=TaskShare(0, 2))
    with pytest.raises(UsageError, match="without --task"):
        build_dataset(config, NoProgress(), retry=frozenset({RejectReason.TIMEOUT}))


@pytest.mark.parametrize("text", ["3/3", "-1/3", "a/b", "1", "0/0", "1/2/3"])
def test_refuses_a_task_that_is_none(text):
    with pytest.raises(ConfigError, match="expected I/N"):
        TaskShare.parse(text)


def test_refuses_executors_that_are_none(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(ConfigError, match="slurm"):
        is_cluster("slurm")
    with pytest.raises(StorageError, match="no dask scheduler answers"):
        list(run_on_cluster(str, [1], executor="tcp://127.0.0.1:9", workers=1))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_local_dask_cluster_makes_the_same_bytes(reference, tmp_path):
    root = with_the_key(reference, tmp_path / "d")
    for name in ("a", "b"):
        build(root, reference, name, workers=2, executor="dask")
    assert shards(root) == shards(reference / "d")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_worker_makes_the_same_bytes(reference, tmp_path):
    from distributed import Client, LocalCluster

    root = with_the_key(reference, tmp_path / "d")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        address = cluster.scheduler_address

        def kill_one():
            while not list(root.glob("*/*/*.tar")):
                time.sleep(0.01)
            os.kill(client.run(os.getpid).popitem()[1], signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        for name in ("a", "b"):
            build(root, reference, name, executor=address)
        killer.join()
    assert shards(root) == shards(reference / "d")


def die_if_negative(number):
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 100:
        time.sleep(1.5)
    return number


def make_positive(unit, failure):
    """A recovery of two tasks, the first of which dies too."""
    again = yield Task(die_if_negative, unit, 30.0)
    assert (failure.reason, again.reason) == (RejectReason.WORKER_CRASHED,) * 2
    return (yield Task(die_if_negative, -unit, 30.0))


LATE_STARTERS = """
import os, sys, time
from multiprocessing.util import Finalize

if __name__ == "__mp_main__":  # in a worker: all but the first are late
    try:
        os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        time.sleep(1)

def slow_to_end(unit):
    Finalize(None, time.sleep, args=(1.5,), exitpriority=1)
    return unit

if __name__ == "__main__":
    from radio_io.executors import run_units
    print([outcome.result for outcome in run_units(slow_to_end, [1], workers=4, timeout_s=60)])
"""


def test_a_process_that_starts_when_its_pool_ends_says_nothing(tmp_path):
    (tmp_path / "late.py").write_text(LATE_STARTERS)
    command = [sys.executable, str(tmp_path / "late.py"), str(tmp_path / "first")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == ("[1]\n", "")


def test_a_recovery_runs_in_the_pool_and_keeps_the_order():
    units = [1, -2, 3, -4, 100, 5, 6, 7, 8, 9]
    outcomes = list(run_units(die_if_negative, units, workers=2, timeout_s=30.0, recover=make_positive))
    assert [outcome.unit for outcome in outcomes] == units
    assert [outcome.result for outcome in outcomes] == [abs(unit) for unit in units]


def test_a_recovery_runs_by_itself_too():
    failure = UnitFailure(RejectReason.WORKER_CRASHED, "")
    assert finish_recovery(make_positive(-3, failure)) == 3
