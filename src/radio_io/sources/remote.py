"""Objects of a store as sources: found by listing, read by ranges.

Comes in: URLs. Goes out: `FoundFile`s and `RemoteContent`. Refuses what cannot be reached, with the kind of failure and
never a name.
"""

import errno
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.object_store import ObjectFacts, ObjectStore, open_object_store
from radio_io.sources.content import refuse_large
from radio_io.sources.found import FoundFile, UnusablePath


class RemoteContent:
    """An object; every read is a request."""

    def __init__(self, store: ObjectStore, facts: ObjectFacts) -> None:
        self._store, self._facts = store, facts

    @property
    def size(self) -> int:
        """See `Content`."""
        return self._facts.size_bytes

    @property
    def modified_ns(self) -> int:
        """See `Content`."""
        return self._facts.modified_ns

    def read(self, position: int, count: int) -> bytes:
        """See `Content`."""
        data = self._store.read(self._facts.url, position, count)
        if len(data) != count:
            detail = f"the object ends {count - len(data)} bytes before the size it had when it was opened"
            raise ImageRejectedError(RejectReason.CHANGED_WHILE_READING, detail)
        return data

    def read_all(self) -> bytes:
        """See `Content`."""
        refuse_large(self.size)
        data = self.read(0, self.size)
        self.require_unchanged()
        return data

    def require_unchanged(self) -> None:
        """See `Content`."""
        if self._store.facts(self._facts.url) != self._facts:
            raise ImageRejectedError(RejectReason.CHANGED_WHILE_READING, "the object was replaced meanwhile")


@contextmanager
def open_object(url: str) -> Generator[RemoteContent, None, None]:
    """The content of an object.

    Raises:
        ImageRejectedError: VANISHED, UNREADABLE or EMPTY_FILE.
    """
    try:
        store = open_object_store(url)
        facts = store.facts(url)
        if facts.size_bytes == 0:
            raise ImageRejectedError(RejectReason.EMPTY_FILE, "0 bytes")
        yield RemoteContent(store, facts)
    except OSError as error:
        raise _rejected(error) from None


def walk_url(url: str) -> Iterator[FoundFile | UnusablePath]:
    """The object of this URL and those below it as a folder; a listing that fails costs what it had not named yet.

    Raises:
        UsageError: The URL cannot be used.
    """
    store = open_object_store(url)
    found = False
    try:
        if not url.endswith("/") and "/" in store.path_of(url):
            try:
                yield _file(store.facts(url))
                found = True
            except FileNotFoundError:
                pass
        for facts in store.below(url):
            found = True
            yield _file(facts)
    except OSError as error:
        reject = _rejected(error)
        yield UnusablePath(path=url, reason=reject.reason, detail=f"while it was listed: {reject.detail}")
        return
    if not found:
        yield UnusablePath(path=url, reason=RejectReason.VANISHED, detail="no object has this URL or lies below it")


def _file(facts: ObjectFacts) -> FoundFile:
    return FoundFile(path=facts.url, size_bytes=facts.size_bytes, modified_ns=facts.modified_ns)


def _rejected(error: OSError) -> ImageRejectedError:
    if isinstance(error, FileNotFoundError):
        return ImageRejectedError(RejectReason.VANISHED, "the object is gone")
    if isinstance(error, PermissionError):
        return ImageRejectedError(RejectReason.UNREADABLE, "the object store denies access")
    detail = error.strerror if error.errno == errno.EREMOTEIO and error.strerror else "the object store fails"
    return ImageRejectedError(RejectReason.UNREADABLE, detail)
