"""Encoded images on a local disk, so that only the first epoch reads the slow storage.

Comes in: a folder, how many bytes it may hold, an `ImageTable`. Goes out: the bytes of images read before. Refuses a
folder that cannot be written, with a `StorageError`.

A file an image, named by its key, with a checksum before its bytes: the cache serves every selection, shuffling and
number of ranks. Several processes and runs may share a folder: an entry appears by rename, whole; the bytes in use are
counted under a lock of the operating system, which a killed process lets go of. Nothing is synced to the disk: an entry
that a crash tore fails its checksum, is removed and read again.

The least recently used entries make room, but never for an image of the same selection: shuffled epochs reach their
images again in another order, so keeping a part that fits serves more of them than any exchange.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import struct
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.checksum import crc32_of
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import StorageError
from radio_io.loading.reading import ReadConfig
from radio_io.loading.table import ImageTable

HEADER = struct.Struct("<4sHHII")
MAGIC, VERSION = b"RIOC", 1
COUNTER = struct.Struct("<Q")
COUNTER_NAME = "usage"
ROOM = 0.05
"""Share of the limit that is made free at once, so that the folder is not listed for every image."""
ABANDONED_S = 600.0
"""A temporary file older than this was left by a killed process."""
RESCAN_S = 60.0


class ImageCache:
    """The cache as one process sees it; safe to use from several threads and processes."""

    def __init__(self, folder: Path, limit_bytes: int, table: ImageTable, *, dataset_id: str) -> None:
        self._limit, self._table = limit_bytes, table
        self._folder, self._own = folder.absolute(), folder.absolute() / dataset_id
        self._suffix = f".{table.codec}-{table.halvings}"
        self._wanted = _KeySet(table)
        self._numbers = itertools.count()
        self._full_until_s = 0.0
        self._mutex, self._counts = threading.Lock(), threading.Lock()
        with atomic.storage_errors(self._folder):
            for part in range(256):
                (self._own / f"{part:02x}").mkdir(parents=True, exist_ok=True)
            self._counter = os.open(self._folder / COUNTER_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with self._locked():
            if os.fstat(self._counter).st_size != COUNTER.size:
                self._write_usage(sum(size for _, size, _ in self._entries()))
        self.hits = self.misses = self.damaged = 0

    def close(self) -> None:
        """Let go of the folder."""
        if self._counter >= 0:
            os.close(self._counter)
            self._counter = -1

    @property
    def usage_bytes(self) -> int:
        """Bytes in use, by all processes."""
        with self._locked():
            return self._read_usage()

    def holds(self, row: int) -> bool:
        """Whether an image seems to be there."""
        return self._path(row).exists()

    def get(self, row: int) -> bytes | None:
        """The bytes of an image, checked, or None."""
        path = self._path(row)
        try:
            with path.open("rb", buffering=0) as file:  # no copy of an image's bytes
                header, data = file.read(HEADER.size), file.read(int(self._table.sizes[row]))
                is_whole = not file.read(1)
                os.utime(file.fileno())
                size = os.fstat(file.fileno()).st_size
        except OSError:
            self._count(misses=1)
            return None
        if not (is_whole and self._is_right(header, data, row)):
            self._count(damaged=1)
            self._remove(path, size)
            return None
        self._count(hits=1)
        return data

    def put(self, row: int, data: bytes) -> bool:
        """Keep the bytes of an image, if there is room or room can be made; says whether.

        A disk that fails is no reason to stop a run: the image is then not kept.
        """
        if self._table.has_crc32 and crc32_of(data) != self._table.crc32[row]:
            return False
        path = self._path(row)
        temp = path.with_name(f"{atomic.TEMP_PREFIX}{os.getpid()}-{next(self._numbers)}")
        header = HEADER.pack(MAGIC, VERSION, self._table.halvings, crc32_of(data), len(data))
        size = len(header) + len(data)
        try:
            if path.exists() or not self._reserve(temp, size):
                return False
            with temp.open("r+b") as file:
                file.write(header)
                file.write(data)
            self._publish(temp, path, size)
        except OSError:
            self._remove(temp, size)
            return False
        return True

    def _count(self, *, hits: int = 0, misses: int = 0, damaged: int = 0) -> None:
        with self._counts:
            self.hits, self.misses, self.damaged = self.hits + hits, self.misses + misses, self.damaged + damaged

    def _path(self, row: int) -> Path:
        key = self._table.key(row)
        return self._own / key[:2] / f"{key}{self._suffix}"

    def _is_right(self, header: bytes, data: bytes, row: int) -> bool:
        if len(header) < HEADER.size or len(data) != self._table.sizes[row]:
            return False
        magic, version, halvings, crc32, size = HEADER.unpack(header)
        fits = (magic, version, halvings, size) == (MAGIC, VERSION, self._table.halvings, len(data))
        known = not self._table.has_crc32 or crc32 == self._table.crc32[row]
        return fits and known and crc32_of(data) == crc32

    def _reserve(self, temp: Path, size: int) -> bool:
        """Count `size` bytes and make the file that will hold them, so that whoever lists the folder counts it."""
        if time.monotonic() < self._full_until_s:
            return False
        with self._locked():
            usage = self._read_usage()
            if usage + size > self._limit:
                usage = self._make_room(size)
            if usage + size > self._limit:
                self._full_until_s = time.monotonic() + RESCAN_S
                self._write_usage(usage)
                return False
            descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                os.truncate(descriptor, size)
            finally:
                os.close(descriptor)
            self._write_usage(usage + size)
        return True

    def _publish(self, temp: Path, path: Path, size: int) -> None:
        with self._locked():
            if path.exists():  # another process was faster
                temp.unlink()
                self._write_usage(max(0, self._read_usage() - size))
            else:
                temp.replace(path)

    def _remove(self, path: Path, size: int) -> None:
        with contextlib.suppress(OSError), self._locked():
            path.unlink()
            self._write_usage(max(0, self._read_usage() - size))

    def _make_room(self, size: int) -> int:
        """Remove the least recently used entries of other selections; returns the bytes then in use."""
        entries = sorted(self._entries())
        usage = sum(each for _, each, _ in entries)
        target = self._limit * (1 - ROOM) - size
        for _, each, path in entries:
            if usage <= target:
                break
            if not self._is_wanted(path):
                with contextlib.suppress(OSError):
                    path.unlink()
                    usage -= each
        return usage

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """(last use, bytes, path) of all entries and of what others are writing; what killed ones left is removed."""
        oldest = time.time() - ABANDONED_S
        for folder in self._folder.glob("*/[0-9a-f][0-9a-f]"):
            for entry in os.scandir(folder):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat()
                    if entry.name.startswith(atomic.TEMP_PREFIX) and status.st_mtime < oldest:
                        Path(entry.path).unlink()
                    else:
                        yield status.st_mtime, status.st_size, Path(entry.path)

    def _is_wanted(self, path: Path) -> bool:
        if path.name.startswith(atomic.TEMP_PREFIX):
            return True  # being written
        return path.parent.parent == self._own and path.name.endswith(self._suffix) and path.name[:32] in self._wanted

    @contextlib.contextmanager
    def _locked(self) -> Generator[None, None, None]:
        """The one place at a time where the folder changes: threads by the mutex, processes by the file lock."""
        with self._mutex:
            if self._counter < 0:
                raise OSError(errno.EBADF, "the cache is closed")
            fcntl.flock(self._counter, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._counter, fcntl.LOCK_UN)

    def _read_usage(self) -> int:
        data = os.pread(self._counter, COUNTER.size, 0)
        return int(COUNTER.unpack(data)[0]) if len(data) == COUNTER.size else 0

    def _write_usage(self, usage: int) -> None:
        os.pwrite(self._counter, COUNTER.pack(usage), 0)


class _KeySet:
    """The keys of a table, to look up by their first 8 bytes: a chance meeting would only keep an entry longer."""

    def __init__(self, table: ImageTable) -> None:
        self._table = table
        self._sorted: NDArray[np.uint64] | None = None

    def __contains__(self, key: str) -> bool:
        if self._sorted is None:
            fronts = np.ascontiguousarray(self._table.keys[:, :8]).view(">u8").ravel()
            self._sorted = np.sort(fronts.astype(np.uint64))
        wanted = np.uint64(int(key[:16], 16))
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and bool(self._sorted[place] == wanted)


def open_cache(folder: Path, limit_bytes: int, table: ImageTable, *, dataset_id: str) -> ImageCache:
    """The cache in `folder`, which is made where it is missing.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        return ImageCache(folder, limit_bytes, table, dataset_id=dataset_id)
    except OSError as error:
        raise StorageError(f"cannot use {folder} as a cache: {error.strerror}; name another folder") from None


def cache_of(root: Path, table: ImageTable, reading: ReadConfig) -> ImageCache | None:
    """The cache that the reading of a dataset asks for, if any.

    Raises:
        StorageError: It cannot be written.
    """
    if reading.cache is None:
        return None
    return open_cache(reading.cache, reading.cache_bytes, table, dataset_id=read_dataset_file(root).dataset_id)
