"""A part of other content: what is stored in an archive as it is.

Comes in: `Content` and a range of it. Goes out: `StoredContent`. Refuses bytes that have another checksum.
"""

from radio_io.sources.content import Content, refuse_large
from radio_io.sources.inflate import require_crc32


class StoredContent:
    """The `size` bytes from `offset` on; `crc32` is theirs, where it is known."""

    def __init__(self, whole: Content, offset: int, size: int, crc32: int | None = None) -> None:
        self._whole, self._offset, self._size, self._crc32 = whole, offset, size, crc32

    @property
    def size(self) -> int:
        """See `Content`."""
        return self._size

    @property
    def modified_ns(self) -> int:
        """See `Content`."""
        return self._whole.modified_ns

    def read(self, position: int, count: int) -> bytes:
        """See `Content`."""
        return self._whole.read(self._offset + position, count)

    def read_all(self) -> bytes:
        """See `Content`."""
        refuse_large(self._size)
        data = self.read(0, self._size)
        if self._crc32 is not None:
            require_crc32(data, self._crc32)
        self.require_unchanged()
        return data

    def require_unchanged(self) -> None:
        """See `Content`."""
        self._whole.require_unchanged()
