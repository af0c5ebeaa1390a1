"""Archives as folders: their members are found and read in place.

Comes in: the path of an archive or of a member, and the folder where tables of members are kept. Goes out: what was
found in an archive, and the `Content` of a member. Refuses archives that are damaged, split or beyond the limits.

An archive is listed once, by the scan; workers find members in the table that this leaves, whatever their order. The
table goes by path, size and time of change of the archive, so that a changed one is listed again.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

from radio_io import atomic
from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.sources.archive_names import SEQUENTIAL, ArchiveFormat, archive_format, member_path, possible_members
from radio_io.sources.content import Content, open_file
from radio_io.sources.found import Found, FoundFile, ListedArchive, UnusablePath
from radio_io.sources.inflate import DeflatedContent
from radio_io.sources.member_content import StoredContent
from radio_io.sources.members import NO_CRC32, Member, MemberTable, Packing, UnusableMember
from radio_io.sources.spool import is_damaged, remove_spooled, spooled
from radio_io.sources.tar_archive import list_tar
from radio_io.sources.whole import open_whole
from radio_io.sources.zip_archive import data_offset, list_zip

SPOOL_NAME: Final = "spool"
_OPEN_TABLES: Final = 64


def find_members(path: str, content: Content, folder: Path) -> Iterator[Found]:
    """Everything in an archive, in the order of the names' bytes, and at last the archive itself.

    What was found before an archive breaks off is given too; the archive then is an `UnusablePath`.

    Raises:
        ImageRejectedError: The file system fails; the archive may be listed again later.
    """
    listed, failure = _list(path, content, folder)
    for place in sorted(listed, key=os.fsencode):
        member = listed[place]
        if isinstance(member, UnusableMember):
            yield UnusablePath(path=path + place, reason=member.reason, detail=member.detail)
        elif archive_format(member.name) is not None:
            detail = "an archive inside an archive: unpack the outer one"
            yield UnusablePath(path=path + place, reason=RejectReason.BAD_ARCHIVE, detail=detail)
        else:
            yield FoundFile(path=path + place, size_bytes=member.size_bytes, modified_ns=member.version)
    size, changed = content.size, content.modified_ns
    if failure is None:
        yield ListedArchive(path=path, size_bytes=size, modified_ns=changed)
    else:
        yield UnusablePath(
            path=path, reason=failure.reason, detail=failure.detail, size_bytes=size, modified_ns=changed
        )


def unpack_compressed(paths: Iterable[str], folder: Path) -> None:
    """Unpack the compressed tar archives among whose members `paths` are, so that no file's time limit has to.

    What cannot be unpacked is left for the files to say.

    Raises:
        StorageError: The private folder cannot be written.
    """
    tried: set[str] = set()
    for path in paths:
        for archive, _ in possible_members(path):
            if archive_format(archive) not in SEQUENTIAL or archive in tried:
                continue
            tried.add(archive)
            with suppress(ImageRejectedError), open_whole(archive) as content:
                _list(archive, content, folder)


def remove_unpacked(folder: Path) -> None:
    """Remove what was unpacked; nobody may be reading it."""
    remove_spooled(folder / SPOOL_NAME)


@contextmanager
def open_member(archive: str, place: str, content: Content, folder: Path) -> Generator[Content, None, None]:
    """The content of a member of an open archive.

    Raises:
        ImageRejectedError: VANISHED where the archive has no such member, EMPTY_FILE, or what listing it raises.
    """
    table_path = _table_path(folder, archive, content)
    table = _open_table(table_path)
    if table is None:
        _list(archive, content, folder)
        table = _open_table(table_path)
    member = table.find(place) if table is not None else None
    if member is None:
        raise ImageRejectedError(RejectReason.VANISHED, "the archive has no such member any more")
    if member.size_bytes == 0:
        raise ImageRejectedError(RejectReason.EMPTY_FILE, "0 bytes")
    form = archive_format(archive)
    if form is not None and form in SEQUENTIAL:
        with open_file(spooled(content, form, _spool_path(table_path))) as unpacked:
            yield StoredContent(unpacked, member.offset, member.size_bytes)
    else:
        yield _content(content, member, is_zip=form is ArchiveFormat.ZIP)


def _content(content: Content, member: Member, *, is_zip: bool) -> Content:
    offset = data_offset(content, member.offset) if is_zip else member.offset
    if offset + member.packed_bytes > content.size:
        raise ImageRejectedError(RejectReason.BAD_ARCHIVE, "the archive ends inside the member")
    crc32 = None if member.crc32 == NO_CRC32 else member.crc32
    if member.packing is Packing.STORED:
        return StoredContent(content, offset, member.size_bytes, crc32)
    packed = StoredContent(content, offset, member.packed_bytes)
    return DeflatedContent(packed, size=member.size_bytes, crc32=crc32 or 0)


def _list(
    path: str, content: Content, folder: Path
) -> tuple[dict[str, Member | UnusableMember], ImageRejectedError | None]:
    """The members by their place, and what ended the listing early; leaves the table."""
    table_path = _table_path(folder, path, content)
    listed: dict[str, Member | UnusableMember] = {}
    seen: Counter[str] = Counter()
    failure: ImageRejectedError | None = None
    try:
        for member in _members(path, content, table_path):
            seen[member.name] += 1
            listed[member_path("", member.name, seen[member.name])] = member
        content.require_unchanged()
    except ImageRejectedError as error:
        if error.reason not in (RejectReason.BAD_ARCHIVE, RejectReason.DECOMPRESSION_BOMB):
            raise
        failure = error
    usable = ((place, member) for place, member in listed.items() if isinstance(member, Member))
    atomic.make_folder(folder, mode=0o700)
    MemberTable.of(usable).save(table_path)
    return listed, failure


def _members(path: str, content: Content, table_path: Path) -> Iterator[Member | UnusableMember]:
    form = archive_format(path)
    assert form is not None, "only archives are listed"
    if form is ArchiveFormat.ZIP:
        yield from list_zip(content)
    elif form is ArchiveFormat.TAR:
        yield from list_tar(content)
    else:
        unpacked = spooled(content, form, _spool_path(table_path))
        damaged = is_damaged(unpacked)
        try:
            with open_file(unpacked) as plain:
                yield from list_tar(plain)
        except ImageRejectedError:
            if not damaged:
                raise
        if damaged:
            raise ImageRejectedError(RejectReason.BAD_ARCHIVE, "the compressed data is damaged or ends early")


def _table_path(folder: Path, archive: str, content: Content) -> Path:
    identity = os.fsencode(f"{content.size} {content.modified_ns} {archive}")
    return folder / f"{hashlib.blake2b(identity, digest_size=16).hexdigest()}.npy"


def _spool_path(table_path: Path) -> Path:
    return table_path.parent / SPOOL_NAME / f"{table_path.stem}.tar"


@lru_cache(maxsize=_OPEN_TABLES)
def _cached_table(path: Path) -> MemberTable:
    table = MemberTable.load(path)
    if table is None:
        raise FileNotFoundError
    return table


def _open_table(path: Path) -> MemberTable | None:
    try:
        return _cached_table(path)
    except FileNotFoundError:
        return None
