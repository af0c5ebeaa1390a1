"""The bytes of a file as the parser sees them: all at once, or through a window that moves forward.

Comes in: bytes, or a function that reads at positions. Goes out: `ByteSource`. Refuses a file that
shrinks while it is read, and translates errors of the file system into rejects.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager

from radio_io.errors import ImageRejectedError, RejectReason

# Headers of radiographs have 2 to 12 KB; network drives answer 32 KiB in one round trip.
WINDOW_BYTES = 32 * 1024
# Far more elements, items and fragments than any real file has: one made to be slow ends as damaged instead.
MAX_STEPS = 1_000_000

_VANISHED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


class ByteSource:
    """Random access to bytes: `buffer` holds those from `start` on, `load` moves it.

    Without `read` everything is in `buffer`. `size` is the length that positions are checked against.
    `steps_left` bounds the work of whoever walks through the bytes.
    """

    __slots__ = ("_read", "buffer", "size", "start", "steps_left")

    def __init__(
        self, buffer: bytes, *, size: int | None = None, read: Callable[[int, int], bytes] | None = None
    ) -> None:
        self.buffer = buffer
        self.start = 0
        self.size = len(buffer) if size is None else size
        self.steps_left = MAX_STEPS
        self._read = read

    def load(self, position: int, count: int) -> int:
        """Bring `count` bytes from `position` on into the buffer, fewer at the end; returns their index there."""
        index = position - self.start
        if index >= 0 and index + count <= len(self.buffer):
            return index
        if self._read is None:
            return index
        self.buffer = self._read(position, min(max(count, WINDOW_BYTES), max(self.size - position, 0)))
        self.start = position
        return 0

    def take(self, position: int, count: int) -> bytes:
        """The `count` bytes from `position` on, fewer at the end."""
        index = self.load(position, min(count, max(self.size - position, 0)))
        return self.buffer[index : index + count]

    def view(self, position: int, count: int) -> memoryview:
        """The same without a copy, of a source that is in memory as a whole."""
        assert self._read is None, "a window moves on"
        return memoryview(self.buffer)[position : position + count]


@contextmanager
def open_regular(path: str | os.PathLike[str]) -> Generator[tuple[int, os.stat_result], None, None]:
    """A descriptor of a regular file and its status; a FIFO or device is refused without waiting for it.

    Raises:
        ImageRejectedError: VANISHED, UNREADABLE or EMPTY_FILE.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:
        raise ImageRejectedError(RejectReason.UNREADABLE, "the path holds a NUL character") from error
    except OSError as error:
        raise rejected(error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ImageRejectedError(
                RejectReason.UNREADABLE, f"{kind_of_file(status.st_mode)}, expected a regular file"
            )
        if status.st_size == 0:
            raise ImageRejectedError(RejectReason.EMPTY_FILE, "0 bytes")
        yield descriptor, status
    except OSError as error:
        raise rejected(error) from error
    finally:
        os.close(descriptor)


def read_at(descriptor: int, position: int, count: int) -> bytes:
    """Exactly `count` bytes from `position` on.

    Raises:
        ImageRejectedError: CHANGED_WHILE_READING where the file has become shorter.
    """
    data = os.pread(descriptor, count, position)
    if len(data) == count:
        return data
    parts = [data]
    missing = count - len(data)
    while missing and parts[-1]:
        parts.append(os.pread(descriptor, missing, position + count - missing))
        missing -= len(parts[-1])
    if missing:
        detail = f"the file ends {missing} bytes before the size it had when it was opened"
        raise ImageRejectedError(RejectReason.CHANGED_WHILE_READING, detail)
    return b"".join(parts)


def rejected(error: OSError) -> ImageRejectedError:
    """The reject for a failure of the file system; it names the kind of failure, never the path."""
    if error.errno in _VANISHED:
        return ImageRejectedError(RejectReason.VANISHED, "the file is gone")
    if error.errno == errno.ELOOP:
        return ImageRejectedError(RejectReason.SYMLINK_LOOP, "symbolic links that lead in a circle")
    return ImageRejectedError(RejectReason.UNREADABLE, os.strerror(error.errno) if error.errno else "read error")


def kind_of_file(mode: int) -> str:
    """What a file that is not a regular one is, in words."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    )
    return next((name for test, name in kinds if test(mode)), "a special file")
