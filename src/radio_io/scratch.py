"""A folder on the local disk for the length of a block, and the end of those that killed processes left.

Comes in: a name. Goes out: an empty folder in the system's temporary folder (`TMPDIR`), for its owner alone. Refuses
what the disk refuses.

A process holds a lock in its folder, which goes with the process: whose lock is free has died.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LOCK: Final = "lock"


@contextmanager
def scratch_folder(name: str) -> Generator[Path, None, None]:
    """An empty folder that is removed after the block, and by the next one of this name if the process is killed.

    Raises:
        OSError: It cannot be made.
    """
    prefix = f"radio-{name}-"
    _remove_abandoned(prefix)
    with (
        tempfile.TemporaryDirectory(prefix=prefix) as place,
        Path(place, ".lock").open("w", encoding="ascii") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(Path(place, _LOCK))  # without the name nobody takes the folder for abandoned
        folder = Path(place, "content")
        folder.mkdir()
        yield folder


def _remove_abandoned(prefix: str) -> None:
    for place in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # another user's, or one that has just gone
            if place.stat().st_uid == os.getuid() and not place.is_symlink():
                with (place / _LOCK).open("r+", encoding="ascii") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(place)
