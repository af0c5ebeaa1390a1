"""What a header claims about its pixels, read leniently and held against limits before anything is decoded.

Comes in: a dataset. Goes out: `PixelHeader`. Refuses colour, unusual allocations, impossible geometry and images
beyond the limits against decompression bombs.
"""

from dataclasses import dataclass
from typing import Final, cast

from pydicom import Dataset
from pydicom.tag import Tag

from radio_io.dicom.padding import written_padding
from radio_io.dicom.values import integer, term
from radio_io.errors import ImageRejectedError, RejectReason

MAX_SIDE: Final = 20_000
"""Rows or columns beyond this are a lie or a bomb: the largest stitched whole-leg images have about 10,000 rows."""
MAX_FRAME_BYTES: Final = 1 << 30
"""Decoded size of one frame beyond which nothing is decoded, so that a worker stays under 1.5 GB."""
MAX_FRAMES: Final = 100_000
ALLOCATIONS: Final = (8, 16, 32)
# Source: DICOM PS3.3 C.9.2 (groups 6000 to 601E, even): OverlayBitPosition and OverlayData of each plane.
_OVERLAYS: Final = tuple((Tag(group, 0x0102), Tag(group, 0x3000)) for group in range(0x6000, 0x6020, 2))
COLOUR: Final = ("PALETTE", "RGB", "ARGB", "CMYK", "HSV", "YBR", "XYB")


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelHeader:
    """The claims of the Image Pixel module (DICOM PS3.3 C.7.6.3), numbers as they stand there.

    `overlay_bits` are the bit positions inside a pixel cell that old files use for overlay planes
    (Source: DICOM PS3.5 8.1.1 and retired OverlayBitPosition, 60xx,0102). `padding` are Pixel Padding Value and Range
    Limit.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    frames: int
    overlay_bits: tuple[int, ...]
    padding: tuple[int, int] | None = None

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
    _check_grey(dataset)
    allocated = integer(dataset, "BitsAllocated") or 0
    if allocated not in ALLOCATIONS:
        detail = f"BitsAllocated {allocated or 'missing'}, expected 8, 16 or 32"
        raise ImageRejectedError(RejectReason.UNSUPPORTED_PIXELS, detail)
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    check_size(rows, columns, allocated // 8)
    stored, high_bit = integer(dataset, "BitsStored"), integer(dataset, "HighBit")
    stored = allocated if stored is None else stored
    return PixelHeader(
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high_bit is None else high_bit,
        signed=integer(dataset, "PixelRepresentation") == 1,
        frames=min(max(integer(dataset, "NumberOfFrames") or 1, 1), MAX_FRAMES),
        overlay_bits=_overlay_bits(dataset),
        padding=written_padding(dataset),
    )


def _check_grey(dataset: Dataset) -> None:
    samples = integer(dataset, "SamplesPerPixel")
    photometric = term(dataset, "PhotometricInterpretation") or "MONOCHROME2"
    if samples not in (None, 1) or photometric.startswith(COLOUR):
        kind = "a colour one" if photometric.startswith(COLOUR) else "grey"
        detail = f"SamplesPerPixel {samples}, PhotometricInterpretation {kind}; expected 1 grey sample a pixel"
        raise ImageRejectedError(RejectReason.NOT_GRAYSCALE, detail)


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


def _overlay_bits(dataset: Dataset) -> tuple[int, ...]:
    """Bit positions of overlay planes that are stored inside the pixel cells; planes of their own have OverlayData."""
    positions: set[int] = set()
    for position, data in _OVERLAYS:
        if position in dataset and data not in dataset:
            value = cast("object", dataset.get_item(position).value)
            positions.add(int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(str(value or 0)))
    return tuple(sorted(positions))
