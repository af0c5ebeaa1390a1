"""What a header claims about its pixels, read leniently and held against limits before anything is decoded.

Comes in: a dataset. Goes out: `PixelHeader`. Refuses colour, unusual allocations, impossible geometry and images
beyond the limits against decompression bombs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast

from pydicom import Dataset

from radio_io.errors import ImageRejectedError, RejectReason

MAX_SIDE: Final = 20_000
"""Rows or columns beyond this are a lie or a bomb: the largest stitched whole-leg images have about 10,000 rows."""
MAX_FRAME_BYTES: Final = 1 << 30
"""Decoded size of one frame beyond which nothing is decoded, so that a worker stays under 1.5 GB."""
UNREADABLE: Final = (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError)
"""What pydicom raises for elements whose bytes are no value of their type."""
MAX_FRAMES: Final = 100_000
ALLOCATIONS: Final = (8, 16, 32)
COLOUR: Final = ("PALETTE", "RGB", "ARGB", "CMYK", "HSV", "YBR", "XYB")


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelHeader:
    """The claims of the Image Pixel module (DICOM PS3.3 C.7.6.3), numbers as they stand there.

    `overlay_bits` are the bit positions inside a pixel cell that old files use for overlay planes
    (Source: DICOM PS3.5 8.1.1 and retired OverlayBitPosition, 60xx,0102).
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    frames: int
    overlay_bits: tuple[int, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels in a frame."""
        return self.rows * self.columns

    @property
    def frame_bytes(self) -> int:
        """Number of bytes of an uncompressed frame."""
        return self.pixels * self.bits_allocated // 8


def read_pixel_header(dataset: Dataset) -> PixelHeader:
    """Reads the claims about the pixels.

    Raises:
        ImageRejectedError: NOT_GRAYSCALE, UNSUPPORTED_PIXELS, BAD_GEOMETRY or DECOMPRESSION_BOMB.
    """
    samples = integer(dataset, "SamplesPerPixel", 1)
    photometric = str(first_value(dataset, "PhotometricInterpretation") or "MONOCHROME2").strip().upper()
    if samples != 1 or photometric.startswith(COLOUR):
        known = photometric if photometric.startswith(COLOUR) else "grey"
        detail = f"SamplesPerPixel {samples}, PhotometricInterpretation {known}; expected 1 grey sample a pixel"
        raise ImageRejectedError(RejectReason.NOT_GRAYSCALE, detail)
    allocated = integer(dataset, "BitsAllocated", 0)
    if allocated not in ALLOCATIONS:
        detail = f"BitsAllocated {allocated or 'missing'}, expected 8, 16 or 32"
        raise ImageRejectedError(RejectReason.UNSUPPORTED_PIXELS, detail)
    rows, columns = integer(dataset, "Rows", 0), integer(dataset, "Columns", 0)
    check_size(rows, columns, allocated // 8)
    stored = integer(dataset, "BitsStored", allocated)
    high_bit = integer(dataset, "HighBit", stored - 1)
    return PixelHeader(
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        signed=integer(dataset, "PixelRepresentation", 0) == 1,
        frames=min(max(integer(dataset, "NumberOfFrames", 1), 1), MAX_FRAMES),
        overlay_bits=_overlay_bits(dataset),
    )


def check_size(rows: int, columns: int, bytes_per_pixel: int) -> None:
    """Refuses an image that has no pixels or too many of them to be decoded safely.

    Raises:
        ImageRejectedError: BAD_GEOMETRY or DECOMPRESSION_BOMB.
    """
    if rows < 1 or columns < 1:
        detail = f"{rows} rows x {columns} columns, expected at least 1 x 1"
        raise ImageRejectedError(RejectReason.BAD_GEOMETRY, detail)
    if rows > MAX_SIDE or columns > MAX_SIDE or rows * columns * bytes_per_pixel > MAX_FRAME_BYTES:
        detail = f"{rows} x {columns} pixels of {bytes_per_pixel} bytes; at most {MAX_SIDE} a side and 1 GiB a frame"
        raise ImageRejectedError(RejectReason.DECOMPRESSION_BOMB, detail)


def integer(dataset: Dataset, keyword: str, default: int) -> int:
    """Returns an attribute as an integer; `default` where it is absent, empty or no number."""
    value = first_value(dataset, keyword)
    if value is None:
        return default
    try:
        return int(str(value).strip())
    except ValueError:
        return default


def number(dataset: Dataset, keyword: str) -> float | None:
    """Returns an attribute as a finite number; None where it is absent, empty, infinite or no number."""
    return finite(first_value(dataset, keyword))


def finite(value: object) -> float | None:
    """Returns a value as a finite number, or None."""
    try:
        result = float(str(value).strip())
    except ValueError:
        return None
    return result if math.isfinite(result) else None


def values(dataset: Dataset, keyword: str) -> list[object]:
    """Returns all values of an attribute; an empty list where it is absent, empty or unreadable."""
    try:
        value = cast("object", dataset.get(keyword))
    except UNREADABLE:
        return []
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return list(cast("Iterable[object]", value))
    return [] if value is None or value in ("", b"") else [value]


def first_value(dataset: Dataset, keyword: str) -> object:
    """Returns the first value of an attribute, or None where it is absent, empty or unreadable."""
    return next(iter(values(dataset, keyword)), None)


def _overlay_bits(dataset: Dataset) -> tuple[int, ...]:
    """Bit positions of overlay planes that are stored inside the pixel cells; planes of their own have none."""
    positions: set[int] = set()
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0102) not in dataset or (group, 0x3000) in dataset:
            continue
        value = str(dataset[group, 0x0102].value).strip()
        allocated = str(dataset[group, 0x0100].value).strip() if (group, 0x0100) in dataset else ""
        if value.isdigit() and (allocated != "1" or int(value) > 0):
            positions.add(int(value))
    return tuple(sorted(positions))
