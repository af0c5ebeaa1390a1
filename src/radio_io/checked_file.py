"""A large file that is made durable and read back while it is still being written.

Comes in: bytes, from the first to the last. Goes out: a file on the disk whose every byte has been compared. Refuses a
disk that gives back other bytes than it was given (`StorageError`), and what the disk refuses (`OSError`).

A shard that is synced and read back only at its end leaves its core idle for as long as the disk takes. Here a thread
does both, part by part, behind the writer. It reads past the page cache where the file system can (`O_DIRECT`), which
asks the disk itself and saves a copy; elsewhere it drops the pages first.
"""

import contextlib
import errno
import mmap
import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from radio_io.checksum import crc32_of
from radio_io.errors import StorageError

PART_BYTES: Final = 8 << 20
"""How much is written before it is synced and read back."""
BLOCK_BYTES: Final = 1 << 20
ALIGNMENT: Final = 4096
"""What offsets and sizes of direct reads are multiples of on any disk of today."""


class CheckedFile:
    """Open for writing; the block must end with `finish`, or what was written does not count.

    Bytes that `write` has taken survive the death of the process, as those of an unbuffered file do; after `finish`
    they survive that of the machine.
    """

    __slots__ = ("_checker", "_crc32", "_descriptor", "_path", "_pending", "_position", "_start")

    closed: ClassVar[bool] = False
    """For writers of other libraries, which ask it of a file; they are done before this one is closed."""

    def __init__(self, path: Path, *, mode: int = 0o644) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        self._checker = ThreadPoolExecutor(1, thread_name_prefix="read-back")
        self._pending: Future[None] | None = None
        self._position = self._start = self._crc32 = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._checker.shutdown(cancel_futures=True)
        os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        """Write `data` behind what was written before.

        Raises:
            OSError: The disk refuses.
            StorageError: A part that was written before reads back differently.
        """
        view = memoryview(data)
        _write_all(self._descriptor, view)
        end = self._position + len(view)
        boundary = end // ALIGNMENT * ALIGNMENT
        if boundary - self._start >= PART_BYTES and boundary > self._position:
            head = boundary - self._position
            self._crc32 = crc32_of(view[:head], self._crc32)
            self._check_behind(boundary)
            view = view[head:]
        self._crc32 = crc32_of(view, self._crc32)
        self._position = end

    def finish(self) -> None:
        """Wait until all is durable and compared.

        Raises:
            OSError: The disk refuses.
            StorageError: A part reads back differently.
        """
        self._check_behind(self._position)
        self._settle()

    def _check_behind(self, end: int) -> None:
        self._settle()
        self._pending = self._checker.submit(_check, self._path, self._start, end, self._crc32)
        self._start, self._crc32 = end, 0

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _check(path: Path, start: int, end: int, crc32: int) -> None:
    """Make the bytes from `start` to `end` durable and compare them with their CRC-32."""
    value = 0
    with _opened_past_cache(path) as descriptor:
        os.fsync(descriptor)
        for block in _blocks(descriptor, start, end):
            value = crc32_of(block, value)
    if value != crc32:
        raise StorageError(f"{path} reads back differently from what was written; check the drive")


@contextlib.contextmanager
def _opened_past_cache(path: Path) -> Generator[int, None, None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _blocks(descriptor: int, start: int, end: int) -> Iterator[memoryview]:
    """The bytes from `start`, a multiple of `ALIGNMENT`, to `end`; fewer where the file is shorter."""
    # Only pages that are on the disk can be dropped, so this comes after fsync: a plain read asks the disk, too.
    os.posix_fadvise(descriptor, start, end - start, os.POSIX_FADV_DONTNEED)
    with mmap.mmap(-1, BLOCK_BYTES) as buffer, memoryview(buffer) as view:
        while start < end:
            wanted = min(BLOCK_BYTES, -(-(end - start) // ALIGNMENT) * ALIGNMENT)
            with view[:wanted] as aligned:
                count = min(os.preadv(descriptor, [aligned], start), end - start)
            if count <= 0:
                return
            with view[:count] as block:
                yield block
            start += count
