"""The decoders behind `decode_pixels`: imagecodecs first, pydicom with pylibjpeg where that refuses.

Comes in: a `CodestreamInfo` whose structure is complete. Goes out: `Decoded`. Refuses what neither decodes, and
scans that end before the image does. The only module that knows the decoders' exceptions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    HTJ2KLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSNearLossless,
    RLELossless,
)

from radio_io.dicom.codestream import CodestreamInfo, CodestreamKind, corrupt, truncated
from radio_io.dicom.jpeg import EOI
from radio_io.dicom.jpeg_scan import constant_end_is_coded
from radio_io.dicom.quiet import quiet_pydicom
from radio_io.dicom.rle import check_planes
from radio_io.dicom.unraisable import refuse_unraisable

_SYNTAXES: Final = {
    CodestreamKind.JPEG_DCT: JPEGExtended12Bit,
    CodestreamKind.JPEG_LOSSLESS: JPEGLosslessSV1,
    CodestreamKind.JPEG_LS: JPEGLSNearLossless,
    CodestreamKind.JPEG_2000: JPEG2000,
    CodestreamKind.HTJ2K: HTJ2KLossless,
    CodestreamKind.RLE: RLELossless,
}
_LENIENT: Final = (CodestreamKind.JPEG_DCT, CodestreamKind.JPEG_LOSSLESS)
"""Kinds whose decoders return an image from a cut scan."""
_FILLERS: Final = (bytes(range(0x20, 0xA0)) * 2, bytes(0xFF - value for value in range(0x20, 0xA0)) * 2)
"""Bytes that hold no marker. Their bits are each other's complement, so that a decoder which needs even one bit after
the end of a scan returns different images."""
_BLOCK: Final = 8
"""Side of a DCT block; in lossless scans so many equal pixels at the end raise the suspicion of a cut."""


_Opinion = Callable[[CodestreamInfo], NDArray[np.generic] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """What a decoder returned: `[rows, columns]` integers, and its name."""

    values: NDArray[np.generic]
    decoder: str


def decode_codestream(info: CodestreamInfo) -> Decoded:
    """Decodes a codestream whose rows, columns and precision have been checked.

    Raises:
        ImageRejectedError: CORRUPT_PIXELS where no decoder accepts it, TRUNCATED where its scan is too short.
    """
    values, decoder, opinion = _first_opinion(info), "imagecodecs", _first_opinion
    if values is None:
        if info.kind is CodestreamKind.RLE:
            check_planes(info)
        values, decoder, opinion = _second_opinion(info), "pydicom", _second_opinion
    if values is None:
        raise corrupt(f"neither imagecodecs nor pydicom decodes this {info.kind} codestream")
    if info.kind is CodestreamKind.JPEG_LS and (info.end_added or opinion is _second_opinion):
        _prove_complete(info, values, _second_opinion)  # CharLS itself is strict, but takes nothing behind the scan
    elif info.kind in _LENIENT and (info.end_added or opinion is _second_opinion or _may_be_cut(info, values)):
        _prove_complete(info, values, opinion)
    return Decoded(values=values, decoder=decoder)


def within_precision(values: NDArray[np.generic], info: CodestreamInfo, *, lossy: bool) -> NDArray[np.generic]:
    """Returns decoded values in the range of the codestream's own precision; lossy ones are clipped to it.

    Raises:
        ImageRejectedError: CORRUPT_PIXELS where a lossless codestream leaves its range: its differences are damaged.
    """
    if info.precision == values.dtype.itemsize * 8:
        return values
    low = -(1 << info.precision - 1) if info.signed else 0
    high = low + (1 << info.precision) - 1
    least, greatest = int(values.min()) if info.signed else 0, int(values.max())
    if low <= least and greatest <= high:
        return values
    if not lossy:
        raise corrupt(f"values from {least} to {greatest} out of a codestream of {info.precision} bits")
    return np.clip(cast("NDArray[np.int32]", values), low, high)


def _first_opinion(info: CodestreamInfo) -> NDArray[np.generic] | None:
    try:
        values = _DECODERS[info.kind](info)
    except (RuntimeError, ValueError, OverflowError, IndexError):
        return None
    return _checked(values, info)


def _jpeg(info: CodestreamInfo) -> NDArray[np.generic]:
    return cast("NDArray[np.generic]", imagecodecs.jpeg8_decode(info.data))


def _jpeg_ls(info: CodestreamInfo) -> NDArray[np.generic]:
    return cast("NDArray[np.generic]", imagecodecs.jpegls_decode(info.data))


def _jpeg2000(info: CodestreamInfo) -> NDArray[np.generic]:
    return cast("NDArray[np.generic]", imagecodecs.jpeg2k_decode(info.data))


def _htj2k(info: CodestreamInfo) -> NDArray[np.generic]:
    with refuse_unraisable():
        return cast("NDArray[np.generic]", imagecodecs.htj2k_decode(info.data))


def _rle(info: CodestreamInfo) -> NDArray[np.generic]:
    cell = np.dtype(f"<u{info.precision // 8}")
    content = imagecodecs.dicomrle_decode(info.data, cell)
    return np.frombuffer(content, cell).reshape(info.rows, info.columns)


_DECODERS: Final[dict[CodestreamKind, Callable[[CodestreamInfo], NDArray[np.generic]]]] = {
    CodestreamKind.JPEG_DCT: _jpeg,
    CodestreamKind.JPEG_LOSSLESS: _jpeg,
    CodestreamKind.JPEG_LS: _jpeg_ls,
    CodestreamKind.JPEG_2000: _jpeg2000,
    CodestreamKind.HTJ2K: _htj2k,
    CodestreamKind.RLE: _rle,
}


def _second_opinion(info: CodestreamInfo) -> NDArray[np.generic] | None:
    """Asks pydicom with pylibjpeg, under the transfer syntax that the codestream really has."""
    syntax: UID = _SYNTAXES[info.kind]
    if info.kind is CodestreamKind.JPEG_DCT and info.precision == 8:
        syntax = JPEGBaseline8Bit
    decode = cast("Callable[..., tuple[NDArray[np.generic], object]]", get_decoder(syntax).as_array)
    try:
        with quiet_pydicom():
            values, _ = decode(
                encapsulate([info.data]),
                index=0,
                raw=True,
                # pylibjpeg-rle 2.2.0 panics on short segments, with an exception that is no Exception
                decoding_plugin="pydicom" if info.kind is CodestreamKind.RLE else "pylibjpeg",
                rows=info.rows,
                columns=info.columns,
                number_of_frames=1,
                samples_per_pixel=1,
                bits_allocated=8 if info.precision <= 8 else 16 if info.precision <= 16 else 32,
                bits_stored=info.precision,
                pixel_representation=int(bool(info.signed)),
                photometric_interpretation="MONOCHROME2",
                pixel_keyword="PixelData",
            )
    except (RuntimeError, ValueError, AttributeError, NotImplementedError):
        return None
    return _checked(values, info)


def _checked(values: NDArray[np.generic], info: CodestreamInfo) -> NDArray[np.generic] | None:
    """Refuses an array that is not the one image of integers which the codestream's header announces."""
    if values.shape != (info.rows, info.columns) or values.dtype.kind not in "iu":
        return None
    return values


def _prove_complete(info: CodestreamInfo, values: NDArray[np.generic], decode: _Opinion) -> None:
    """Tests that a JPEG scan codes every pixel: bytes put after a complete scan do not change the image.

    libjpeg fills what is missing, and takes these bytes for it if they are there.
    """
    scan = info.data[:-2].rstrip(b"\xff")
    for filler in _FILLERS:
        other = decode(replace(info, data=scan + filler + EOI))
        if other is None or not np.array_equal(other, values):
            raise truncated("the JPEG scan ends before the image does")


def _may_be_cut(info: CodestreamInfo, values: NDArray[np.generic]) -> bool:
    """Tells whether an image ends as libjpeg leaves one whose scan was cut, and nothing proves the contrary.

    What is missing is decoded from bits that are all 0: blocks of the DC value before them, or pixels that differ from
    their prediction by a constant. A cut inside the last block goes unseen if an end marker was put after it.
    """
    if info.kind is CodestreamKind.JPEG_DCT and info.scans > 1:
        return True  # what a scan of a progressive JPEG lacks is filled from the scans before
    if info.kind is CodestreamKind.JPEG_DCT:
        rows, columns = values.shape
        block = values[(rows - 1) // _BLOCK * _BLOCK :, (columns - 1) // _BLOCK * _BLOCK :]
        return bool((block == values[-1, -1]).all())
    return _ends_in_constant_residuals(values) and not constant_end_is_coded(info, values)


def _ends_in_constant_residuals(values: NDArray[np.generic]) -> bool:
    """Tells whether the last pixels have equal prediction residuals under any predictor.

    Source: ITU-T T.81 table H.1 (selection values 1 to 7).
    """
    end = values[-2:, -_BLOCK - 1 :].astype(np.int64)
    if end.shape != (2, _BLOCK + 1):
        return True
    pixel, left, above, corner = end[1, 1:], end[1, :-1], end[0, 1:], end[0, :-1]
    predictions = (
        left,
        above,
        corner,
        left + above - corner,
        left + (above - corner >> 1),
        above + (left - corner >> 1),
        left + above >> 1,
    )
    return any(len(set(((pixel - prediction) & 0xFFFF).tolist())) == 1 for prediction in predictions)
