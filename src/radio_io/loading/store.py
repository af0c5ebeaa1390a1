"""Bytes of shards, from a folder or an object store, past the faults that network storage recovers from.

Comes in: a shard's id, an offset, a size. Goes out: that many bytes, or fewer where the shard ends before. Refuses what
stays unreadable after `ATTEMPTS`, with the `OSError` of the last one.

A transient fault in a folder (`ESTALE`, `EIO`, `ETIMEDOUT`, `EAGAIN`) is met by opening the file anew; objects are
asked for again by `ObjectStore`.
"""

import errno
import os
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from radio_io.layout import TAR_SUFFIX, DatasetLayout, check_shard_id
from radio_io.loading.table import ImageTable
from radio_io.object_store import open_object_store
from radio_io.remote_dataset import origin_of

TRANSIENT = frozenset(
    {
        errno.ESTALE,
        errno.EIO,
        errno.ETIMEDOUT,
        errno.EAGAIN,
        errno.EINTR,
        errno.ECONNRESET,
        errno.ECONNREFUSED,
        errno.ECONNABORTED,
        errno.EPIPE,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.EREMOTEIO,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
    }
)
ATTEMPTS = 4
FIRST_PAUSE_S = 0.1
OPEN_FILES = 256
"""Shards kept open: opening costs one or two round trips on a network drive, and a step reads about 128 shards."""


class ShardStore(Protocol):
    """Where shards lie. Safe to call from several threads."""

    def read(self, shard_id: str, offset: int, size: int) -> bytes:
        """Bytes of a shard; fewer than `size` where it ends. Raises `OSError`."""
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


def open_store(root: Path, url: str | None = None, *, pause_s: float = FIRST_PAUSE_S) -> ShardStore:
    """The shards in a dataset folder, or below an fsspec URL with the same layout (`s3://bucket/shards`).

    Raises:
        UsageError: The URL's protocol is unknown or its package is missing.
    """
    if url is None:
        origin = origin_of(root)
        url = origin.url if origin is not None else None
    if url is None or "://" not in url:
        return LocalStore(Path(url) if url else root, pause_s=pause_s)
    return RemoteStore(url)


def with_retries(read: Callable[[], bytes], again: Callable[[], None], *, pause_s: float = FIRST_PAUSE_S) -> bytes:
    """What `read` returns, after transient faults and `again` if need be.

    Raises:
        OSError: The fault is not transient, or stays for `ATTEMPTS`.
    """
    for attempt in range(ATTEMPTS):
        try:
            return read()
        except OSError as error:
            if not is_transient(error) or attempt == ATTEMPTS - 1:
                raise
            again()
            time.sleep(pause_s * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries, no secret
    raise AssertionError


def is_transient(error: OSError) -> bool:
    """Whether a fault is one that storage recovers from.

    Example:
        >>> is_transient(TimeoutError()), is_transient(FileNotFoundError(errno.ENOENT, "gone"))
        (True, False)
    """
    return error.errno in TRANSIENT or isinstance(error, TimeoutError | ConnectionError)


class LocalStore:
    """Shards in a folder, read at positions, so that threads share open files."""

    def __init__(self, root: Path, *, pause_s: float = FIRST_PAUSE_S) -> None:
        self._layout, self._pause_s = DatasetLayout(root), pause_s
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, shard_id: str, offset: int, size: int) -> bytes:
        """Bytes of a shard, see `ShardStore`."""
        return with_retries(
            lambda: self._read(shard_id, offset, size), lambda: self._forget(shard_id), pause_s=self._pause_s
        )

    def close(self) -> None:
        """Close the files that nobody reads."""
        with self._lock:
            for file in self._files.values():
                file.retire()
            self._files.clear()

    def _read(self, shard_id: str, offset: int, size: int) -> bytes:
        file = self._acquire(shard_id)
        try:
            return read_fully(file.descriptor, offset, size)
        finally:
            with self._lock:
                file.release()

    def _acquire(self, shard_id: str) -> "_OpenFile":
        with self._lock:
            file = self._files.get(shard_id)
            if file is not None:
                self._files.move_to_end(shard_id)
                return file.acquire()
        opened = _OpenFile(self._layout.tar_path(shard_id))  # outside the lock: opening may take long
        with self._lock:
            file = self._files.setdefault(shard_id, opened)
            if file is not opened:
                opened.retire()
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)[1].retire()
            return file.acquire()

    def _forget(self, shard_id: str) -> None:
        with self._lock:
            file = self._files.pop(shard_id, None)
            if file is not None:
                file.retire()


def read_fully(descriptor: int, offset: int, size: int) -> bytes:
    """`size` bytes at a position, or those up to the end of the file."""
    data = os.pread(descriptor, size, offset)
    if len(data) == size or not data:
        return data
    parts = [data]
    missing = size - len(data)
    while missing and (data := os.pread(descriptor, missing, offset + size - missing)):
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


class _OpenFile:
    """A descriptor that closes once it is retired and nobody reads it; used under the store's lock."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._readers, self._retired = 0, False

    def acquire(self) -> "_OpenFile":
        self._readers += 1
        return self

    def release(self) -> None:
        self._readers -= 1
        self._close_if_idle()

    def retire(self) -> None:
        self._retired = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._retired and not self._readers and self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class MemoryStore:
    """Some images of shards, in memory; what lies between them reads as zeros."""

    def __init__(self, source: ShardStore, table: ImageTable) -> None:
        """Read all images of a table. Raises `OSError`."""
        self._images: dict[str, list[tuple[int, bytes]]] = {}
        for shard, offset, size in zip(table.shards, table.offsets.tolist(), table.sizes.tolist(), strict=True):
            shard_id = table.shard_ids[shard]
            self._images.setdefault(shard_id, []).append((offset, source.read(shard_id, offset, size)))

    def read(self, shard_id: str, offset: int, size: int) -> bytes:
        """Bytes of a shard, copied, as from a file."""
        found = bytearray(size)
        for start, data in self._images[shard_id]:
            begin, end = max(start, offset), min(start + len(data), offset + size)
            if begin < end:
                found[begin - offset : end - offset] = memoryview(data)[begin - start : end - start]
        return bytes(found)

    def close(self) -> None:
        """Nothing is open."""


class RemoteStore:
    """Shards below an fsspec URL, read by ranged requests; `ObjectStore` retries them."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._objects = open_object_store(url)

    def read(self, shard_id: str, offset: int, size: int) -> bytes:
        """Bytes of a shard, see `ShardStore`."""
        check_shard_id(shard_id)
        return self._objects.read(f"{self._url}/{shard_id}{TAR_SUFFIX}", offset, size)

    def close(self) -> None:
        """Nothing is kept open."""
