"""Compressed tar archives, which have no random access, as uncompressed ones in the private folder while they are read.

Comes in: the `Content` of a `.tar.gz`, `.tar.bz2` or `.tar.xz`. Goes out: the path of the uncompressed archive, and
whether the packed one was damaged. Refuses what would take more than half of the free space, and what grows without
measure.

A spooled archive is made once, by whoever needs it first, and removed when the build has published its index.
"""

import bz2
import fcntl
import gzip
import io
import lzma
import os
import shutil
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from radio_io import atomic
from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.sources.archive_names import ArchiveFormat
from radio_io.sources.content import Content

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK_BYTES: Final = 1 << 20
_REQUEST_BYTES: Final = 8 << 20
# An archive of radiographs shrinks to a half or a third; blank ones to a hundredth.
MAX_RATIO: Final = 200
_ALWAYS_BYTES: Final = 64 << 20
_SHARE_OF_FREE_SPACE: Final = 0.5


def spooled(content: Content, form: ArchiveFormat, path: Path) -> Path:
    """The uncompressed archive `path`, made if it is not there.

    What cannot be unpacked ends there, and `is_damaged` says so.

    Raises:
        ImageRejectedError: DECOMPRESSION_BOMB; BAD_ARCHIVE where it does not fit.
        StorageError: The private folder cannot be written.
    """
    atomic.make_folder(path.parent, mode=0o700)
    with _one_at_a_time(path):
        if not path.exists():
            with atomic.storage_errors(path):
                limit = int(_SHARE_OF_FREE_SPACE * shutil.disk_usage(path.parent).free)
            with atomic.staged(path) as temp:
                if not _unpack(content, form, temp, limit):
                    atomic.write_file(_damage_mark(path), b"", mode=0o600)
    return path


def is_damaged(path: Path) -> bool:
    """Whether the packed archive was damaged or cut, so that the spooled one holds only its beginning."""
    return _damage_mark(path).exists()


def remove_spooled(folder: Path) -> None:
    """Remove all spooled archives; nobody may be reading them."""
    if folder.exists():
        with atomic.storage_errors(folder):
            shutil.rmtree(folder)


@contextmanager
def _one_at_a_time(path: Path) -> Generator[None, None, None]:
    with path.with_name(path.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _damage_mark(path: Path) -> Path:
    return path.with_suffix(".damaged")


def _unpack(content: Content, form: ArchiveFormat, target: Path, limit: int) -> bool:
    """Write what can be unpacked; returns whether that is all."""
    absurd = _ALWAYS_BYTES + MAX_RATIO * content.size
    written = 0
    with _open_packed(content, form) as packed, target.open("xb") as file:
        os.fchmod(file.fileno(), 0o600)
        while block := _next_block(packed):
            written += len(block)
            if written > absurd:
                detail = f"unpacks to more than {MAX_RATIO} times its size"
                raise ImageRejectedError(RejectReason.DECOMPRESSION_BOMB, detail)
            if written > limit:
                detail = (
                    f"unpacks to more than {limit} bytes, half of the free space beside the dataset; "
                    "decompress it to a plain .tar, which is read in place"
                )
                raise ImageRejectedError(RejectReason.BAD_ARCHIVE, detail)
            file.write(block)
    return block is not None


def _next_block(packed: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile) -> bytes | None:
    """Bytes, none at the end; None where the rest cannot be unpacked."""
    try:
        return packed.read1(_BLOCK_BYTES)  # `read` would lose what comes right before the damage
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):
        return None
    except OSError as error:
        if error.errno is not None:
            raise
        return None  # bz2 says "Invalid data stream" so


def _open_packed(content: Content, form: ArchiveFormat) -> gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile:
    raw = io.BufferedReader(_Raw(content), _REQUEST_BYTES)
    if form is ArchiveFormat.TAR_GZ:
        return gzip.GzipFile(fileobj=raw, mode="rb")
    return bz2.BZ2File(raw) if form is ArchiveFormat.TAR_BZ2 else lzma.LZMAFile(raw)


class _Raw(io.RawIOBase):
    """`Content` as a stream."""

    def __init__(self, content: Content) -> None:
        self._content, self._position = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._content.size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        count = max(min(len(view), self._content.size - self._position), 0)
        view[:count] = self._content.read(self._position, count)
        self._position += count
        return count
