"""The tar of a shard as a stream or by ranges, from its folder or from an object store.

Comes in: a layout and a shard's id. Goes out: its size, a stream, a range. Refuses nothing; errors are `OSError`s.
"""

import io
from contextlib import AbstractContextManager
from typing import Final, Protocol

from radio_io.layout import TAR_SUFFIX, DatasetLayout
from radio_io.remote_dataset import RemoteDataset, origin_of

_AHEAD_BYTES: Final = 16 << 20


class TarStream(Protocol):
    """Read from the beginning on."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, all that are left by default."""
        ...

    def tell(self) -> int:
        """The position."""
        ...


def tar_size(layout: DatasetLayout, shard_id: str) -> int | None:
    """The size of a tar in bytes; None where there is none."""
    origin = origin_of(layout.root)
    try:
        if origin is None:
            return layout.tar_path(shard_id).stat().st_size
        return origin.store.facts(f"{origin.url}/{shard_id}{TAR_SUFFIX}").size_bytes
    except FileNotFoundError:
        return None


def open_tar(layout: DatasetLayout, shard_id: str, size: int) -> AbstractContextManager[TarStream]:
    """A tar of this size as a stream; from a store it comes by large ranges, one of them in memory."""
    origin = origin_of(layout.root)
    if origin is None:
        return layout.tar_path(shard_id).open("rb")
    return io.BufferedReader(_RemoteTar(origin, shard_id + TAR_SUFFIX, size), _AHEAD_BYTES)


def read_tar(layout: DatasetLayout, shard_id: str, position: int, count: int) -> bytes:
    """A range of a tar, shorter where it ends before."""
    origin = origin_of(layout.root)
    if origin is not None:
        return origin.read(shard_id + TAR_SUFFIX, position, count)
    with layout.tar_path(shard_id).open("rb") as file:
        file.seek(position)
        return file.read(count)


class _RemoteTar(io.RawIOBase):
    def __init__(self, origin: RemoteDataset, name: str, size: int) -> None:
        self._origin, self._name, self._size, self._position = origin, name, size, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        count = min(len(buffer), self._size - self._position)
        data = self._origin.read(self._name, self._position, count)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
