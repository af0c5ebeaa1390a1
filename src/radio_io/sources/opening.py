"""A path of the scan as `Content`: an ordinary file, or a member of an archive.

Comes in: a path, and the folder with the tables of archives. Goes out: `Content`. Refuses what cannot be read, with the
reason.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from radio_io.sources.archive_names import possible_members
from radio_io.sources.archives import open_member
from radio_io.sources.content import Content, open_file


@contextmanager
def open_content(path: str | Path, archives: Path | None = None) -> Generator[Content, None, None]:
    """What lies under `path`; without a folder for tables, members of archives are not looked for.

    Raises:
        ImageRejectedError: VANISHED, UNREADABLE, EMPTY_FILE, or what is wrong with an archive.
    """
    places = possible_members(str(path)) if archives is not None else ()
    for archive, place in places:
        if Path(archive).is_file():
            assert archives is not None
            with open_file(archive) as outer, open_member(archive, place, outer, archives) as content:
                yield content
            return
    with open_file(path) as content:
        yield content
