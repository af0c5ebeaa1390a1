"""Memory for packs and for decoding, used again once nobody looks at it any more.

Comes in: a shape. Goes out: an array of uint16, its content undefined. Refuses nothing.

A pack has about 100 MB. Taking that from the system anew costs a tenth of the decoding time in page faults, so a block
goes back to a pool when the last array or tensor that shows it is gone. A consumer may keep packs as long as it likes.
"""

import threading
import weakref
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPARE_BLOCKS = 4
"""Blocks of one size kept unused at most."""


class PackMemory:
    """A pool of blocks; safe to use from several threads."""

    def __init__(self) -> None:
        self._spare: defaultdict[int, list[NDArray[np.uint16]]] = defaultdict(list)
        self._lock = threading.Lock()

    def take(self, rows: int, columns: int) -> NDArray[np.uint16]:
        """[rows, columns] uint16 of undefined content."""
        size = rows * columns
        with self._lock:
            spare = self._spare[size]
            block = spare.pop() if spare else None
        if block is None:
            block = np.empty(size, np.uint16)
        # NumPy lets slices refer to the first array over a foreign buffer, so that one lives as long as any of them.
        foreign: Any = block
        shown = np.frombuffer(memoryview(foreign), np.uint16)
        weakref.finalize(shown, self._give_back, block).atexit = False
        return shown.reshape(rows, columns)

    def _give_back(self, block: NDArray[np.uint16]) -> None:
        # May run inside any allocation of this thread, `take` included: never wait for the lock.
        if self._lock.acquire(blocking=False):
            try:
                spare = self._spare[len(block)]
                if len(spare) < SPARE_BLOCKS:
                    spare.append(block)
            finally:
                self._lock.release()
