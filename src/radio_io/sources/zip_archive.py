"""The members of a zip archive, from its central directory.

Comes in: the `Content` of an archive. Goes out: `Member`s and `UnusableMember`s in the order of the directory, and the
content of one. Refuses what has no directory or is split; encrypted members and unusual packings cost that member only.

Written here and not taken from `zipfile` for three reasons: names stay bytes, memory stays bounded, and a directory
that lies about sizes is refused before anything is allocated. Source: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.
"""

import os
import stat
import struct
from collections.abc import Iterator
from typing import Final

from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.sources.content import Content
from radio_io.sources.members import MAX_MEMBERS, Member, Packing, UnusableMember

_END: Final = struct.Struct("<4sHHHHLLH")
_LOCATOR_BYTES: Final = 20
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_FULL_32: Final = 0xFFFFFFFF
_LONGEST_COMMENT: Final = 0xFFFF
MAX_DIRECTORY_BYTES: Final = 512 << 20
_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_MADE_ON_UNIX: Final = 3
_ZIP64_EXTRA: Final = 0x0001


def list_zip(content: Content) -> Iterator[Member | UnusableMember]:
    """Every member that is no folder.

    Raises:
        ImageRejectedError: BAD_ARCHIVE.
    """
    count, start, size, shift = _find_directory(content)
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise _bad(f"{count} members, at most {MAX_MEMBERS} are read")
    directory = content.read(start, size)
    position = 0
    for _ in range(count):
        if position + _ENTRY.size > size or directory[position : position + 4] != b"PK\1\2":
            raise _bad("the directory of the archive is damaged")
        fields = _ENTRY.unpack_from(directory, position)
        name_at = position + _ENTRY.size
        extra_at = name_at + fields[10]
        position = extra_at + fields[11] + fields[12]
        if position > size:
            raise _bad("the directory of the archive is damaged")
        name = directory[name_at:extra_at]
        if not name.endswith(b"/"):
            yield _member(os.fsdecode(name), fields, directory[extra_at : extra_at + fields[11]], shift, start)


def data_offset(content: Content, header_offset: int) -> int:
    """Where the data of a member begins behind its local header.

    Raises:
        ImageRejectedError: BAD_ARCHIVE.
    """
    if header_offset + _LOCAL.size > content.size:
        raise _bad("the member lies outside the archive")
    fields = _LOCAL.unpack(content.read(header_offset, _LOCAL.size))
    if fields[0] != b"PK\3\4":
        raise _bad("the member is not where the directory says")
    return header_offset + _LOCAL.size + fields[9] + fields[10]


def _find_directory(content: Content) -> tuple[int, int, int, int]:
    """Number of members, offset and size of the directory, and what lies before the archive."""
    tail_size = min(content.size, _END.size + _LONGEST_COMMENT)
    tail_at = content.size - tail_size
    tail = content.read(tail_at, tail_size)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or found + _END.size > len(tail):
        raise _bad("no end of a zip directory: cut, or no zip archive")
    _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(tail, found)
    end_at = tail_at + found
    zip64 = _find_directory64(content, end_at)
    if zip64 is not None:
        end_at, disk, first_disk, count, size, offset = zip64
    shift = end_at - size - offset
    if disk or first_disk:
        raise _bad("one part of an archive in several files")
    if shift < 0:
        raise _bad("the directory of the archive lies outside of it: cut at its beginning")
    return count, offset + shift, size, shift


def _find_directory64(content: Content, end_at: int) -> tuple[int, int, int, int, int, int] | None:
    locator_at = end_at - _LOCATOR_BYTES
    if locator_at < 0:
        return None
    if content.read(locator_at, 4) != b"PK\6\7":
        return None
    at = locator_at - _END64.size  # wherever the locator says: what lies before the archive shifts it
    if at < 0:
        return None
    fields = _END64.unpack(content.read(at, _END64.size))
    if fields[0] != b"PK\6\6":
        raise _bad("the directory of the archive is damaged")
    return at, fields[4], fields[5], fields[7], fields[8], fields[9]


def _member(name: str, fields: tuple[int, ...], extra: bytes, shift: int, directory_at: int) -> Member | UnusableMember:
    made_by, flags, method = fields[1], fields[3], fields[4]
    crc32, packed, size, offset = fields[7], fields[8], fields[9], fields[16]
    kind = stat.S_IFMT(fields[15] >> 16) if made_by >> 8 == _MADE_ON_UNIX else 0
    if kind not in (0, stat.S_IFREG):
        detail = "a link or device in an archive, expected a regular file"
        return UnusableMember(name=name, reason=RejectReason.UNREADABLE, detail=detail)
    if flags & _ENCRYPTED:
        return _unusable(name, "encrypted: unpack it with its password")
    if method not in (Packing.STORED, Packing.DEFLATED):
        return _unusable(name, f"packed by method {method}; stored and deflated members are read")
    size, packed, offset = _with_zip64(extra, size, packed, offset)
    if size < 0 or offset + shift + packed > directory_at or (method == Packing.STORED and size != packed):
        return _unusable(name, "the sizes of the member contradict each other")
    return Member(
        name=name,
        offset=offset + shift,
        packed_bytes=packed,
        size_bytes=size,
        packing=Packing(method),
        crc32=crc32,
        version=crc32,
    )


def _with_zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The three values, those that do not fit into 32 bits from the extra field; -1 for a size that is not there."""
    values = [size, packed, offset]
    if _FULL_32 not in values:
        return size, packed, offset
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, position)
        if tag == _ZIP64_EXTRA:
            field = extra[position + 4 : position + 4 + length]
            wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            values = [next(wide, -1) if value == _FULL_32 else value for value in values]
            return (-1, 0, 0) if -1 in values else (values[0], values[1], values[2])
        position += 4 + length
    return size, packed, offset


def _unusable(name: str, detail: str) -> UnusableMember:
    return UnusableMember(name=name, reason=RejectReason.BAD_ARCHIVE, detail=detail)


def _bad(detail: str) -> ImageRejectedError:
    return ImageRejectedError(RejectReason.BAD_ARCHIVE, detail)
