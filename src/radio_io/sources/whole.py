"""A whole file or object as `Content`.

Comes in: a path or URL. Goes out: `Content`. Refuses what cannot be read.
"""

import os
from contextlib import AbstractContextManager
from pathlib import Path

from radio_io.object_store import is_url
from radio_io.sources.content import Content, open_file
from radio_io.sources.remote import open_object


def open_whole(path: str | os.PathLike[str]) -> AbstractContextManager[Content]:
    """A regular file, or an object of a store; raises on entering.

    Raises:
        ImageRejectedError: VANISHED, UNREADABLE or EMPTY_FILE.
    """
    text = os.fspath(path)
    return open_object(text) if is_url(text) else open_file(text)


def may_be_archive(path: str) -> bool:
    """Whether an archive may lie here: in a store, asking costs as much as opening it."""
    return is_url(path) or Path(path).is_file()
