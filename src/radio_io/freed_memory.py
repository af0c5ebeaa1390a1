"""What becomes of memory that is free: kept for the next image, or given back to the system after tables.

Comes in: nothing. Goes out: nothing. Refuses nothing; where the C library cannot do it, all stays as it was.

Arrow's own allocator keeps what it once had: 100 MB more for a plan of 100,000 files than the system's.
"""

import contextlib
import ctypes
import gc
from typing import Final

MALLOC_PARAMETERS: Final = {-3: 64 << 20, -1: 256 << 20, -2: 16 << 20}
"""M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, bytes."""


def keep_freed_memory() -> None:
    """Let the C library keep the blocks of one image for the next, in this process, from now on.

    Each image takes and frees some arrays as large as itself: zeroing their pages anew was 6 % of the time of decoding
    HTJ2K, 10 % with codec `fast`. Source: mallopt(3); parameters of glibc, nothing where another library serves.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in MALLOC_PARAMETERS.items():
            mallopt(parameter, value)


def use_system_memory() -> None:
    """Let Arrow take memory from the C library, in this process, from now on."""
    import pyarrow as pa  # who only keeps memory starts without it

    pa.set_memory_pool(pa.system_memory_pool())


def give_back_memory() -> None:
    """Return what is free to the system. Source: malloc_trim(3), of glibc."""
    import pyarrow as pa

    gc.collect()
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
