"""Cuts an encoded dataset into raw elements, without interpreting a value.

Comes in: a `ByteSource`, a position and an `Encoding`. Goes out: a `Scan`: pydicom's raw elements, what was found of
the pixel data, and the damage that ended the scan early, if any. Refuses nothing: what comes before a damage is kept.

pydicom's own reader is not used here for three reasons. It keeps every attribute, where the header stage may look at
allow-listed ones only; it recurses, allocates and raises whatever the bytes say, where a fuzzed file must neither hang
nor escape; and it takes 2.5 times as long. Values are converted by pydicom at access, from the same raw elements.
"""

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from radio_io.dicom.source import MAX_STEPS, ByteSource

UNDEFINED: Final = 0xFFFFFFFF
PIXEL_DATA: Final = 0x7FE00010
# Source: DICOM PS3.3 C.7.6.3: FloatPixelData, DoubleFloatPixelData, PixelData.
PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD

# Real headers nest about six levels deep.
MAX_DEPTH: Final = 64
# Kept values of the header stage; a longer one is not what its attribute is for.
MAX_HEADER_VALUE_BYTES: Final = 1 << 20

# Source: DICOM PS3.5 section 7.1.2: VRs with a 16-bit length, and those with two reserved bytes and a 32-bit length.
_SHORT: Final = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG: Final = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
SHORT_VRS: Final = {vr.encode(): vr for vr in _SHORT.split()}
LONG_VRS: Final = {vr.encode(): vr for vr in _LONG.split()}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the elements of a dataset are written."""

    implicit: bool
    little: bool


IMPLICIT_LITTLE: Final = Encoding(implicit=True, little=True)
EXPLICIT_LITTLE: Final = Encoding(implicit=False, little=True)
EXPLICIT_BIG: Final = Encoding(implicit=False, little=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelElement:
    """What was found of the pixel data: its tag and VR, the length it claims, and where its value begins."""

    tag: int
    vr: str | None
    length: int
    start: int


@dataclass(kw_only=True, slots=True)
class Scan:
    """The outcome; `damage` says in technical words why the scan ended before the end of the dataset."""

    elements: dict[BaseTag, RawDataElement] = field(default_factory=dict[BaseTag, RawDataElement])
    pixels: PixelElement | None = None
    damage: str | None = None


class DamageError(Exception):
    """The bytes contradict the encoding; ends a scan, never leaves this package."""


class _Heads:
    """Reads the head of an element: (tag, VR or None, length, position of the value relative to the head)."""

    __slots__ = ("_explicit", "_implicit", "_length", "_short", "tag_and_length")

    def __init__(self, encoding: Encoding) -> None:
        order = "<" if encoding.little else ">"
        self._implicit = encoding.implicit
        self._short = Struct(order + "HH2sH").unpack_from
        self._length = Struct(order + "L").unpack_from
        self.tag_and_length = Struct(order + "HHL").unpack_from

    def read(self, buffer: bytes, index: int) -> tuple[int, str | None, int, int]:
        """The head at `index`; the buffer must hold 12 bytes from there, or all there is."""
        if self._implicit:
            group, element, length = self.tag_and_length(buffer, index)
            return group << 16 | element, None, length, 8
        group, element, vr, length = self._short(buffer, index)
        tag = group << 16 | element
        if group == 0xFFFE:  # items and delimiters have no VR
            return tag, None, self._length(buffer, index + 4)[0], 8
        name = SHORT_VRS.get(vr)
        if name is not None:
            return tag, name, length, 8
        name = LONG_VRS.get(vr)
        if name is not None:
            if len(buffer) < index + 12:
                raise DamageError(f"ends in the head of element {tag_name(tag)}")
            return tag, name, self._length(buffer, index + 8)[0], 12
        if not (b"AA" <= vr <= b"ZZ"):  # some writers switch to implicit encoding inside an explicit dataset
            return tag, None, self._length(buffer, index + 4)[0], 8
        return tag, None, length, 8


_HEADS: Final = {encoding: _Heads(encoding) for encoding in (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG)}


def tag_name(tag: int) -> str:
    """The tag in the usual form, (gggg,eeee)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def read_head(source: ByteSource, position: int, encoding: Encoding) -> tuple[int, str | None, int, int] | None:
    """The head of the element at `position`: tag, VR, length and position of its value; None at the end.

    Raises:
        DamageError: the end comes within the head.
    """
    index = source.load(position, min(12, max(source.size - position, 0)))
    available = len(source.buffer) - index
    if available < 8:
        if available > 0:
            raise DamageError(f"{available} stray bytes at the end")
        return None
    tag, vr, length, skip = _HEADS[encoding].read(source.buffer, index)
    return tag, vr, length, position + skip


def scan(
    source: ByteSource,
    position: int,
    encoding: Encoding,
    *,
    wanted: dict[int, BaseTag] | None = None,
) -> Scan:
    """The elements from `position` to the pixel data or the end of the source.

    `wanted` maps the tags to keep to themselves (None keeps all); values of other elements are not looked at.
    """
    result = Scan()
    try:
        _scan_into(result, source, position, encoding, wanted)
    except DamageError as error:
        result.damage = str(error)
    return result


def _scan_into(
    result: Scan, source: ByteSource, position: int, encoding: Encoding, wanted: dict[int, BaseTag] | None
) -> None:
    elements, little = result.elements, encoding.little
    read, size = _HEADS[encoding].read, source.size
    while source.steps_left > 0:
        source.steps_left -= 1
        index = position - source.start
        if not 0 <= index <= len(source.buffer) - 12:
            index = source.load(position, min(12, max(size - position, 0)))
            if not _has_head(source, index):
                return
        tag, vr, length, skip = read(source.buffer, index)
        start = position + skip
        if tag in PIXEL_TAGS:
            result.pixels = PixelElement(tag=tag, vr=vr, length=length, start=start)
            return
        kept = BaseTag(tag) if wanted is None else wanted.get(tag)
        if length == UNDEFINED:
            end, position = end_of_items(source, start, encoding)
            if kept is not None and end - start <= MAX_HEADER_VALUE_BYTES:
                elements[kept] = _undefined_element(kept, vr, source.take(start, end - start), start, encoding)
            continue
        position = start + length
        if position > size:
            raise DamageError(f"element {tag_name(tag)} claims {length} bytes, {size - start} are left")
        if tag == 0 or tag == ITEM_END:
            raise DamageError(f"stray {tag_name(tag)}")
        if kept is not None and (wanted is None or length <= MAX_HEADER_VALUE_BYTES):
            elements[kept] = RawDataElement(kept, vr, length, source.take(start, length), start, vr is None, little)
    raise DamageError(f"more than {MAX_STEPS} elements and items")


def _has_head(source: ByteSource, index: int) -> bool:
    """Whether an element begins at `index` of the buffer; the end of the dataset is at 0 bytes left."""
    available = len(source.buffer) - index
    if 0 < available < 8:
        raise DamageError(f"{available} stray bytes at the end")
    return available > 0


def _undefined_element(tag: BaseTag, vr: str | None, value: bytes, start: int, encoding: Encoding) -> RawDataElement:
    """A raw sequence of known length: the delimiter is cut off.

    Source: DICOM PS3.5 section 6.2.2: UN of undefined length is a sequence in implicit VR little endian.
    """
    implicit, little = encoding.implicit, encoding.little
    if vr == "UN" and value[12:14] not in SHORT_VRS and value[12:14] not in LONG_VRS:
        implicit, little = True, True
    return RawDataElement(tag, "SQ", len(value), value, start, implicit, little)


def end_of_items(source: ByteSource, position: int, encoding: Encoding, *, in_item: bool = False) -> tuple[int, int]:
    """Where the items of an element of undefined length end, and where the next element begins.

    With `in_item`, `position` is inside an item of undefined length and the end is that of the item. Works without
    recursion: `inside` says for each open level whether elements or items are expected.

    Raises:
        DamageError: no delimiter before the end, something else than an item, or nested too deep.
    """
    inside = [in_item]
    while source.steps_left > 0:
        source.steps_left -= 1
        tag, length, start = _inner_head(source, position, encoding)
        here = position
        if inside[-1]:
            position = _step_in_dataset(inside, tag, length, start, position)
        elif tag == SEQUENCE_END:
            inside.pop()
            position = start
        elif tag == ITEM:
            if length == UNDEFINED:
                inside.append(True)
            position = start if length == UNDEFINED else start + length
        else:
            raise DamageError(f"{tag_name(tag)} where an item of a sequence was expected")
        if not inside:
            return here, position
        if len(inside) > MAX_DEPTH:
            raise DamageError(f"sequences nested deeper than {MAX_DEPTH} levels")
    raise DamageError(f"more than {MAX_STEPS} elements and items")


def _inner_head(source: ByteSource, position: int, encoding: Encoding) -> tuple[int, int, int]:
    head = read_head(source, position, encoding)
    if head is None:
        raise DamageError("ends within a sequence of undefined length")
    tag, _, length, start = head
    return tag, length, start


def _step_in_dataset(inside: list[bool], tag: int, length: int, start: int, position: int) -> int:
    """Go past one element of an item of undefined length; returns the next position."""
    if tag == ITEM_END:
        inside.pop()
        return start
    if tag == SEQUENCE_END:
        # The item's delimiter is missing: the sequence's own one closes both.
        inside.pop()
        return position
    if length == UNDEFINED:
        inside.append(False)
        return start
    return start + length
