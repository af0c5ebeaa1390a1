"""True stored pixel values of a file, whatever its header and its transfer syntax claim.

Comes in: a parsed file. Goes out: `StoredPixels`. Refuses pixels that are not all there, that contradict themselves
beyond repair, or that are too large to be decoded safely; each with a reason.

What decides is the frame's own codestream; the transfer syntax is only asked where there is none. Sizes are held
against limits, lengths and the codestream's own header before anything is decoded.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.tag import Tag

from radio_io.dicom.bits import BitsSource, Cells, Pixels, settle_bits
from radio_io.dicom.codestream import CodestreamInfo, CodestreamKind
from radio_io.dicom.decoders import decode_codestream, within_precision
from radio_io.dicom.encoding import is_known_syntax
from radio_io.dicom.frames import check_native_length, is_encapsulated, read_frame, swapped_pairs
from radio_io.dicom.jpeg import read_jpeg
from radio_io.dicom.jpeg2000 import read_jpeg2000
from radio_io.dicom.pixel_header import PixelHeader, read_pixel_header
from radio_io.dicom.quiet import quiet_pydicom
from radio_io.dicom.rle import HEADER_BYTES as RLE_HEADER_BYTES
from radio_io.dicom.rle import check_rle_size, looks_like_rle, read_rle
from radio_io.dicom.sign import with_true_sign
from radio_io.dicom.smoothness import check_row_length, in_smoother_byte_order
from radio_io.errors import ImageRejectedError, RejectReason

EXPLICIT_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
NATIVE: Final = frozenset(
    {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.98",  # encapsulated uncompressed
        "1.2.840.10008.1.2.1.99",  # deflated
        EXPLICIT_BIG_ENDIAN,
    }
)
COMPRESSED: Final = re.compile(r"1\.2\.840\.10008\.1\.2\.(5|4\.(5[0-9]|6[0-6]|70|8[01]|9[0-3]|20[1-3]))")
"""JPEG, JPEG-LS, JPEG 2000, HTJ2K and RLE; a known label on what turns out to be plain pixels."""
LOSSY: Final = frozenset({"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.93", "1.2.840.10008.1.2.4.203"})
"""Labels that say lossy where the codestream itself leaves it open."""
FLOATS: Final = ("FloatPixelData", "DoubleFloatPixelData")
_PIXEL_DATA: Final = Tag(0x7FE00010)


class PixelSource(Protocol):
    """What decoding needs of a parsed file."""

    @property
    def dataset(self) -> Dataset:
        """The attributes, PixelData among them."""
        ...

    @property
    def transfer_syntax_uid(self) -> str:
        """The encoding that the file claims."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPixels:
    """The stored values of one frame, before any Modality LUT.

    `pixels` is `[rows, columns]`, uint8, uint16, int8, int16, uint32 or int32: unused bits are masked and the sign is
    extended. `bits_stored` and `signed` are what the values really have; `bits_source` says who was believed: the
    header, the codestream, or neither as it stands (`corrected`). `lossy` is true where pixels were changed by
    compression. `padded` is true where padding was found that lies outside these bits (see `SettledBits`), else None.
    """

    pixels: Pixels
    bits_stored: int
    signed: bool
    bits_source: BitsSource
    lossy: bool
    decoder: str
    padded: NDArray[np.bool_] | None = None


def decode_pixels(parsed: PixelSource, *, frame: int = 0) -> StoredPixels:
    """Decodes one frame to its true stored values.

    Args:
        parsed: the file; only its dataset and its transfer syntax are looked at.
        frame: which frame, from 0.

    Raises:
        ImageRejectedError: NO_PIXEL_DATA, TRUNCATED, CORRUPT_PIXELS, HEADER_CONTRADICTION, DECOMPRESSION_BOMB,
            UNSUPPORTED_PIXELS, UNSUPPORTED_TRANSFER_SYNTAX, NOT_GRAYSCALE, BAD_GEOMETRY or MULTI_FRAME.
    """
    with quiet_pydicom():
        value = _pixel_data(parsed.dataset)
        header = read_pixel_header(parsed.dataset)
    if frame >= header.frames:
        raise ImageRejectedError(RejectReason.MULTI_FRAME, f"frame {frame} of {header.frames} was asked for")
    syntax = str(parsed.transfer_syntax_uid)
    encapsulated = is_encapsulated(value)
    data = read_frame(value, frame, header.frames) if encapsulated else value
    info = _codestream(data, header, syntax)
    if info is not None:
        return _coded(info, header, syntax)
    if encapsulated:
        header, frame = replace(header, frames=1), 0
    _check_label(data, header, syntax)
    return _native(data, header, syntax, frame=frame, vr=_vr(parsed.dataset))


def _pixel_data(dataset: Dataset) -> memoryview:
    found = [keyword for keyword in FLOATS if keyword in dataset]
    if found:
        raise ImageRejectedError(RejectReason.UNSUPPORTED_PIXELS, f"{found[0]}, expected integer PixelData")
    # The raw element: pydicom would ask BitsAllocated, which may be absent, for the element's VR.
    value = cast("object", dataset.get_item(_PIXEL_DATA).value) if _PIXEL_DATA in dataset else None
    if not isinstance(value, bytes | memoryview) or not value:
        raise ImageRejectedError(RejectReason.NO_PIXEL_DATA, "PixelData is missing or empty")
    return memoryview(value)


def _vr(dataset: Dataset) -> str | None:
    return dataset.get_item(_PIXEL_DATA).VR


def _codestream(data: bytes | memoryview, header: PixelHeader, syntax: str) -> CodestreamInfo | None:
    """Parses the codestream that the bytes really are; None where they are plain pixels."""
    start = bytes(data[:RLE_HEADER_BYTES])
    if start.startswith(b"\xff\xd8\xff"):
        return read_jpeg(bytes(data))
    if start.startswith((b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")):
        return read_jpeg2000(bytes(data))
    segments = header.bits_allocated // 8
    plain = syntax in NATIVE or len(data) in (header.frame_bytes, header.frame_bytes + 1)
    if looks_like_rle(start, segments) or (syntax == RLE_LOSSLESS and not plain):
        data = bytes(data)
        info = read_rle(data, segments)
        check_rle_size(data, header.frame_bytes)
        return replace(info, rows=header.rows, columns=header.columns, precision=header.bits_allocated)
    return None


def _coded(info: CodestreamInfo, header: PixelHeader, syntax: str) -> StoredPixels:
    """Decodes a codestream after its size was held against the header's."""
    if info.components != 1:
        detail = f"{info.components} components in the codestream, 1 in the header"
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)
    if (info.rows, info.columns) != (header.rows, header.columns):
        detail = f"the codestream has {info.rows} x {info.columns} pixels, the header {header.rows} x {header.columns}"
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)
    decoded = decode_codestream(info)
    if info.kind is CodestreamKind.RLE:
        check_row_length(decoded.values.ravel(), header)
    lossy = info.lossy if info.lossy is not None else syntax in LOSSY
    values = within_precision(decoded.values, info, lossy=lossy)
    cells = Cells(values=values, bits=info.precision, signed=info.signed, lossy=lossy)
    return _settled(cells, header, decoded.decoder, turnable=info.kind is CodestreamKind.RLE)


def _check_label(data: bytes | memoryview, header: PixelHeader, syntax: str) -> None:
    """Refuses bytes that are no codestream known here under a label that says they are one.

    Plain pixels under a label of a known codec are accepted where their length is exact.

    Raises:
        ImageRejectedError: UNSUPPORTED_TRANSFER_SYNTAX or CORRUPT_PIXELS.
    """
    if syntax in NATIVE:
        return
    if not COMPRESSED.fullmatch(syntax):
        # An unregistered UID is a hospital's own: its text is not told.
        name = syntax if is_known_syntax(syntax) else "of no registered UID"
        detail = f"transfer syntax {name} is none of the uncompressed, JPEG, JPEG-LS, JPEG 2000, HTJ2K and RLE ones"
        raise ImageRejectedError(RejectReason.UNSUPPORTED_TRANSFER_SYNTAX, detail)
    expected = header.frame_bytes * header.frames
    if len(data) not in (expected, expected + 1):
        detail = f"{len(data)} bytes that begin no codestream under transfer syntax {syntax}"
        raise ImageRejectedError(RejectReason.CORRUPT_PIXELS, detail)


def _native(data: bytes | memoryview, header: PixelHeader, syntax: str, *, frame: int, vr: str | None) -> StoredPixels:
    """Views uncompressed bytes as cells, without a copy in the usual case."""
    check_native_length(data, header.frame_bytes, header.frames)
    big_endian = syntax == EXPLICIT_BIG_ENDIAN
    if big_endian and header.bits_allocated == 8 and vr == "OW":
        data = swapped_pairs(data)
    cell = np.dtype(f"{'>' if big_endian else '<'}u{header.bits_allocated // 8}")
    values = np.frombuffer(data, cell, len(data) // cell.itemsize)
    start = frame * header.pixels
    check_row_length(values[start:] if header.frames == 1 else values[start : start + header.pixels], header)
    picture = values[start : start + header.pixels].reshape(header.rows, header.columns)
    if big_endian:
        picture = picture.astype(cell.newbyteorder("="))
    cells = Cells(values=picture, bits=header.bits_allocated, signed=None, lossy=False)
    return _settled(cells, header, "numpy", turnable=True)


def _settled(cells: Cells, header: PixelHeader, decoder: str, *, turnable: bool) -> StoredPixels:
    """Settles bits and sign; `turnable` cells may have their bytes in the wrong order."""
    turned = False
    if turnable:
        values, turned = in_smoother_byte_order(cells.values, header.bits_stored)
        cells = replace(cells, values=values)
    settled = settle_bits(cells, header)
    if cells.signed is None:
        settled = with_true_sign(settled, cells.values)
    return StoredPixels(
        pixels=settled.pixels,
        bits_stored=settled.bits,
        signed=settled.signed,
        bits_source="corrected" if turned else settled.source,
        lossy=cells.lossy,
        decoder=decoder,
        padded=settled.padded,
    )
