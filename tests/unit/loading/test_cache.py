"""The cache: serves what was read, within its limit, past crashes and other processes; a torn entry is never used."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from loading_collect import collect
from radio_io.errors import StorageError
from radio_io.layout import DatasetLayout
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.cache import open_cache
from radio_io.loading.order import OrderState
from radio_io.loading.reading import ReadConfig
from radio_io.loading.torch_loader import PackLoader

START = OrderState(seed=2, step_images=20)


def bytes_of(root, table, row):
    with DatasetLayout(root).tar_path(table.shard_ids[table.shards[row]]).open("rb") as file:
        file.seek(int(table.offsets[row]))
        return file.read(int(table.sizes[row]))


def stored(folder):
    """Bytes that lie in a cache, its counter apart."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "usage")


def loader_of(root, table, folder, limit):
    reading = ReadConfig(cache=folder, cache_bytes=limit, read_ahead_bytes=100_000)
    config = LoaderConfig(patch_size=16, token_budget=6000, workers=2, reading=reading)
    return PackLoader(root, table, config, START)


def test_the_second_epoch_reads_nothing_from_the_store(sharded, table, tmp_path):
    with loader_of(sharded.root, table, tmp_path / "cache", 10**9) as loader:
        collect(loader, epochs=1)
    with loader_of(sharded.root, table, tmp_path / "cache", 10**9) as loader:
        second = collect(loader, epochs=1)
        assert loader.counts.store_bytes == 0
        assert loader.cache.hits >= len(table)
    with PackLoader(sharded.root, table, LoaderConfig(patch_size=16, token_budget=6000), START) as loader:
        plain = collect(loader, epochs=1)
    assert second.keys() == plain.keys()
    for step in plain:
        assert all((second[step][key] == patches).all() for key, patches in plain[step].items())


def test_gives_back_what_was_put_and_counts_it(sharded, table, tmp_path):
    cache = open_cache(tmp_path, 10**9, table, dataset_id="d")
    data = bytes_of(sharded.root, table, 3)
    assert cache.get(3) is None
    assert cache.put(3, data)
    assert cache.get(3) == data
    assert cache.usage_bytes == stored(tmp_path)
    assert (cache.hits, cache.misses) == (1, 1)


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "zeros", "other"])
def test_a_damaged_entry_is_removed_and_not_used(sharded, table, tmp_path, change):
    cache = open_cache(tmp_path, 10**9, table, dataset_id="d")
    cache.put(3, bytes_of(sharded.root, table, 3))
    cache.put(4, bytes_of(sharded.root, table, 4))
    path, other = cache._path(3), cache._path(4)
    content = path.read_bytes()
    damaged = {
        "flip": content[:100] + bytes([content[100] ^ 1]) + content[101:],
        "cut": content[:-1],
        "empty": b"",
        "zeros": bytes(len(content)),
        "other": other.read_bytes(),
    }
    path.write_bytes(damaged[change])
    assert cache.get(3) is None
    assert not path.exists()
    assert cache.damaged == 1


def test_does_not_keep_bytes_that_are_not_the_images(sharded, table, tmp_path):
    cache = open_cache(tmp_path, 10**9, table, dataset_id="d")
    assert not cache.put(3, bytes_of(sharded.root, table, 4))
    assert cache.get(3) is None


def test_stays_within_its_limit_and_keeps_what_fits(sharded, table, tmp_path):
    limit = int(table.sizes.sum()) // 2
    cache = open_cache(tmp_path, limit, table, dataset_id="d")
    for row in range(len(table)):
        cache.put(row, bytes_of(sharded.root, table, row))
        assert stored(tmp_path) <= limit
    kept = [row for row in range(len(table)) if cache.holds(row)]
    assert stored(tmp_path) > 0.8 * limit
    for row in range(len(table)):
        cache.put(row, bytes_of(sharded.root, table, row))
    assert kept == [row for row in range(len(table)) if cache.holds(row)]


def test_the_least_recently_used_images_of_other_selections_make_room(sharded, table, tmp_path):
    half = len(table) // 2
    earlier, later = part(table, slice(0, half)), part(table, slice(half, None))
    limit = int(earlier.sizes.sum()) + 16 * half
    cache = open_cache(tmp_path, limit, earlier, dataset_id="d")
    for row in range(half):
        assert cache.put(row, bytes_of(sharded.root, earlier, row))
    for row in range(half):
        os.utime(cache._path(row), (row, row))
    assert cache.get(0)  # used just now, so it goes last
    other = open_cache(tmp_path, limit, later, dataset_id="d")
    assert other.put(0, bytes_of(sharded.root, later, 0))
    assert stored(tmp_path) <= limit
    assert cache.holds(0)
    assert not cache.holds(1)


def part(table, rows):
    """A selection of a table."""
    names = ("keys", "shards", "offsets", "sizes", "crc32", "rows", "columns", "bin_heights", "bin_widths")
    return replace(table, **{name: getattr(table, name)[rows] for name in (*names, "bits", "low", "high")})


def test_names_a_folder_that_cannot_be_used(table, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="file"):
        open_cache(tmp_path / "file", 10**9, table, dataset_id="d")


def fill(root, table, folder, limit, first, counts):
    cache = open_cache(folder, limit, table, dataset_id="d")
    for number in range(3 * len(table)):
        row = (first + number) % len(table)
        if cache.get(row) is None:
            cache.put(row, bytes_of(root, table, row))
    counts.put(cache.damaged)


def test_processes_share_it_within_the_limit(sharded, table, tmp_path):
    limit = int(table.sizes.sum()) * 2 // 3
    context = multiprocessing.get_context("spawn")
    counts = context.Queue()
    processes = [
        context.Process(target=fill, args=(sharded.root, table, tmp_path, limit, first, counts)) for first in (0, 30)
    ]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        assert stored_now(tmp_path) <= limit
        time.sleep(0.01)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [counts.get() for _ in processes] == [0, 0]
    cache = open_cache(tmp_path, limit, table, dataset_id="d")
    assert cache.usage_bytes == stored(tmp_path)
    assert not list(tmp_path.rglob(".tmp-*"))


def stored_now(folder):
    """The same while others change the folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() and path.name != "usage" else 0
        except FileNotFoundError:
            continue
    return total


KILLED = """
import sys, itertools
from pathlib import Path
from radio_io.loading.cache import open_cache
from radio_io.loading.store import LocalStore
from radio_io.loading.table import load_image_table
root, folder = Path(sys.argv[1]), Path(sys.argv[2])
table = load_image_table(root, "train", where="rows <= 600 and columns <= 600")
cache, store = open_cache(folder, int(table.sizes.sum()) // 2, table, dataset_id="d"), LocalStore(root)
print("ready", flush=True)
for row in itertools.cycle(range(len(table))):
    data = store.read(table.shard_ids[table.shards[row]], int(table.offsets[row]), int(table.sizes[row]))
    if not cache.put(row, data):
        cache._remove(cache._path(row), len(data) + 16)
"""


def test_a_killed_process_leaves_a_cache_that_works(sharded, table, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    delays = np.random.default_rng(0).uniform(0, 0.05, 4)
    for delay in delays:
        command = [sys.executable, "-c", KILLED, str(sharded.root), str(tmp_path)]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    limit = int(table.sizes.sum()) // 2
    cache = open_cache(tmp_path, limit, table, dataset_id="d")
    for row in range(len(table)):
        data = bytes_of(sharded.root, table, row)
        assert cache.get(row) in (None, data)
        cache.put(row, data)
    assert stored(tmp_path) <= limit + len(delays) * 2 * int(table.sizes.max())
