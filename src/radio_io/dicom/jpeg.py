"""Headers and completeness of JPEG (baseline, extended, progressive, lossless) and JPEG-LS codestreams.

Comes in: bytes that begin with SOI. Goes out: `CodestreamInfo`. Refuses what ends before its scan begins and what
has two frames or none. Decoders return an image from a cut scan, so the scan is walked here up to its end marker.

Two things tell that a closed codestream lacks a part: restart markers, which are numbered and of known count, and the
scans of a progressive JPEG, which have to bring every bit of every coefficient. What the walk cannot see otherwise:
entropy-coded data that were cut and closed with an end marker; the decoders test for it.

Source: ITU-T T.81 B.1 (markers, byte stuffing), B.2.2 (frame header), B.2.3 (scan header), B.2.4.4 (restart interval),
E.1.4 (numbers of restart markers), G.1.1.1 (spectral selection, successive approximation); ITU-T T.87 C.2.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from radio_io.dicom.codestream import CodestreamInfo, CodestreamKind, corrupt, truncated

SOI: Final = b"\xff\xd8"
EOI: Final = b"\xff\xd9"
SOS: Final = 0xDA
_EOI: Final = 0xD9
_SOF_LS: Final = 0xF7
_SOF_LOSSLESS: Final = (0xC3, 0xC7, 0xCB, 0xCF)
_SOF_PROGRESSIVE: Final = (0xC2, 0xC6, 0xCA, 0xCE)
_SOF_DCT: Final = (0xC0, 0xC1, 0xC2, 0xC5, 0xC6, 0xC9, 0xCA, 0xCD, 0xCE)
_STANDALONE: Final = tuple(bytes([marker]) for marker in (0x01, *range(0xD0, 0xD9)))
_DRI: Final = 0xDD
_RESTART: Final = re.compile(rb"\xff([\xd0-\xd7])")
_COEFFICIENTS: Final = 64
# In a scan FF is followed by a stuffed 00 or a restart marker (T.81); in JPEG-LS by a byte below 80 (T.87 A.1).
_SCAN_END: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN_END_LS: Final = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A marker, where it stands and the first and last position of what follows its length field."""

    marker: int
    position: int
    start: int
    end: int


class _Progress:
    """Follows what the scans of a frame of one component bring, and says at the end what is missing."""

    def __init__(self) -> None:
        self._interval = 0
        self._scan: Segment | None = None
        self._missing_bits = [_COEFFICIENTS] * _COEFFICIENTS  # of each coefficient; more than any scan leaves out

    def see(self, data: bytes, segment: Segment, frame: Segment | None) -> None:
        """The next segment; a scan that is open ends where it begins."""
        self._close_scan(data, segment.position, frame)
        if segment.marker == _DRI:
            self._interval = int.from_bytes(data[segment.start : segment.end], "big")
        elif segment.marker == SOS and segment.end - segment.start >= 3:
            self._scan = segment
            first, last, bits = data[segment.end - 3 : segment.end]
            for coefficient in range(first, min(last, _COEFFICIENTS - 1) + 1):
                self._missing_bits[coefficient] = bits & 0x0F

    def end(self, data: bytes, frame: Segment) -> None:
        """Refuses a progressive frame some of whose bits no scan has brought.

        Raises:
            ImageRejectedError: TRUNCATED; or CORRUPT_PIXELS for the last scan, see `_check_restarts`.
        """
        self._close_scan(data, len(data), frame)
        if frame.marker in _SOF_PROGRESSIVE and _components(data, frame) == 1 and any(self._missing_bits):
            missing = sum(1 for bits in self._missing_bits if bits)
            raise truncated(f"scans of the progressive JPEG are missing: {missing} of 64 coefficients are not complete")

    def _close_scan(self, data: bytes, position: int, frame: Segment | None) -> None:
        if self._scan is not None and frame is not None and self._interval and frame.marker != _SOF_LS:
            _check_restarts(data[self._scan.end : position], _blocks(data, frame), self._interval)
        self._scan = None


def _components(data: bytes, frame: Segment) -> int:
    return data[frame.start + 5] if frame.end - frame.start > 5 else 0


def _blocks(data: bytes, frame: Segment) -> int:
    """Blocks in a scan of a single component; 0 where there are none or their number is not known."""
    if _components(data, frame) != 1 or frame.marker in _SOF_LOSSLESS:
        return 0
    rows, columns = (int.from_bytes(data[frame.start + at : frame.start + at + 2], "big") for at in (1, 3))
    return -(-rows // 8) * -(-columns // 8)


def _check_restarts(scan: bytes, blocks: int, interval: int) -> None:
    """Compares restart markers with their numbers and, where blocks are, their count; one behind the last may be there.

    Raises:
        ImageRejectedError: CORRUPT_PIXELS where numbers do not follow each other, TRUNCATED where the last are missing.
    """
    numbers = [found[0] & 7 for found in _RESTART.findall(scan)]
    expected = -(-blocks // interval) - 1 if blocks else len(numbers)
    if len(numbers) > expected + 1 or any(number != index % 8 for index, number in enumerate(numbers)):
        raise corrupt("restart intervals of the JPEG scan are missing or out of order")
    if len(numbers) < expected:
        raise truncated(f"{len(numbers) + 1} of {expected + 1} restart intervals of the JPEG scan are there")


def read_jpeg(data: bytes) -> CodestreamInfo:
    """Reads size, precision and kind, and walks the scans up to the end marker.

    Raises:
        ImageRejectedError: TRUNCATED where the headers are cut, CORRUPT_PIXELS where they make no sense.
    """
    frame: Segment | None = None
    lossy_scan = False
    scans = 0
    end = -1
    progress = _Progress()
    for segment in segments(data):
        progress.see(data, segment, frame)
        if segment.marker == _EOI:
            end = segment.position
        elif segment.marker == SOS:
            scans += 1
            lossy_scan |= _scan_is_lossy(data, segment, frame)
        elif segment.marker in _SOF_DCT or segment.marker in _SOF_LOSSLESS or segment.marker == _SOF_LS:
            if frame is not None:
                raise corrupt("the JPEG codestream has two frame headers, expected one")
            frame = segment
    if frame is None or not scans:
        raise truncated("the JPEG codestream ends before its first scan")
    progress.end(data, frame)
    return _describe(data, frame, end=end, lossy_scan=lossy_scan, scans=scans)


def _describe(data: bytes, frame: Segment, *, end: int, lossy_scan: bool, scans: int) -> CodestreamInfo:
    if frame.end - frame.start < 6:
        raise corrupt(f"a JPEG frame header of {frame.end - frame.start} bytes, expected at least 6")
    content = data[frame.start : frame.end]
    if frame.marker == _SOF_LS:
        kind, lossy = CodestreamKind.JPEG_LS, lossy_scan
    elif frame.marker in _SOF_LOSSLESS:
        kind, lossy = CodestreamKind.JPEG_LOSSLESS, lossy_scan
    else:
        kind, lossy = CodestreamKind.JPEG_DCT, True
    return CodestreamInfo(
        kind=kind,
        data=data[: end + 2] if end >= 0 else data.rstrip(b"\0\xff") + EOI,  # a last 00 is padding, not a code
        rows=int.from_bytes(content[1:3], "big"),
        columns=int.from_bytes(content[3:5], "big"),
        components=content[5],
        precision=content[0],
        lossy=lossy,
        end_added=end < 0,
        scans=scans,
    )


def segments(data: bytes) -> Iterator[Segment]:
    """Yields the marker segments up to the end marker or the end of the data; scans are skipped whole."""
    scan_end = _SCAN_END
    segment = _segment(data, 2)
    while segment is not None:
        yield segment
        if segment.marker == _EOI:
            return
        if segment.marker == _SOF_LS:
            scan_end = _SCAN_END_LS
        position = segment.end
        if segment.marker == SOS:
            found = scan_end.search(data, position)
            position = found.start() if found else len(data)
        segment = _segment(data, position)


def _segment(data: bytes, position: int) -> Segment | None:
    """Reads the next marker segment, past fill bytes and markers that stand alone; None at the end of the data."""
    while data[position : position + 2] == b"\xff\xff" or data[position + 1 : position + 2] in _STANDALONE:
        position += 1 if data[position + 1] == 0xFF else 2
    if position + 2 > len(data):
        return None
    if data[position] != 0xFF:
        raise corrupt(f"byte {data[position]:02x} where the JPEG codestream needs a marker")
    marker = data[position + 1]
    if marker == _EOI:
        return Segment(marker=marker, position=position, start=position, end=position + 2)
    length = int.from_bytes(data[position + 2 : position + 4], "big")
    end = position + 2 + length
    if length < 2 or end > len(data):
        raise truncated(f"a JPEG marker segment of {length} bytes, but the codestream ends before it does")
    return Segment(marker=marker, position=position, start=position + 4, end=end)


def _scan_is_lossy(data: bytes, scan: Segment, frame: Segment | None) -> bool:
    """Tells whether a lossless process drops information: JPEG-LS with NEAR > 0, or a point transform."""
    if frame is None:
        raise corrupt("a JPEG scan before the frame header")
    parameters = data[scan.end - 3 : scan.end]
    if scan.end - scan.start < 4:
        raise corrupt("a JPEG scan header that is too short")
    if frame.marker == _SOF_LS:
        return parameters[0] > 0
    return frame.marker in _SOF_LOSSLESS and parameters[2] & 0x0F > 0
