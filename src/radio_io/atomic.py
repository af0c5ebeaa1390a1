"""Files that are there whole or not at all, whatever moment the power goes.

Comes in: bytes, or a writer that takes a path. Goes out: the file under its final name, after: temporary name in the
same folder, write, fsync, re-read and compare, rename, fsync of the folder. Refuses: what cannot be stored, as a
`StorageError` that says what to do.

Temporary names start with `.tmp-`; `remove_leftovers` clears those that a killed process left.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from radio_io.checksum import crc32_of
from radio_io.errors import StorageError

TEMP_PREFIX = ".tmp-"
BLOCK_SIZE = 1 << 20
_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again to go on",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again to go on",
    errno.EROFS: "the file system is read-only: choose another folder or mount it for writing",
    errno.EACCES: "permission denied: choose another folder or change its permissions",
    errno.EPERM: "permission denied: choose another folder or change its permissions",
    errno.ESTALE: "the network drive lost the file: check the mount, then run the same command again to go on",
    errno.EIO: "the drive reports an error: check it and the connection, then run the same command again to go on",
}


@contextlib.contextmanager
def storage_errors(path: Path) -> Generator[None, None, None]:
    """Turn an `OSError` inside into a `StorageError` about `path`, with advice.

    Raises:
        StorageError: In place of the `OSError`.
    """
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check the drive, then run the same command again to go on")
        raise StorageError(f"cannot write {path}: {error.strerror or error}; {advice}") from error


def temporary_path(path: Path, pid: int | None = None) -> Path:
    """The name under which this process, or the one with this number, writes what becomes `path`."""
    return path.with_name(f"{TEMP_PREFIX}{pid or os.getpid()}-{path.name}")


def write_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` as the file `path`, replacing one that is there.

    Raises:
        StorageError: The file cannot be written, or reads back differently.
    """
    with staged(path, crc32=crc32_of(data)) as temp, temp.open("xb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)


@contextlib.contextmanager
def staged(path: Path, *, crc32: int | None = None) -> Generator[Path, None, None]:
    """A temporary path to write; when the block ends well it becomes `path`, otherwise it is removed.

    With `crc32`, what lies on the disk is compared with it before the rename.

    Raises:
        StorageError: The file cannot be written, or reads back differently.
    """
    temp = temporary_path(path)
    try:
        with storage_errors(path):
            temp.unlink(missing_ok=True)
        with storage_errors(path):
            yield temp
        publish(temp, path, crc32=crc32)
    except BaseException:
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)
        raise


def publish(temp: Path, path: Path, *, crc32: int | None = None) -> None:
    """Give the written file `temp` its final name in the same folder, durably.

    Raises:
        StorageError: The disk refuses, or the file does not read back with this CRC-32.
    """
    with storage_errors(path):
        with temp.open("rb") as file:
            os.fsync(file.fileno())
            # Only pages that are on the disk can be dropped, so this comes after fsync: the comparison reads the disk.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if crc32 is not None and _crc32(file.fileno()) != crc32:
                raise StorageError(f"{temp} reads back differently from what was written; check the drive")
        temp.replace(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable; a file system that cannot sync folders is left to itself."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some FUSE and SMB mounts
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, mode: int = 0o755) -> None:
    """Make `folder` and its parents, durably; nothing happens where it exists.

    Raises:
        StorageError: It cannot be made.
    """
    with storage_errors(folder):
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=mode if each == folder else 0o755, exist_ok=True)
            sync_folder(each.parent)


def make_private_folder(folder: Path) -> None:
    """Make `folder`, or close one that is there: for its owner alone.

    Raises:
        StorageError: It cannot be made.
    """
    make_folder(folder, mode=0o700)
    with storage_errors(folder):
        folder.chmod(0o700)


def remove_leftovers_of(path: Path) -> None:
    """Remove the temporary files of `path` that killed processes left; nobody may be writing it."""
    for temp in path.parent.glob(f"{TEMP_PREFIX}*-{path.name}"):
        with storage_errors(temp):
            temp.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> int:
    """Remove the temporary files below `folder` that killed processes left, and say how many."""
    count = 0
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(TEMP_PREFIX):
                path = Path(place, name)
                with storage_errors(path):
                    path.unlink(missing_ok=True)
                count += 1
    return count


def require_free_space(folder: Path, size_bytes: int) -> None:
    """Refuse to begin what will not fit.

    Raises:
        StorageError: Less than `size_bytes` are free.
    """
    with storage_errors(folder):
        free_bytes = shutil.disk_usage(folder).free
    if free_bytes < size_bytes:
        raise StorageError(
            f"{folder}: {free_bytes / 1e9:.2f} GB free, about {size_bytes / 1e9:.2f} GB needed; "
            "free some space or choose another dataset folder"
        )


def _crc32(descriptor: int) -> int:
    value, position = 0, 0
    block = bytearray(BLOCK_SIZE)
    while count := os.preadv(descriptor, [block], position):
        value = crc32_of(memoryview(block)[:count], value)
        position += count
    return value
