"""Memory of packs: used again when nobody shows it, never while somebody does."""

import gc
import subprocess
import sys

import numpy as np
import torch

from radio_io.loading.memory import PackMemory


def test_is_used_again_once_nobody_shows_it():
    memory = PackMemory()
    first = memory.take(10, 20)
    place = first.ctypes.data
    del first
    assert memory.take(10, 20).ctypes.data == place


def test_is_kept_while_a_slice_or_a_tensor_shows_it():
    memory = PackMemory()
    for keep in (
        lambda array: array[2:3, 4:],
        lambda array: torch.from_numpy(array),
        lambda array: torch.from_numpy(array).view(torch.int16)[3],
        lambda array: torch.from_numpy(array).numpy()[1:],
        lambda array: array.reshape(4, 50).T,
    ):
        array = memory.take(10, 20)
        array[:] = 7
        kept = keep(array)
        del array
        gc.collect()
        others = [memory.take(10, 20) for _ in range(6)]
        for other in others:
            other[:] = 9
        assert (np.asarray(kept) == 7).all()


def test_blocks_fit_what_is_asked_for():
    memory = PackMemory()
    for rows in (10, 30, 10, 20):
        assert memory.take(rows, 20).shape == (rows, 20)


FAULTS = """
import resource, sys, threading
import numpy as np
from radio_io.freed_memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def decode():
    taken = [np.ones(size << 20, np.uint8) for size in (7,) * 6]

def faults():
    for _ in range(3):
        decode()
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(20):
        decode()
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

thread = threading.Thread(target=faults)
thread.start()
thread.join()
"""


def test_memory_freed_by_decoding_threads_is_not_asked_for_anew():
    found = {
        mode: int(
            subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, check=True, text=True).stdout
        )
        for mode in ("keep", "default")
    }
    assert found["keep"] < 100 < found["default"]
