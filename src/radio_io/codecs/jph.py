"""The JPH box around an HTJ2K codestream, and the parts of such a codestream that resolutions are cut at.

Comes in: bytes. Goes out: `wrap`, `unwrap`, `Codestream` (main header segments and tile-parts), and codestreams of
smaller resolution or raised precision made by rewriting headers, without decoding. Refuses: what `wrap` did not write.

Source: ISO/IEC 15444-1 annexes A (codestream) and I (boxes), ISO/IEC 15444-15 annex D (JPH).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from radio_io.errors import CodecError

SOC, SOT, EOC = b"\xff\x4f", b"\xff\x90", b"\xff\xd9"
SIZ, COD, QCD, TLM, COM = 0xFF51, 0xFF52, 0xFF5C, 0xFF55, 0xFF64
SOT_LENGTH = 12
# Offsets in a SIZ segment, from its marker: image and tile sizes (their origins are 0), then the component's precision.
SIZ_WIDTHS, SIZ_HEIGHTS, SIZ_PRECISION = (6, 22), (10, 26), 40
COD_LEVELS = 9
GREYSCALE = 17
BRAND = b"jph "
SIGNATURE = struct.pack(">I4s", 12, b"jP  ") + b"\r\n\x87\n"
FILE_TYPE = struct.pack(">I4s", 20, b"ftyp") + BRAND + bytes(4) + BRAND
BOX_SIZE = len(SIGNATURE) + len(FILE_TYPE) + 8 + 22 + 15 + 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Codestream:
    """A codestream in pieces: `segments` of the main header with their markers, and whole tile-parts, by resolution.

    The tile-parts are views of the bytes they were found in: most images are decoded without a look at them.
    """

    segments: tuple[bytes, ...]
    parts: tuple[memoryview, ...]
    header_size: int
    rows: int
    columns: int
    levels: int


def wrap(codestream: bytes | bytearray | memoryview, *, rows: int, columns: int) -> bytes:
    """`codestream`, without its comments, in the boxes of a JPH file: one grey component of 16 bits.

    Comments name the version of the encoder.
    """
    header = struct.pack(">I4sIIHBBBB", 22, b"ihdr", rows, columns, 1, 15, 7, 0, 0)
    header += struct.pack(">I4sBBBI", 15, b"colr", 1, 0, 0, GREYSCALE)
    segments = tuple(_segments(codestream))
    kept = [segment for segment in segments if int.from_bytes(segment[:2], "big") != COM]
    rest = memoryview(codestream)[len(SOC) + sum(map(len, segments)) :]
    size = 8 + len(SOC) + sum(map(len, kept)) + len(rest)
    boxes = (SIGNATURE, FILE_TYPE, struct.pack(">I4s", 8 + len(header), b"jp2h"), header)
    return b"".join((*boxes, struct.pack(">I4s", size, b"jp2c"), SOC, *kept, rest))


def unwrap(encoded: bytes) -> memoryview:
    """The codestream in a JPH file, or as much of it as a prefix of the file holds.

    Raises:
        CodecError: The boxes are not those that `wrap` writes.
    """
    start = len(SIGNATURE) + len(FILE_TYPE)
    if encoded[:start] != SIGNATURE + FILE_TYPE or encoded[start + 4 : start + 8] != b"jp2h":
        raise CodecError("image in codec htj2k: no JPH file as this codec writes it; the bytes were changed or cut")
    if len(encoded) < BOX_SIZE + 2 or encoded[BOX_SIZE - 4 : BOX_SIZE] != b"jp2c":
        raise CodecError(
            f"image in codec htj2k: no codestream box at byte {BOX_SIZE - 8}; the bytes were changed or cut"
        )
    return memoryview(encoded)[BOX_SIZE:]


def parse(codestream: bytes | memoryview) -> Codestream:
    """The segments and whole tile-parts of a codestream or of a prefix of one.

    Raises:
        CodecError: The main header is damaged or not of one tile and one component.
    """
    segments = tuple(_segments(codestream))
    found = {int.from_bytes(segment[:2], "big"): segment for segment in segments}
    is_whole = {SIZ, COD, QCD} <= found.keys() and int.from_bytes(segments[0][:2], "big") == SIZ
    if not is_whole or len(found[SIZ]) != SIZ_PRECISION + 3 or len(found[COD]) <= COD_LEVELS:
        raise CodecError("image in codec htj2k: the main header lacks a segment; the bytes were changed")
    header_size = len(SOC) + sum(map(len, segments))
    return Codestream(
        segments=segments,
        parts=tuple(_parts(codestream, header_size)),
        header_size=header_size,
        rows=int.from_bytes(found[SIZ][SIZ_HEIGHTS[0] : SIZ_HEIGHTS[0] + 4], "big"),
        columns=int.from_bytes(found[SIZ][SIZ_WIDTHS[0] : SIZ_WIDTHS[0] + 4], "big"),
        levels=found[COD][COD_LEVELS],
    )


def reduced(stream: Codestream, skip: int, *, precision: int = 16) -> bytes:
    """The codestream of the image at `2**-skip` of its size, made of the first tile-parts and a rewritten header.

    `precision` only moves the level that decoders add (`2**(precision - 1)`): a decoder that would wrap values beyond
    16 bits then has room for them.

    Raises:
        CodecError: `skip` is beyond the levels of the image, or a tile-part that is needed is not there.
    """
    keep = stream.levels + 1 - skip
    if not 0 <= skip <= stream.levels:
        raise CodecError(f"cannot skip {skip} resolutions of an image with {stream.levels + 1}")
    if len(stream.parts) < keep:
        raise CodecError(f"image in codec htj2k: {len(stream.parts)} whole tile-parts, {keep} needed; read more bytes")
    header = [_rewritten(segment, skip, precision) for segment in stream.segments]
    parts = [piece for part in stream.parts[:keep] for piece in (part[:11], bytes((keep,)), part[12:])]
    return b"".join((SOC, *header, *parts, EOC))


def _rewritten(segment: bytes, skip: int, precision: int) -> bytes:
    marker, changed = int.from_bytes(segment[:2], "big"), bytearray(segment)
    if marker == SIZ:
        for offset in (*SIZ_WIDTHS, *SIZ_HEIGHTS):
            size = int.from_bytes(segment[offset : offset + 4], "big")
            changed[offset : offset + 4] = (-(-size >> skip)).to_bytes(4, "big")
        changed[SIZ_PRECISION] = precision - 1
    elif marker == COD:
        changed[COD_LEVELS] -= skip
    elif marker == QCD:  # reversible: one byte a sub-band, three sub-bands a level
        changed = changed[: len(segment) - 3 * skip]
        changed[2:4] = (len(changed) - 2).to_bytes(2, "big")
    elif marker == TLM:
        return b""
    return bytes(changed)


def _segments(codestream: bytes | bytearray | memoryview) -> Iterator[bytes]:
    if bytes(codestream[:2]) != SOC:
        raise CodecError("image in codec htj2k: no codestream in the JPH file; the bytes were changed")
    position = len(SOC)
    while bytes(codestream[position : position + 2]) != SOT:
        length = int.from_bytes(codestream[position + 2 : position + 4], "big")
        segment = bytes(codestream[position : position + 2 + length])
        if length < 2 or len(segment) != 2 + length or segment[0] != 0xFF:
            raise CodecError("image in codec htj2k: the main header is cut or was changed")
        yield segment
        position += len(segment)


def _parts(codestream: bytes | memoryview, position: int) -> Iterator[memoryview]:
    view = memoryview(codestream)
    while bytes(view[position : position + 2]) == SOT:
        length = int.from_bytes(view[position + 6 : position + 10], "big")
        part = view[position : position + length]
        if length < SOT_LENGTH or len(part) != length:
            return
        yield part
        position += length
