"""The bytes of one thing to read, wherever they lie: `Content`, and that of an ordinary file.

Comes in: a path of the file system. Goes out: `FileContent`. Refuses what is no regular file, is too large, or changes
while it is read.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Protocol

from radio_io.dicom.source import open_regular, read_at
from radio_io.errors import ImageRejectedError, RejectReason

# The largest stitched radiographs have about 200 MB; a worker must stay below 1.5 GB with its copy of the pixels.
MAX_FILE_BYTES: Final = 384 << 20


class Content(Protocol):
    """Bytes that can be read at positions. Every method raises `ImageRejectedError` for what cannot be read."""

    @property
    def size(self) -> int:
        """The number of bytes."""
        ...

    @property
    def modified_ns(self) -> int:
        """When they last changed."""
        ...

    def read(self, position: int, count: int) -> bytes:
        """Exactly `count` bytes from `position` on."""
        ...

    def read_all(self) -> bytes:
        """All bytes; TOO_LARGE above `MAX_FILE_BYTES`, CHANGED_WHILE_READING where they changed meanwhile."""
        ...

    def require_unchanged(self) -> None:
        """Raise CHANGED_WHILE_READING where the bytes are not those that were opened any more."""
        ...


class FileContent:
    """An open regular file."""

    def __init__(self, descriptor: int, status: os.stat_result) -> None:
        self._descriptor, self._status = descriptor, status

    @property
    def size(self) -> int:
        """See `Content`."""
        return self._status.st_size

    @property
    def modified_ns(self) -> int:
        """See `Content`."""
        return self._status.st_mtime_ns

    def read(self, position: int, count: int) -> bytes:
        """See `Content`."""
        return read_at(self._descriptor, position, count)

    def read_all(self) -> bytes:
        """See `Content`."""
        refuse_large(self.size)
        data = self.read(0, self.size)
        self.require_unchanged()
        return data

    def require_unchanged(self) -> None:
        """See `Content`."""
        before, after = self._status, os.fstat(self._descriptor)
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            detail = f"{before.st_size} bytes before reading, {after.st_size} after, or touched meanwhile"
            raise ImageRejectedError(RejectReason.CHANGED_WHILE_READING, detail)


def refuse_large(size: int) -> None:
    """Refuse what is no radiograph by its size alone.

    Raises:
        ImageRejectedError: TOO_LARGE.
    """
    if size > MAX_FILE_BYTES:
        raise ImageRejectedError(RejectReason.TOO_LARGE, f"{size} bytes, at most {MAX_FILE_BYTES} are read")


@contextmanager
def open_file(path: str | os.PathLike[str]) -> Generator[FileContent, None, None]:
    """The content of a regular file.

    Raises:
        ImageRejectedError: VANISHED, UNREADABLE or EMPTY_FILE.
    """
    with open_regular(path) as (descriptor, status):
        yield FileContent(descriptor, status)
