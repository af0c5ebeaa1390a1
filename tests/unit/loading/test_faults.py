"""Thousands of faults: no image is ever wrong, nothing hangs, nothing crashes, memory does not grow."""

import errno
import os
import random
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loading_collect import expected_patches, images_of_pack
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.reading import ReadConfig
from radio_io.loading.store import LocalStore
from radio_io.loading.torch_loader import PackLoader

FAULTS = ("flip", "short", "empty", "gone", "io", "stale", "slow", "foreign", "zeros", "hang")


class FaultyReads:
    """Reads of a store, of which a share fails in some way; counts the faults."""

    def __init__(self, share, seed):
        self.share, self.random, self.count = share, random.Random(seed), 0
        self.lock, self.released = threading.Lock(), threading.Event()
        self.plain = LocalStore._read

    def __call__(self, store, shard_id, offset, size):
        with self.lock:
            fault = self.random.choice(FAULTS) if self.random.random() < self.share else None
            place, bit = self.random.randrange(max(1, size)), 1 << self.random.randrange(8)
            rare = self.random.random() < 0.02
            self.count += fault is not None
        if fault == "hang":
            fault = "hang" if rare else "slow"
        data = self.plain(store, shard_id, offset, size)
        return self.spoil(fault, data, place, bit)

    def spoil(self, fault, data, place, bit):
        if fault == "flip" and data:
            spoilt = bytearray(data)
            spoilt[place % len(data)] ^= bit
            return bytes(spoilt)
        if fault in ("gone", "io", "stale"):
            code = {"gone": errno.ENOENT, "io": errno.EIO, "stale": errno.ESTALE}[fault]
            raise OSError(code, os.strerror(code))
        if fault == "hang":
            self.released.wait(30)
        elif fault == "slow":
            time.sleep(0.002)
        return {"short": data[:place], "empty": b"", "zeros": bytes(len(data)), "foreign": data[::-1]}.get(fault, data)


def inject(root, table, monkeypatch, tmp_path, *, faults, share):
    reads = FaultyReads(share, seed=1)
    monkeypatch.setattr(LocalStore, "_read", lambda *arguments: reads(*arguments))
    wanted = {table.key(row): expected_patches(root, table, row, 16) for row in range(len(table))}
    reading = ReadConfig(
        retry_pause_s=0.0, timeout_s=0.5, range_bytes=20_000, cache=tmp_path / "cache", cache_bytes=400_000
    )
    config = LoaderConfig(patch_size=16, token_budget=6000, workers=2, max_bad=10**9, reading=reading)
    seed = images = 0
    while reads.count < faults:
        seed += 1
        with PackLoader(root, table, config, OrderState(seed=seed, step_images=20)) as loader:
            for pack in loader:
                for key, patches in images_of_pack(pack):
                    assert (patches == wanted[key]).all()
                    images += 1
                if pack.epoch == 2 or reads.count >= faults:
                    break
        reads.released.set()
        reads.released.clear()
    return images


def test_no_fault_delivers_a_wrong_image(sharded, table, monkeypatch, tmp_path):
    assert inject(sharded.root, table, monkeypatch, tmp_path, faults=300, share=0.2) > 100


@pytest.mark.slow
def test_ten_thousand_faults(sharded, table, monkeypatch, tmp_path):
    assert inject(sharded.root, table, monkeypatch, tmp_path, faults=10_000, share=0.3) > 1000


@pytest.mark.slow
def test_memory_is_flat_over_twenty_epochs(sharded, table):
    config = LoaderConfig(patch_size=16, token_budget=6000, workers=2)
    peaks = {}
    with PackLoader(sharded.root, table, config, OrderState(seed=1, step_images=20)) as loader:
        for pack in loader:
            peaks[pack.epoch] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if pack.epoch == 20:
                break
    assert peaks[20] < peaks[4] + 20_000  # kB


LOADS = """
import sys
from pathlib import Path
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.table import load_image_table
from radio_io.loading.torch_loader import PackLoader
table = load_image_table(Path(sys.argv[1]), "train")
config = LoaderConfig(patch_size=16, token_budget=60000, workers=2)
for number, pack in enumerate(PackLoader(Path(sys.argv[1]), table, config, OrderState(seed=1))):
    if number == 2:
        print("reading", flush=True)
"""


def test_a_killed_process_leaves_nothing_behind(sharded):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", LOADS, str(sharded.root)],
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout.readline() == b"reading\n"
    assert "/dev/shm" not in Path(f"/proc/{process.pid}/maps").read_text()  # nothing that could outlive it
    process.kill()
    process.wait()
    process.stdout.close()
    with pytest.raises(ProcessLookupError):  # nobody is left in its group
        os.killpg(process.pid, 0)
