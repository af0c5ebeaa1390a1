"""How a dataset is encoded: what the transfer syntax says, and what the bytes say.

Comes in: a `ByteSource`, the dataset's position and the label, if there is one. Goes out: `Syntax`. Refuses nothing
itself: it returns None where the bytes fit no encoding or more than one.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from struct import error as StructError  # noqa: N812 - an exception class under a lower-case name
from typing import Final

from pydicom.uid import UID

from radio_io.dicom.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PIXEL_TAGS,
    UNDEFINED,
    DamageError,
    Encoding,
    read_head,
)
from radio_io.dicom.source import ByteSource

IMPLICIT_UID: Final = "1.2.840.10008.1.2"
EXPLICIT_UID: Final = "1.2.840.10008.1.2.1"
DEFLATED_UID: Final = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN_UID: Final = "1.2.840.10008.1.2.2"
# Source: DICOM PS3.6 table A-1: syntaxes whose codestreams cannot be lossless, or were not made so.
LOSSY_UIDS: Final = frozenset(
    {
        "1.2.840.10008.1.2.4.50",  # JPEG baseline
        "1.2.840.10008.1.2.4.51",  # JPEG extended
        "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
        "1.2.840.10008.1.2.4.91",  # JPEG 2000
        "1.2.840.10008.1.2.4.93",  # JPEG 2000 part 2
        "1.2.840.10008.1.2.4.111",  # JPEG XL recompression of JPEG
        "1.2.840.10008.1.2.4.112",  # JPEG XL
        "1.2.840.10008.1.2.4.203",  # HTJ2K
    }
)
_LOSSY_FAMILIES: Final = ("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.4.95")  # MPEG, HEVC video; JPIP

# A dataset is recognised by its first elements; ten are far more evidence than any random bytes give.
_EVIDENCE: Final = 10
_ENOUGH: Final = 3
# How far into the dataset they are looked for: the same however much of the file is in memory, and one window at most.
_EVIDENCE_BYTES: Final = 16 * 1024
_LAST_FIRST_GROUP: Final = 0x0028
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+")


class SyntaxSource(StrEnum):
    """Where the encoding of a file is known from."""

    META = "meta"
    """The file's label, which fits the bytes or is not contradicted by them."""
    SNIFFED = "sniffed"
    """The file has no label; only one encoding fits the bytes."""
    CORRECTED = "corrected"
    """The label contradicts the bytes, which fit another encoding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Syntax:
    """The encoding of a dataset, and the transfer syntax that says so."""

    uid: str
    encoding: Encoding
    source: SyntaxSource

    @property
    def deflated(self) -> bool:
        """Whether the dataset is compressed as a whole."""
        return self.uid == DEFLATED_UID


_NATIVE: Final = {IMPLICIT_LITTLE: IMPLICIT_UID, EXPLICIT_LITTLE: EXPLICIT_UID, EXPLICIT_BIG: BIG_ENDIAN_UID}
_ENCODINGS: Final = {uid: encoding for encoding, uid in _NATIVE.items()}


def usable_uid(label: bytes | None) -> str | None:
    """The label as a UID of at most 64 characters, or None where it is absent or cannot be one."""
    text = (label or b"").strip(b" \0\t\r\n").decode("ascii", "replace")
    return text if len(text) <= 64 and _UID.fullmatch(text) else None


def is_known_syntax(uid: str) -> bool:
    """Whether the standard registers `uid` as a transfer syntax."""
    return UID(uid).type == "Transfer Syntax"


def is_lossy_syntax(uid: str) -> bool:
    """Whether pixels under this transfer syntax have to be taken for lossy."""
    return uid in LOSSY_UIDS or uid.startswith(_LOSSY_FAMILIES)


def settle_syntax(source: ByteSource, position: int, label: str | None) -> Syntax | None:
    """The encoding of the dataset at `position`; None where there is no label and the bytes do not decide.

    A label that the bytes do not contradict is believed, and so is one whose bytes fit nothing at all.
    """
    fitting = [encoding for encoding in _NATIVE if fits(source, position, encoding)]
    if label is None:
        if len(fitting) != 1:
            return None
        return Syntax(uid=_NATIVE[fitting[0]], encoding=fitting[0], source=SyntaxSource.SNIFFED)
    labelled = _ENCODINGS.get(label, EXPLICIT_LITTLE)
    if label == DEFLATED_UID and not fitting:
        return Syntax(uid=label, encoding=labelled, source=SyntaxSource.META)
    if len(fitting) == 1 and (fitting[0] != labelled or label == DEFLATED_UID):
        # Where a compressed syntax is claimed the pixels may still be what it says; only the dataset is not.
        uid = label if label not in _ENCODINGS and label != DEFLATED_UID else _NATIVE[fitting[0]]
        return Syntax(uid=uid, encoding=fitting[0], source=SyntaxSource.CORRECTED)
    return Syntax(uid=label, encoding=labelled, source=SyntaxSource.META)


def fits(source: ByteSource, position: int, encoding: Encoding) -> bool:
    """Whether the first elements at `position` make sense in `encoding`: tags ascend, VRs exist, lengths fit.

    Stops early, with less evidence, behind a large element.
    """
    before, limit = -1, position + _EVIDENCE_BYTES
    for count in range(_EVIDENCE):
        try:
            head = read_head(source, position, encoding)
        except (DamageError, StructError):
            return count >= _ENOUGH
        if head is None:
            return count > 0
        tag, vr, length, start = head
        if tag in PIXEL_TAGS:
            return True
        if not _is_sensible(tag, vr, before, encoding, first=count == 0):
            return False
        if length == UNDEFINED:
            return vr in {None, "SQ", "UN"}
        if start + length > source.size:
            return False
        before, position = tag, start + length
        if position > limit:
            return count + 1 >= _ENOUGH or not encoding.implicit
    return True


def _is_sensible(tag: int, vr: str | None, before: int, encoding: Encoding, *, first: bool) -> bool:
    """Whether an element can follow `before` at the beginning of a dataset."""
    group = tag >> 16
    if tag <= before or group == 0xFFFE or (first and not 0 < group <= _LAST_FIRST_GROUP):
        return False
    return encoding.implicit or vr is not None
