"""Which files are archives, and the paths under which their members go.

Comes in: paths. Goes out: the format of an archive by its name; `archive.zip!/name` for a member, `archive.zip!2/name`
for the second one of that name. Refuses nothing.

A regular file has nothing below it, so such a path cannot be that of an ordinary file as long as no folder beside the
archive is called `archive.zip!`; the walk refuses that folder. A member's name is a name only, never a place: `..` and
`/etc/x` are read from the archive like any other.
"""

import re
from collections.abc import Iterator
from enum import StrEnum

_MEMBER = re.compile(r"!([1-9][0-9]{0,8})?/")
_MARKED_FOLDER = re.compile(r"!([1-9][0-9]{0,8})?")


class ArchiveFormat(StrEnum):
    """How an archive is packed; those of `SEQUENTIAL` can only be read from their beginning on."""

    ZIP = "zip"
    TAR = "tar"
    TAR_GZ = "tar.gz"
    TAR_BZ2 = "tar.bz2"
    TAR_XZ = "tar.xz"


SEQUENTIAL = frozenset({ArchiveFormat.TAR_GZ, ArchiveFormat.TAR_BZ2, ArchiveFormat.TAR_XZ})
_SUFFIXES = {
    ".zip": ArchiveFormat.ZIP,
    ".tar": ArchiveFormat.TAR,
    ".tar.gz": ArchiveFormat.TAR_GZ,
    ".tgz": ArchiveFormat.TAR_GZ,
    ".tar.bz2": ArchiveFormat.TAR_BZ2,
    ".tbz2": ArchiveFormat.TAR_BZ2,
    ".tar.xz": ArchiveFormat.TAR_XZ,
    ".txz": ArchiveFormat.TAR_XZ,
}


def archive_format(path: str) -> ArchiveFormat | None:
    """The format that the name of a file claims, or None.

    Example:
        >>> archive_format("/export/2019.ZIP"), archive_format("a.dcm.gz")
        (<ArchiveFormat.ZIP: 'zip'>, None)
    """
    lowered = path[-8:].lower()
    return next((form for suffix, form in _SUFFIXES.items() if lowered.endswith(suffix)), None)


def member_path(archive: str, name: str, ordinal: int = 1) -> str:
    """The path of a member; `ordinal` counts the members of one name from 1.

    Example:
        >>> member_path("a.zip", "x/1.dcm"), member_path("a.zip", "/x", 2)
        ('a.zip!/x/1.dcm', 'a.zip!2//x')
    """
    return f"{archive}!{'' if ordinal == 1 else ordinal}/{name}"


def possible_members(path: str) -> Iterator[tuple[str, str]]:
    """Each way to read `path` as an archive and what follows it, the shortest archive first.

    Example:
        >>> list(possible_members("a.zip!/b.tar!/c")), list(possible_members("a!/b"))
        ([('a.zip', '!/b.tar!/c'), ('a.zip!/b.tar', '!/c')], [])
    """
    for mark in _MEMBER.finditer(path):
        archive = path[: mark.start()]
        if archive_format(archive) is not None:
            yield archive, path[mark.start() :]


def archive_beside(folder: str) -> str | None:
    """The archive whose members a folder of this name would be taken for.

    Example:
        >>> archive_beside("export/a.zip!"), archive_beside("export/a.zip")
        ('export/a.zip', None)
    """
    archive, mark, number = folder.rpartition("!")
    if mark and _MARKED_FOLDER.fullmatch(mark + number) and archive_format(archive) is not None:
        return archive
    return None
