"""What a worker has done of its shard so far: noted on disk, so that little is lost when the worker dies.

Comes in: the position of each file before it is opened, and what became of it afterwards. Goes out: the last position,
and the finished part of the shard, its images taken from the tar that the dead worker was writing. Refuses nothing:
what does not read back as it was noted ends the finished part.

One line an entry: `pid`, then for each file `at POSITION`, and `image CRC-32` or `reject [reason, detail]` as JSON.
"""

import contextlib
import json
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from radio_io import atomic
from radio_io.checksum import crc32_of
from radio_io.errors import RejectReason
from radio_io.layout import DatasetLayout
from radio_io.sharding.sample import Sample, decode_metadata
from radio_io.sharding.write import BLOCK, member_size


@dataclass(frozen=True, slots=True)
class NotedReject:
    """A file that was rejected."""

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class NotedImage:
    """A file that became an image; `crc32` is that of its encoded bytes."""

    crc32: int


class Journal:
    """Open for a shard that is being built."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._write(f"pid {os.getpid()}")

    def at(self, position: int) -> None:
        """The file at this position comes next."""
        self._write(f"at {position}")

    def rejected(self, reason: RejectReason, detail: str) -> None:
        """It was rejected."""
        self._write(f"reject {json.dumps([reason.value, detail])}")

    def written(self, sample: Sample) -> None:
        """It became an image, which lies in the tar."""
        self._write(f"image {crc32_of(sample.encoded)}")

    def _write(self, line: str) -> None:
        data = f"{line}\n".encode()
        while data:
            data = data[os.write(self._descriptor, data) :]  # a disk that is nearly full takes a part


@contextlib.contextmanager
def open_journal(layout: DatasetLayout, shard_id: str) -> Generator[Journal, None, None]:
    """A new journal; it goes when the shard is done, and stays with a death.

    Raises:
        StorageError: It cannot be written.
    """
    path = _path(layout, shard_id)
    atomic.make_folder(path.parent, mode=0o700)
    with atomic.storage_errors(path):
        path.unlink(missing_ok=True)  # whoever still reads the old one keeps it
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        with atomic.storage_errors(path):
            journal = Journal(descriptor)
        yield journal
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a dead worker left: where it was, what became of the files before, and the tar that it was writing."""

    position: int
    done: tuple[NotedImage | NotedReject, ...]
    tar: Path

    def results(self) -> Iterator[Sample | NotedReject]:
        """What became of the first files, as far as it reads back as it was noted."""
        with contextlib.suppress(OSError, ValueError, TypeError), self.tar.open("rb") as file:
            for noted in self.done:
                yield noted if isinstance(noted, NotedReject) else _read_sample(file, noted.crc32)


def read_progress(layout: DatasetLayout, shard_id: str) -> Progress | None:
    """What the journal of a dead worker says; None where there is none."""
    try:
        lines = _path(layout, shard_id).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    pid, position = 0, None
    done: list[NotedImage | NotedReject] = []
    with contextlib.suppress(ValueError, TypeError):  # a line that the disk did not take whole ends what is known
        for kind, _, value in (line.decode().partition(" ") for line in lines):
            if kind == "pid":
                pid = int(value)
            elif kind == "at":
                position = int(value)
            elif kind == "image":
                done.append(NotedImage(int(value)))
            else:
                reason, detail = json.loads(value)
                done.append(NotedReject(RejectReason(reason), detail))
    if position is None:
        return None
    return Progress(position, tuple(done), atomic.temporary_path(layout.tar_path(shard_id), pid))


def forget_progress(layout: DatasetLayout, shard_id: str) -> None:
    """Take the journal away."""
    _path(layout, shard_id).unlink(missing_ok=True)


def _path(layout: DatasetLayout, shard_id: str) -> Path:
    return layout.private / "in_progress" / shard_id.replace("/", "_")


def _read_sample(file: BinaryIO, crc32: int) -> Sample:
    encoded = _read_member(file)
    if crc32_of(encoded) != crc32:
        raise ValueError("not the bytes that were noted")
    return Sample(row=decode_metadata(_read_member(file)), encoded=encoded)


def _read_member(file: BinaryIO) -> bytes:
    size = int(file.read(BLOCK)[124:135], 8)
    content = file.read(member_size(size) - BLOCK)
    return content[:size]
