"""The members of an archive: as the listing finds them, and as a table in which workers look them up.

Comes in: `Member`s. Goes out: `MemberTable`, a sorted array on disk that processes map, 41 bytes a member whatever its
name. Refuses nothing.
"""

import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.errors import RejectReason

# More are a trap: listing them would fill the memory. A PACS that exports a million files makes many archives.
MAX_MEMBERS: Final = 1_000_000
_ENTRY: Final = np.dtype(
    [("high", "<u8"), ("low", "<u8"), ("offset", "<i8"), ("packed", "<i8"), ("size", "<i8"), ("crc32", "<i8")]
)
_MAPPED_BYTES = 1 << 16


class Packing(IntEnum):
    """How the bytes of a member lie in the archive."""

    STORED = 0
    DEFLATED = 8


NO_CRC32: Final = -1
_PACKED_FLAG: Final = 1 << 62
"""Added to the packed size of deflated members."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A member that is a file. `offset` is that of its data, in a zip archive of its local header."""

    name: str
    offset: int
    packed_bytes: int
    size_bytes: int
    packing: Packing = Packing.STORED
    crc32: int = NO_CRC32
    version: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusableMember:
    """A member that is no file to read; `detail` holds no name."""

    name: str
    reason: RejectReason
    detail: str


class MemberTable:
    """Where the members of an archive lie, by what follows the archive in their path (`!/name`)."""

    def __init__(self, entries: NDArray[np.void]) -> None:
        self._entries = entries
        self._high = entries["high"]

    @classmethod
    def of(cls, members: Iterable[tuple[str, Member]]) -> "MemberTable":
        """A table of members with their places."""
        rows = [
            (
                *_digest(place),
                member.offset,
                member.packed_bytes | (_PACKED_FLAG if member.packing is Packing.DEFLATED else 0),
                member.size_bytes,
                member.crc32,
            )
            for place, member in members
        ]
        entries = np.array(rows, _ENTRY)
        return cls(entries[np.argsort(entries["high"], kind="stable")])

    @classmethod
    def load(cls, path: Path) -> "MemberTable | None":
        """The table that `save` wrote; None where there is none."""
        try:
            large = path.stat().st_size > _MAPPED_BYTES
            entries = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
        except (FileNotFoundError, ValueError):
            return None
        return cls(entries) if entries.dtype == _ENTRY else None

    def save(self, path: Path) -> None:
        """Write the table, readable by its owner only."""
        content = io.BytesIO()
        np.save(content, self._entries, allow_pickle=False)
        atomic.write_file(path, content.getvalue(), mode=0o600)

    def find(self, place: str) -> Member | None:
        """The member at a place, without its name."""
        high, low = _digest(place)
        index = int(np.searchsorted(self._high, np.uint64(high)))
        while index < len(self._entries) and int(self._high[index]) == high:
            _, here, offset, packed, size, crc32 = cast("tuple[int, ...]", self._entries[index].item())
            if here == low:
                deflated = bool(packed & _PACKED_FLAG)
                return Member(
                    name="",
                    offset=offset,
                    packed_bytes=packed & ~_PACKED_FLAG,
                    size_bytes=size,
                    packing=Packing.DEFLATED if deflated else Packing.STORED,
                    crc32=crc32,
                )
            index += 1
        return None


def _digest(place: str) -> tuple[int, int]:
    digest = hashlib.blake2b(os.fsencode(place), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
