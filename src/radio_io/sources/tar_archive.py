"""The members of a tar archive, header by header.

Comes in: the `Content` of an uncompressed archive. Goes out: `Member`s and `UnusableMember`s in their order. Refuses
(at the place, after what came before) what is damaged or ends without the mark of the end.

Written on top of `tarfile.TarInfo`, not of `tarfile.TarFile`: that takes a damaged header for the end of the archive
and keeps every member. Source: POSIX.1-2017 pax, sections "ustar Interchange Format" and "pax Extended Header"; the GNU
tar manual for long names.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.sources.content import Content
from radio_io.sources.members import MAX_MEMBERS, Member, UnusableMember

_BLOCK: Final = tarfile.BLOCKSIZE
# Extended headers hold a name and some numbers; more is made to fill the memory.
_MAX_EXTENSION_BYTES: Final = 1 << 20
_READ_AHEAD: Final = 64 << 10
# Behind its end an archive is filled up with zeros, by tar to 10 KiB, by tape writers to 1 MiB.
_PADDING_BYTES: Final = 1 << 20
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_EXTENSIONS: Final = frozenset({_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL, b"X", b"V"})
_REGULAR: Final = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})


@dataclass(kw_only=True, slots=True)
class _Extension:
    """What extended headers say about the next member."""

    name: bytes | None = None
    records: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])

    def add(self, kind: bytes, data: bytes) -> None:
        if kind == _LONG_NAME:
            self.name = data.rstrip(b"\0")
        elif kind == _PAX:
            self.records |= _pax_records(data)


def list_tar(content: Content) -> Iterator[Member | UnusableMember]:
    """Every member that is no folder.

    Raises:
        ImageRejectedError: BAD_ARCHIVE, where it breaks off.
    """
    headers = _Headers(content)
    extension, position, count = _Extension(), 0, 0
    while (header := headers.at(position)) is not None:
        data_at = position + _BLOCK
        size = _size(header, extension)
        if size < 0 or data_at + size > content.size:
            raise _bad("the archive ends inside a member")
        if header.type in _EXTENSIONS:
            if header.type in {_LONG_NAME, _PAX}:
                extension.add(header.type, _extension_data(content, data_at, size))
        else:
            count += 1
            if count > MAX_MEMBERS:
                raise _bad(f"more than {MAX_MEMBERS} members")
            member = _member(header, extension, data_at, size)
            if member is not None:
                yield member
            extension = _Extension()
        position = data_at + (-(-size // _BLOCK) * _BLOCK if _has_data(header) else 0)
    if any(content.read(position, min(content.size - position, _PADDING_BYTES))):
        raise _bad("a second archive behind the end of the first: only the first is read")


class _Headers:
    """Headers at growing positions, read ahead where members are small."""

    def __init__(self, content: Content) -> None:
        self._content, self._start, self._ahead, self._last = content, 0, b"", -_READ_AHEAD

    def at(self, position: int) -> tarfile.TarInfo | None:
        """The header at a position; None at the mark of the end."""
        if position + _BLOCK > self._content.size:
            raise _bad("the archive ends without the mark of its end: cut")
        index = position - self._start
        if not 0 <= index <= len(self._ahead) - _BLOCK:
            wanted = _READ_AHEAD if position - self._last < _READ_AHEAD else _BLOCK
            self._ahead = self._content.read(position, min(wanted, self._content.size - position))
            self._start, index = position, 0
        self._last = position
        try:
            return tarfile.TarInfo.frombuf(self._ahead[index : index + _BLOCK], "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # pyright: ignore[reportAttributeAccessIssue] - typeshed leaves it out
            return None
        except tarfile.HeaderError:
            raise _bad("a header of the archive is damaged" if position else "no tar archive") from None


def _size(header: tarfile.TarInfo, extension: _Extension) -> int:
    """The bytes behind a header; -1 where an extended header gives none that can be meant."""
    if not _has_data(header):
        return 0
    stated = extension.records.get(b"size")
    if stated is None or header.type in _EXTENSIONS:
        return header.size
    return int(stated) if stated.isdigit() and len(stated) < 19 else -1


def _has_data(header: tarfile.TarInfo) -> bool:
    """Links, devices and folders have none, whatever their size field says."""
    return header.type not in {
        tarfile.LNKTYPE,
        tarfile.SYMTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
    } and (header.type != tarfile.DIRTYPE)


def _extension_data(content: Content, position: int, size: int) -> bytes:
    if size > _MAX_EXTENSION_BYTES:
        raise _bad(f"an extended header of {size} bytes, at most {_MAX_EXTENSION_BYTES} are read")
    return content.read(position, size)


def _member(header: tarfile.TarInfo, extension: _Extension, data_at: int, size: int) -> Member | UnusableMember | None:
    long_name = extension.records.get(b"path") or extension.name
    name = os.fsdecode(long_name) if long_name is not None else header.name
    if header.type == tarfile.DIRTYPE or (header.type in _REGULAR and name.endswith("/")):
        return None
    if header.type not in _REGULAR:
        detail = "a link, device or sparse file in an archive, expected a regular file"
        return UnusableMember(name=name, reason=RejectReason.UNREADABLE, detail=detail)
    if any(key.startswith(b"GNU.sparse.") for key in extension.records):
        return UnusableMember(name=name, reason=RejectReason.UNREADABLE, detail="a sparse file in an archive")
    changed_ns = min(max(int(header.mtime), 0), 1 << 33) * 1_000_000_000
    return Member(name=name, offset=data_at, packed_bytes=size, size_bytes=size, version=changed_ns)


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    """`length key=value` lines, as far as they can be read."""
    records: dict[bytes, bytes] = {}
    position = 0
    while position < len(data):
        digits, _, _ = data[position : position + 20].partition(b" ")
        if not digits.isdigit() or int(digits) <= len(digits) + 1:
            break
        line = data[position + len(digits) + 1 : position + int(digits) - 1]
        key, _, value = line.partition(b"=")
        records[key] = value
        position += int(digits)
    return records


def _bad(detail: str) -> ImageRejectedError:
    return ImageRejectedError(RejectReason.BAD_ARCHIVE, detail)
