"""A path of the scan as `Content`: an ordinary file, an object, or a member of an archive.

Comes in: a path, and the folder with the tables of archives. Goes out: `Content`. Refuses what cannot be read, with the
reason.
"""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.sources.archive_names import possible_members
from radio_io.sources.archives import open_member
from radio_io.sources.content import Content
from radio_io.sources.whole import may_be_archive, open_whole


@contextmanager
def open_content(path: str | Path, archives: Path | None = None) -> Generator[Content, None, None]:
    """What lies under `path`; without a folder for tables, members of archives are not looked for.

    Raises:
        ImageRejectedError: VANISHED, UNREADABLE, EMPTY_FILE, or what is wrong with an archive.
    """
    with ExitStack() as opened:
        for archive, place in possible_members(str(path)) if archives is not None else ():
            outer = _open_archive(archive, opened)
            if outer is not None:
                assert archives is not None
                yield opened.enter_context(open_member(archive, place, outer, archives))
                return
        yield opened.enter_context(open_whole(path))


def _open_archive(path: str, opened: ExitStack) -> Content | None:
    """The archive of this path, None where there is none."""
    if not may_be_archive(path):
        return None
    try:
        return opened.enter_context(open_whole(path))
    except ImageRejectedError as error:
        if error.reason is not RejectReason.VANISHED:
            raise
        return None
