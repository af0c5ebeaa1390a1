"""Silence for pydicom, whose warnings and log lines quote values of the header.

Comes in: nothing. Goes out: `quiet_pydicom`. Importing this module turns off pydicom's logger and its validation of
read values, process-wide; its warnings need the context manager.
"""

import logging
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from pydicom import config

logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
config.settings.reading_validation_mode = config.IGNORE

_lock = threading.Lock()
_active: "list[warnings.catch_warnings[None]]" = []
_depth = 0


@contextmanager
def quiet_pydicom() -> Generator[None, None, None]:
    """No warning is shown or raised inside; safe in several threads at once.

    `warnings.catch_warnings` alone restores the wrong filters when two threads overlap, so the first to enter sets
    them and the last to leave restores them.
    """
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            catcher = warnings.catch_warnings(record=False)
            catcher.__enter__()
            warnings.simplefilter("ignore")
            _active.append(catcher)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _active.pop().__exit__(None, None, None)
