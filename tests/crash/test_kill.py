"""Builds that are killed, interrupted or run out of disk: after the next run everything is as if nothing had been.

`RADIO_KILLS` sets at how many random moments the slow test kills (100).
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import duckdb
import pytest

from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.verify import verify_dataset
from radio_io.synth import write_export

OPTIONS = ["--workers", "2", "--shard-size", "30kB", "--min-shard-images", "1", "--json"]


def start(folder, root):
    command = [sys.executable, "-m", "radio_cli", "shard", "build", str(folder / "export")]
    return subprocess.Popen(
        [*command, "--dataset", str(root), *OPTIONS],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def with_the_key(folder, root):
    layout = DatasetLayout(root)
    layout.private.mkdir(mode=0o700, parents=True)
    shutil.copy2(DatasetLayout(folder / "d").key_file, layout.key_file)
    return root


def content(root):
    """Everything of a dataset: bytes of shards and records, rows of the index."""
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.glob("*/*/*")}
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as connection:
        tables = {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()
            for name in ("images", "shards", "rejects", "labels")
        }
    return files, tables


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """An export, the dataset of an undisturbed build, and how long that took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_export(folder / "export", images=40, seed=8, scale=0.06, workers=0, progress=NoProgress())
    started_s = time.monotonic()
    process = start(folder, folder / "d")
    assert json.loads(process.communicate()[0])["images"] == 40
    return folder, time.monotonic() - started_s


def finish(folder, root):
    ended = start(folder, root)
    out, err = ended.communicate(timeout=300)
    assert ended.returncode == 0, err
    summary = json.loads(out)
    assert summary["found"] == summary["images"] + sum(summary["rejects"].values())
    assert content(root) == content(folder / "d")
    assert not list(root.rglob(".tmp-*"))


def killed_at(folder, root, moments):
    for wait_s in moments:
        process = start(folder, root)
        time.sleep(wait_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_build_that_is_killed_again_and_again_ends_the_same(undisturbed, tmp_path):
    folder, whole_s = undisturbed
    root = with_the_key(folder, tmp_path / "d")
    chance = random.Random(1)
    killed_at(folder, root, [chance.uniform(0.3, 1) * whole_s for _ in range(3)])
    finish(folder, root)


@pytest.mark.slow
def test_a_kill_at_any_moment_changes_nothing(undisturbed, tmp_path):
    folder, whole_s = undisturbed
    chance = random.Random(2)
    for number in range(int(os.environ.get("RADIO_KILLS", "100"))):
        root = with_the_key(folder, tmp_path / str(number) / "d")
        killed_at(folder, root, [chance.uniform(0.1, 1.05) * whole_s])
        finish(folder, root)
        shutil.rmtree(root.parent)


@pytest.mark.slow
def test_a_polite_interruption_commits_and_goes_on(undisturbed, tmp_path):
    folder, whole_s = undisturbed
    chance = random.Random(3)
    for number in range(10):
        root = with_the_key(folder, tmp_path / str(number) / "d")
        process = start(folder, root)
        time.sleep(chance.uniform(0.4, 0.9) * whole_s)
        if number % 2:  # as a terminal does it: also to the workers, which may just be starting
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        assert process.returncode in (0, 1, 130, -signal.SIGINT)  # the last one: before it could answer
        finish(folder, root)


@pytest.mark.slow
def test_a_full_disk_is_told_and_survived(undisturbed, tmp_path):
    folder, _ = undisturbed
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        root = with_the_key(folder, disk / "d")
        process = start(folder, root)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1, err
        assert "Traceback" not in err
        assert "space" in err
        for record in root.glob("*/*/*.parquet"):  # whatever was committed is whole
            assert record.with_suffix(".tar").exists()
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        finish(folder, root)
        assert verify_dataset(root, NoProgress(), workers=0).faults == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
