"""What looking for files gives: files to read, paths that are none, and archives that were listed to their end.

Comes in: nothing. Goes out: the types that the walk, the listing of archives and the scan share. Refuses nothing.
"""

from dataclasses import dataclass

from radio_io.errors import RejectReason


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFile:
    """A regular file (links are followed), or a member of an archive, as it was found.

    Of a member, `modified_ns` is whatever tells one version of it from another: its CRC-32 in a zip archive, its time
    of change in a tar archive.
    """

    path: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusablePath:
    """A path that is no file to read; `detail` holds no path."""

    path: str
    reason: RejectReason
    detail: str
    size_bytes: int = 0
    modified_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedArchive:
    """An archive all of whose members were found before this: no file by itself."""

    path: str
    size_bytes: int
    modified_ns: int


Found = FoundFile | UnusablePath | ListedArchive
