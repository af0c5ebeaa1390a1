"""The benchmarks measure what they say: all images, through a link as slow as it was asked for."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from radio_io.benchmarks.loading import IoSettings, measure_io, measure_local
from radio_io.benchmarks.throttled_folder import Link, throttled
from radio_io.benchmarks.yardsticks import read_dicom_files, read_webdataset, write_png_shards
from radio_io.errors import UsageError


def test_a_link_takes_latency_and_bandwidth():
    link = Link(bytes_per_s=1e6, latency_s=0.02)
    began_s = time.monotonic()
    for _ in range(3):
        link.carry(10_000)
    assert 0.09 <= time.monotonic() - began_s < 1


def test_webdataset_and_dicom_yield_the_images(sharded, table, tmp_path):
    shards = write_png_shards(sharded.root, table, tmp_path, threads=2)
    assert len(shards) == -(-len(table) // 40)
    assert read_webdataset(shards, workers=1).images == len(table) - 1
    files = [path for path in sharded.export.rglob("*") if path.is_file()]
    assert len(table) <= read_dicom_files(files, threads=2).images <= len(files)


def test_local_rates_count_whole_epochs(sharded):
    found = measure_local(sharded.root, workers=2, epochs=2, with_webdataset=False)
    assert 2 * sharded.summary.images <= found[0].rate.images < 3 * sharded.summary.images
    assert all(each.rate.images_per_s > 0 and each.rate.cpu_ms > 0 for each in found)
    assert [each.cpu_ratio is None for each in found] == [False, False, True, True]


def test_a_throttled_folder_is_as_slow_as_asked_and_goes_away(sharded, tmp_path):
    try:
        with throttled(sharded.root, tmp_path / "mount", mbit_per_s=8, latency_ms=1) as mounted:
            began_s = time.monotonic()
            path = max(mounted.path.rglob("*.tar"), key=lambda path: path.stat().st_size)
            size = len(path.read_bytes())
            assert time.monotonic() - began_s >= 0.9 * size / 1e6
            assert mounted.cpu_s > 0
    except UsageError as error:
        pytest.skip(f"no FUSE here: {error}")
    assert not (tmp_path / "mount").is_mount()
    mounts = subprocess.run(["mount"], capture_output=True, text=True, check=False).stdout
    assert str(tmp_path) not in mounts


@pytest.mark.slow
def test_the_loader_uses_the_bandwidth(sharded):
    files = [Path(os.path.relpath(path)) for path in sharded.export.rglob("*") if path.is_file()]
    try:
        found = measure_io(sharded.root, files, IoSettings(mbit_per_s=8, latency_ms=1, epochs=3))
    except UsageError as error:
        pytest.skip(f"no FUSE here: {error}")
    assert found[0].yardstick == "bandwidth"
    assert 0.8 < found[0].ratio < 1.3
    assert found[2].ratio > 1
