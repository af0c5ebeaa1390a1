"""Headers and completeness of JPEG 2000 and HTJ2K codestreams, bare or in a JP2/JPH box.

Comes in: bytes that begin with SOC or a JP2 signature box. Goes out: `CodestreamInfo`. Refuses codestreams whose
tile-parts are not all there: decoders return a blurred image from a cut one.

What this cannot see: a tile-part whose data were cut and whose length was corrected afterwards or is open (Psot 0),
and missing last tile-parts where no tile-part announces how many there are. OpenJPEG refuses most of the former.

Source: ITU-T T.800 A.4 (SOC, SOT, Psot, TPsot, TNsot), A.5.1 (SIZ), A.6.1 (COD), I.5.4 (jp2c box);
ITU-T T.814 A.2 (CAP).
"""

import struct
from dataclasses import dataclass, field
from typing import Final

from radio_io.dicom.codestream import CodestreamInfo, CodestreamKind, corrupt, truncated

SOC: Final = b"\xff\x4f\xff\x51"
EOC: Final = b"\xff\xd9"
_SOT: Final = 0xFF90
_SIZ: Final = 0xFF51
_COD: Final = 0xFF52
_CAP: Final = 0xFF50
_MAX_TILES: Final = 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class _Size:
    """The SIZ segment, of which only the first component counts."""

    rows: int
    columns: int
    tiles: int
    components: int
    precision: int
    signed: bool


@dataclass(kw_only=True, slots=True)
class _TileParts:
    """Which parts of a tile were seen (TPsot) and how many it announces (TNsot; 0 where no part says it)."""

    seen: set[int] = field(default_factory=set[int])
    announced: int = 0


def read_jpeg2000(data: bytes) -> CodestreamInfo:
    """Reads size, precision and sign, and tests that every tile-part is there.

    Raises:
        ImageRejectedError: TRUNCATED where tile-parts are missing, CORRUPT_PIXELS where headers make no sense.
    """
    data = _bare(data)
    segments, tiles_at = _main_header(data)
    if _SIZ not in segments or _COD not in segments:
        raise corrupt("the JPEG 2000 codestream lacks its SIZ or COD segment")
    size = _size(segments[_SIZ])
    coding = segments[_COD]
    if len(coding) < 10:
        raise corrupt(f"a COD segment of {len(coding)} bytes, expected at least 10")
    end = _walk_tiles(data, tiles_at, size.tiles)
    return CodestreamInfo(
        kind=CodestreamKind.HTJ2K if _CAP in segments else CodestreamKind.JPEG_2000,
        data=data if data[end : end + 2] == EOC and end + 2 == len(data) else data[:end] + EOC,
        rows=size.rows,
        columns=size.columns,
        components=size.components,
        precision=size.precision,
        signed=size.signed,
        lossy=True if coding[9] == 0 else None,
        end_added=data[end : end + 2] != EOC,
    )


def _bare(data: bytes) -> bytes:
    """Cuts the codestream out of its boxes."""
    position = 0
    while not data.startswith(SOC):
        if position + 8 > len(data):
            raise truncated("the JP2 boxes end before the codestream box")
        length, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if length == 1 and position + 16 <= len(data):
            length, header = struct.unpack_from(">Q", data, position + 8)[0], 16
        end = len(data) if length == 0 else position + length
        if kind == b"jp2c":
            if end > len(data):
                raise truncated(f"a codestream box of {length} bytes, but only {len(data) - position} are left")
            return data[position + header : end]
        if end < position + header:
            raise corrupt(f"a JP2 box of {length} bytes")
        position = end
    return data


def _main_header(data: bytes) -> tuple[dict[int, bytes], int]:
    """Returns the segments of the main header by marker, and where the first tile-part begins."""
    segments: dict[int, bytes] = {}
    position = 2
    while True:
        if position + 4 > len(data):
            raise truncated("the JPEG 2000 codestream ends in its main header")
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == _SOT:
            return segments, position
        if marker < 0xFF00 or length < 2:
            raise corrupt(f"{marker:04x} where the JPEG 2000 main header needs a marker")
        segments.setdefault(marker, data[position + 4 : position + 2 + length])
        position += 2 + length


def _size(content: bytes) -> _Size:
    if len(content) < 39:
        raise corrupt(f"a SIZ segment of {len(content)} bytes, expected at least 39")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components, depth = struct.unpack_from(
        ">8IHB", content, 2
    )
    if not (left < right and top < bottom and tile_width and tile_height and tile_left <= left and tile_top <= top):
        raise corrupt("the SIZ segment describes an impossible grid of tiles")
    if content[37] != 1 or content[38] != 1:
        raise corrupt("the JPEG 2000 component is subsampled, expected one sample a pixel")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > _MAX_TILES:
        raise corrupt(f"{tiles} tiles, at most {_MAX_TILES} are possible")
    return _Size(
        rows=bottom - top,
        columns=right - left,
        tiles=tiles,
        components=components,
        precision=(depth & 0x7F) + 1,
        signed=depth >= 0x80,
    )


def _walk_tiles(data: bytes, position: int, tiles: int) -> int:
    """Follows the tile-parts by their lengths and returns where the end marker stands or belongs."""
    parts: dict[int, _TileParts] = {}
    while data[position : position + 2] == b"\xff\x90":
        if position + 12 > len(data):
            raise truncated("the JPEG 2000 codestream ends in the header of a tile-part")
        tile, length, part, announced = struct.unpack_from(">HIBB", data, position + 4)
        known = parts.setdefault(tile, _TileParts())
        known.seen.add(part)
        known.announced = max(known.announced, announced)
        if length == 0:  # the last tile-part reaches to the end marker
            end = data.rstrip(b"\0")
            if not end.endswith(EOC):
                raise truncated("a last tile-part of open length without the end marker after it")
            position = len(end) - 2
            break
        if length < 14 or position + length > len(data):
            left = len(data) - position
            raise truncated(f"a JPEG 2000 tile-part of {length} bytes, but only {left} are left")
        position += length
    ended = data[position : position + 2] == EOC
    if not ended and data[position : position + 2].strip(b"\0\xff"):
        raise corrupt("the lengths of the JPEG 2000 tile-parts do not lead to the end marker")
    _check_parts(parts, tiles, ended=ended)
    if not ended and (data[position - 2 : position] == EOC or data[position - 1] == 0):
        raise truncated("the end marker or padding lies inside the last JPEG 2000 tile-part")
    return position


def _check_parts(parts: dict[int, _TileParts], tiles: int, *, ended: bool) -> None:
    """Tests that every tile has all parts: as many as it announces, or an end marker after them."""
    if len(parts) < tiles:
        raise truncated(f"{len(parts)} of {tiles} JPEG 2000 tiles are there")
    for known in parts.values():
        wanted = known.announced or max(known.seen) + 1
        if len(known.seen) < wanted or not (ended or known.announced):
            raise truncated(f"{len(known.seen)} of {wanted} or more parts of a JPEG 2000 tile are there")
