"""True stored pixel values of a file, whatever its header and its transfer syntax claim.

Comes in: a parsed file. Goes out: `StoredPixels`. Refuses pixels that are not all there, that contradict themselves
beyond repair, or that are too large to be decoded safely; each with a reason.

What decides is the frame's own codestream; the transfer syntax is only asked where there is none. Sizes are held
against limits, lengths and the codestream's own header before anything is decoded.
"""

from dataclasses import dataclass, replace
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radio_io.dicom.bits import BitsSource, Cells, Pixels, settle_bits
from radio_io.dicom.codestream import CodestreamInfo
from radio_io.dicom.decoders import decode_codestream
from radio_io.dicom.frames import is_encapsulated, read_frame
from radio_io.dicom.jpeg import read_jpeg
from radio_io.dicom.jpeg2000 import read_jpeg2000
from radio_io.dicom.pixel_header import PixelHeader, read_pixel_header
from radio_io.dicom.rle import looks_like_rle, read_rle
from radio_io.errors import ImageRejectedError, RejectReason

EXPLICIT_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
NATIVE: Final = frozenset(
    {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        EXPLICIT_BIG_ENDIAN,
        "1.2.840.10008.1.2.1.98",
        "1.2.840.10008.1.2.1.99",
    }
)
LOSSY: Final = frozenset({"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.93", "1.2.840.10008.1.2.4.203"})


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
    compression.
    """

    pixels: Pixels
    bits_stored: int
    signed: bool
    bits_source: BitsSource
    lossy: bool
    decoder: str


def decode_pixels(parsed: PixelSource, *, frame: int = 0) -> StoredPixels:
    """Decodes one frame to its true stored values.

    Args:
        parsed: the file; only its dataset and its transfer syntax are looked at.
        frame: which frame, from 0.

    Raises:
        ImageRejectedError: NO_PIXEL_DATA, TRUNCATED, CORRUPT_PIXELS, HEADER_CONTRADICTION, DECOMPRESSION_BOMB,
            UNSUPPORTED_PIXELS, UNSUPPORTED_TRANSFER_SYNTAX, NOT_GRAYSCALE, BAD_GEOMETRY or MULTI_FRAME.
    """
    dataset = parsed.dataset
    value = _pixel_data(dataset)
    header = read_pixel_header(dataset)
    if frame >= header.frames:
        raise ImageRejectedError(RejectReason.MULTI_FRAME, f"frame {frame} of {header.frames} was asked for")
    syntax = str(parsed.transfer_syntax_uid)
    data = read_frame(value, frame, header.frames) if is_encapsulated(value) else value
    info = _codestream(data, header, syntax)
    if info is None:
        return _native(data, header, dataset, syntax, frame=0 if data is not value else frame)
    return _coded(info, header, syntax)


def _pixel_data(dataset: Dataset) -> bytes:
    for keyword in ("FloatPixelData", "DoubleFloatPixelData"):
        if keyword in dataset:
            raise ImageRejectedError(RejectReason.UNSUPPORTED_PIXELS, f"{keyword}, expected integer PixelData")
    value = cast("object", dataset["PixelData"].value) if "PixelData" in dataset else None
    if not isinstance(value, bytes) or not value:
        raise ImageRejectedError(RejectReason.NO_PIXEL_DATA, "PixelData is missing or empty")
    return value


def _codestream(data: bytes, header: PixelHeader, syntax: str) -> CodestreamInfo | None:
    """Parses the codestream that the bytes really are; None where they are plain pixels."""
    segments = header.bits_allocated // 8
    if data.startswith(b"\xff\xd8\xff"):
        return read_jpeg(data)
    if data.startswith((b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")):
        return read_jpeg2000(data)
    if syntax == RLE_LOSSLESS or (syntax not in NATIVE and looks_like_rle(data, segments)):
        info = read_rle(data, segments)
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
    lossy = info.lossy if info.lossy is not None else syntax in LOSSY
    settled = settle_bits(Cells(values=decoded.values, bits=info.precision, signed=info.signed, lossy=lossy), header)
    return StoredPixels(
        pixels=settled.pixels,
        bits_stored=settled.bits,
        signed=settled.signed,
        bits_source=settled.source,
        lossy=lossy,
        decoder=decoded.decoder,
    )


def _native(data: bytes, header: PixelHeader, dataset: Dataset, syntax: str, *, frame: int) -> StoredPixels:
    """Views uncompressed bytes as cells, without a copy in the usual case."""
    cells = _cells(data, header, dataset, syntax, frame)
    settled = settle_bits(Cells(values=cells, bits=header.bits_allocated, signed=None, lossy=False), header)
    return StoredPixels(
        pixels=settled.pixels,
        bits_stored=settled.bits,
        signed=settled.signed,
        bits_source=settled.source,
        lossy=False,
        decoder="numpy",
    )


def _cells(data: bytes, header: PixelHeader, dataset: Dataset, syntax: str, frame: int) -> NDArray[np.generic]:
    size = header.bits_allocated // 8
    expected = header.frame_bytes * header.frames
    if len(data) < expected:
        raise ImageRejectedError(RejectReason.TRUNCATED, f"{len(data)} bytes of pixel data, {expected} expected")
    if len(data) >= expected + header.frame_bytes:
        detail = f"{len(data)} bytes of pixel data, {expected} expected for {header.frames} frames"
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)
    big_endian = syntax == EXPLICIT_BIG_ENDIAN
    cell = np.dtype(f"{'>' if big_endian else '<'}u{size}")
    values = np.frombuffer(data, cell, count=header.pixels, offset=frame * header.frame_bytes)
    if big_endian:
        values = values.astype(cell.newbyteorder("="))
    return values.reshape(header.rows, header.columns)
