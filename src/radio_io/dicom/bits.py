"""Which bits of a decoded cell are the stored value, when header, codestream and data may contradict each other.

Comes in: decoded cells and the header's claims. Goes out: `SettledBits`: true stored values, their number of bits
and sign, and who was believed. Refuses contradictions that the data cannot settle, rather than guess.

The rule: where every value fits what the header claims, the header is right. Where not, there are two readings:
keep the cells as they are (the header lies about BitsStored or the sign), or keep only the claimed bits (the rest
is an overlay or garbage). At each pair of neighbouring pixels where the two readings differ, the reading with the
smaller step gets a vote, if that step is small: a value that runs over 4095 goes on smoothly in the first reading
and falls to 0 in the second; a garbage bit jumps by 4096 in the first and changes nothing in the second.

Padding may lie outside the claimed bits (-2000 in 12 unsigned bits). It is no pixel of the image and has no vote.

Source: DICOM PS3.5 8.1.1 (BitsAllocated, BitsStored, HighBit; two's complement when PixelRepresentation is 1);
DICOM PS3.5 8.2.4 (the codestream's precision and sign are authoritative for JPEG 2000).
"""

from dataclasses import dataclass, replace
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from radio_io.dicom.padding import padding_range
from radio_io.dicom.pixel_header import PixelHeader
from radio_io.errors import ImageRejectedError, RejectReason

BitsSource = Literal["header", "codestream", "corrected"]
Pixels = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int8] | NDArray[np.int16] | NDArray[np.int32 | np.uint32]

CLEAR_MAJORITY: Final = 0.7
"""Share of the votes that settles a contradiction; real contradictions give 0.95 and more, noise about 0.5."""
OVERSHOOT: Final = 8
"""A lossy codec may exceed the claimed range by 1/8 of it by ringing; beyond that the header lies."""
_MAX_VOTERS: Final = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """Decoded cells: `[rows, columns]` integers of `bits` significant bits.

    `signed` is None where the encoding has no sign of its own (all but JPEG 2000); the cells are unsigned then.
    """

    values: NDArray[np.generic]
    bits: int
    signed: bool | None
    lossy: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SettledBits:
    """Stored values with the number of bits and the sign that they really have.

    `padded` is true where a cell holds a padding value that those bits cannot hold; the nearest that they can stands
    there instead. None where there is no such cell.
    """

    pixels: Pixels
    bits: int
    signed: bool
    source: BitsSource
    padded: NDArray[np.bool_] | None = None


def settle_bits(cells: Cells, header: PixelHeader) -> SettledBits:
    """Decides which bits of the cells are the stored value.

    Raises:
        ImageRejectedError: HEADER_CONTRADICTION where two readings are equally plausible.
    """
    bits, source = _claimed_bits(cells, header)
    cells, realigned = _align(cells, header, bits)
    source = "corrected" if realigned else source
    filled, padded = _without_padding(cells, header, bits)
    if padded is not None:
        settled = _decide(filled, header, bits, source)
        if settled.bits == bits:
            return replace(settled, padded=padded)
    return _decide(cells, header, bits, source)


def _decide(cells: Cells, header: PixelHeader, bits: int, source: BitsSource) -> SettledBits:
    """Believes the header where its claims fit, else what neighbours vote for."""
    kept = _as_signed(cells, header)
    low, high = _limits(kept)
    claimed_low, claimed_high = _claimed_range(header, bits)
    slack = (1 << bits) // OVERSHOOT if cells.lossy else 0
    if claimed_low - slack <= low and high <= claimed_high + slack:
        fitting = kept if claimed_low <= low and high <= claimed_high else np.clip(kept, claimed_low, claimed_high)
        return SettledBits(pixels=_compact(fitting, header.signed), bits=bits, signed=header.signed, source=source)
    masked = _mask(cells.values, bits, header.signed)
    if _overlays_explain(header, bits) or not _votes_to_keep(kept, masked, bits, header.signed):
        turned = cells.signed is not None and cells.signed != header.signed
        return SettledBits(
            pixels=_compact(masked, header.signed),
            bits=bits,
            signed=header.signed,
            source="corrected" if turned else source,
        )
    signed = low < 0 or (header.signed and cells.signed is None)
    return SettledBits(pixels=_compact(kept, signed), bits=cells.bits, signed=signed, source="corrected")


def _claimed_range(header: PixelHeader, bits: int) -> tuple[int, int]:
    """Least and greatest value that so many bits hold."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if header.signed else (0, (1 << bits) - 1)


def _without_padding(cells: Cells, header: PixelHeader, bits: int) -> tuple[Cells, NDArray[np.bool_] | None]:
    """Replaces padding that so many bits cannot hold by the nearest value that they can, and returns where it was."""
    if header.padding is None:
        return cells, None
    low, high = _claimed_range(header, bits)
    kept = _as_signed(cells, header)
    padding = padding_range(header.padding, bits=cells.bits, signed=kept.dtype.kind == "i")
    if low <= padding.low and padding.high <= high:
        return cells, None
    inside = np.clip(cast("NDArray[np.int32]", kept), low, high)
    found = padding.mask(kept)
    padded = None if found is None else found & (inside != kept)
    if padded is None or not padded.any():
        return cells, None
    filled = np.where(padded, inside, kept).astype(kept.dtype)
    return replace(cells, values=filled.view(cells.values.dtype)), padded


def _limits(values: NDArray[np.generic]) -> tuple[int, int]:
    """Least and greatest value; 0 stands for the least unsigned one, whatever that is."""
    return int(values.min()) if values.dtype.kind == "i" else 0, int(values.max())


def _claimed_bits(cells: Cells, header: PixelHeader) -> tuple[int, BitsSource]:
    """BitsStored where it is possible; the codestream's precision where that is smaller or would not fit."""
    if cells.bits < header.bits_stored <= header.bits_allocated or cells.bits > header.bits_allocated:
        return cells.bits, "codestream"
    if not 1 <= header.bits_stored <= header.bits_allocated:
        return cells.bits, "corrected"
    return header.bits_stored, "header"


def _align(cells: Cells, header: PixelHeader, bits: int) -> tuple[Cells, bool]:
    """Shifts values down that HighBit places at the top of the cell; True where HighBit is contradicted."""
    shift = header.high_bit + 1 - bits
    if shift <= 0 or header.high_bit >= cells.bits or cells.signed:
        return cells, False
    values = cast("NDArray[np.uint16]", cells.values)
    low_bits_used = bool((values & ((1 << shift) - 1)).any())
    if low_bits_used and int(values.max()) < 1 << bits:
        return cells, True
    return replace(cells, values=values >> shift, bits=cells.bits - shift), False


def _as_signed(cells: Cells, header: PixelHeader) -> NDArray[np.generic]:
    """The cells as they are: two's complement over the whole cell where only the header has a sign."""
    values = cells.values
    if cells.signed is not None or not header.signed:
        return values
    width = values.dtype.itemsize * 8
    if cells.bits == width:
        return values.view(f"i{values.dtype.itemsize}")
    return _mask(values, cells.bits, True)


def _mask(values: NDArray[np.generic], bits: int, signed: bool) -> NDArray[np.generic]:
    """Keeps the low `bits` of each cell and extends the sign."""
    size = values.dtype.itemsize
    pattern = cast("NDArray[np.uint32]", values.view(f"u{size}"))
    shift = size * 8 - bits
    if signed:
        return (pattern << shift).view(f"i{size}") >> shift
    return pattern & pattern.dtype.type((1 << bits) - 1)


def _overlays_explain(header: PixelHeader, bits: int) -> bool:
    """Tells whether the header itself says that overlay planes lie above the stored bits."""
    return any(position >= bits for position in header.overlay_bits)


def _votes_to_keep(kept: NDArray[np.generic], masked: NDArray[np.generic], bits: int, signed: bool) -> bool:
    """Lets neighbouring pixels vote between the two readings.

    Raises:
        ImageRejectedError: HEADER_CONTRADICTION where neither has a clear majority.
    """
    for_kept, for_masked = _count_votes(kept, masked, bits)
    share = for_kept / max(for_kept + for_masked, 1)
    if share >= CLEAR_MAJORITY:
        return True
    low, high = _limits(kept)
    # Negative values with and without extended sign are no contradiction: unused bits are not specified.
    unextended = signed and low >= -(1 << bits - 1) and high < 1 << bits
    if share > 1 - CLEAR_MAJORITY and not unextended:
        detail = (
            f"values from {low} to {high} do not fit BitsStored {bits}, and neither reading is smoother "
            f"({for_kept} votes for the values, {for_masked} for the header)"
        )
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)
    return False


def _count_votes(kept: NDArray[np.generic], masked: NDArray[np.generic], bits: int) -> tuple[int, int]:
    """Counts the neighbours between which only one reading makes a small step, less than a quarter of the range."""
    stride = 1 + kept.size // _MAX_VOTERS
    first, second = kept[::stride].astype(np.int64), masked[::stride].astype(np.int64)
    for_kept = for_masked = 0
    for axis in (0, 1):
        step_kept, step_masked = np.abs(np.diff(first, axis=axis)), np.abs(np.diff(second, axis=axis))
        smooth = np.minimum(step_kept, step_masked) < max(1 << bits >> 2, 1)
        for_kept += int(np.count_nonzero(smooth & (step_kept < step_masked)))
        for_masked += int(np.count_nonzero(smooth & (step_masked < step_kept)))
    return for_kept, for_masked


def _compact(values: NDArray[np.generic], signed: bool) -> Pixels:
    """The same values in the type of their width and sign, without a copy where the bytes are the same."""
    wanted = np.dtype(f"{'i' if signed else 'u'}{values.dtype.itemsize}")
    return cast("Pixels", values if values.dtype == wanted else values.view(wanted))
