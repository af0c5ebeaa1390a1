"""Who may change a dataset: one process alone, or several that build it together.

Comes in: a dataset's layout. Goes out: a lock in its private folder for the length of a block; it goes with the
process. Refuses what another process holds, or waits for it.

Who gets a dataset alone removes the temporary files that killed processes left: nobody writes any.
"""

import fcntl
import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, TextIO

from radio_io import atomic
from radio_io.errors import StorageError
from radio_io.layout import DatasetLayout

_TRY_AGAIN_S: Final = 0.2


@contextmanager
def locked(layout: DatasetLayout, *, shared: bool = False, wait: bool = False) -> Generator[None, None, None]:
    """Hold the dataset for this process alone, or with others that share it.

    Raises:
        StorageError: Another process holds it, and `wait` is not set. Or the private folder cannot be written.
    """
    with _opened(layout) as file:
        if wait:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        elif not _taken(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            raise StorageError(
                f"another radio is changing {layout.root}; wait until it has ended, or name another --dataset"
            )
        if not shared:
            _remove_leftovers(layout)
        yield


class Together:
    """A dataset that is held for this process `alone`, until `share`, or with others that are at work already."""

    __slots__ = ("_file", "alone")

    def __init__(self, file: TextIO, *, alone: bool) -> None:
        self._file, self.alone = file, alone

    def share(self) -> None:
        """Let others in. One of them may have had the dataset alone before this returns."""
        self.alone = False
        fcntl.flock(self._file, fcntl.LOCK_SH)


@contextmanager
def held_together(layout: DatasetLayout, is_prepared: Callable[[], bool]) -> Generator[Together, None, None]:
    """Hold a dataset as one of several processes; alone where nobody else is at work, or nobody prepared it.

    Who comes while others are at work begins at once: waiting for a moment alone would mean waiting for their end.

    Raises:
        StorageError: The private folder cannot be written.
    """
    with _opened(layout) as file:
        while not _taken(file, fcntl.LOCK_EX):
            fcntl.flock(file, fcntl.LOCK_SH)
            if is_prepared():
                yield Together(file, alone=False)
                return
            fcntl.flock(file, fcntl.LOCK_UN)  # whoever prepared it has died
            time.sleep(_TRY_AGAIN_S * random.uniform(0.5, 1.5))  # noqa: S311 - spreads tries, no secret
        _remove_leftovers(layout)
        yield Together(file, alone=True)


def _opened(layout: DatasetLayout) -> TextIO:
    atomic.make_private_folder(layout.private)  # a copy of the dataset alone has none
    with atomic.storage_errors(layout.lock_file):
        return layout.lock_file.open("w")


def _remove_leftovers(layout: DatasetLayout) -> None:
    for folder in (layout.root, layout.private):
        atomic.remove_leftovers(folder)


def _taken(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
