"""Where in its shard a worker is: noted on disk before each file, so that it is known when the worker has died.

Comes in: a shard's id, positions. Goes out: the last position. Refuses nothing.
"""

import contextlib
import os
import struct
from collections.abc import Callable, Generator
from pathlib import Path

from radio_io import atomic
from radio_io.layout import DatasetLayout

_POSITION = struct.Struct("<q")


@contextlib.contextmanager
def noting_position(layout: DatasetLayout, shard_id: str) -> Generator[Callable[[int], None], None, None]:
    """A function that notes the position of a file; the note goes when the shard is done, and stays with a death."""
    path = _note_path(layout, shard_id)
    atomic.make_folder(path.parent, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def note(position: int) -> None:
        os.pwrite(descriptor, _POSITION.pack(position), 0)

    try:
        yield note
    finally:
        os.close(descriptor)
    path.unlink(missing_ok=True)


def _note_path(layout: DatasetLayout, shard_id: str) -> Path:
    return layout.private / "in_progress" / shard_id.replace("/", "_")


def noted_position(layout: DatasetLayout, shard_id: str) -> int | None:
    """The last position that was noted and not taken away; None where there is none."""
    try:
        content = _note_path(layout, shard_id).read_bytes()
    except FileNotFoundError:
        return None
    return int(_POSITION.unpack(content)[0]) if len(content) == _POSITION.size else None


def forget_position(layout: DatasetLayout, shard_id: str) -> None:
    """Take the note away."""
    _note_path(layout, shard_id).unlink(missing_ok=True)
