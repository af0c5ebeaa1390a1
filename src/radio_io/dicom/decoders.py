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

_SYNTAXES: Final = {
    CodestreamKind.JPEG_DCT: JPEGExtended12Bit,
    CodestreamKind.JPEG_LOSSLESS: JPEGLosslessSV1,
    CodestreamKind.JPEG_LS: JPEGLSNearLossless,
    CodestreamKind.JPEG_2000: JPEG2000,
    CodestreamKind.HTJ2K: HTJ2KLossless,
    CodestreamKind.RLE: RLELossless,
}
_FILLERS: Final = (b"\x55\xaa" * 32, b"\x2a\x95" * 32)
"""Bytes that decode to different pixels where a scan is too short; they hold no marker and are no padding."""


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
    values = _first_opinion(info)
    decoder = "imagecodecs"
    if values is None:
        values, decoder = _second_opinion(info), "pylibjpeg"
    if values is None:
        raise corrupt(f"neither imagecodecs nor pylibjpeg decodes this {info.kind} codestream")
    if info.kind in (CodestreamKind.JPEG_DCT, CodestreamKind.JPEG_LOSSLESS):
        _prove_complete(info, values)
    return Decoded(values=values, decoder=decoder)


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
    try:
        decode = cast("Callable[..., tuple[NDArray[np.generic], object]]", get_decoder(syntax).as_array)
        values, _ = decode(
            encapsulate([info.data]),
            index=0,
            raw=True,
            decoding_plugin="pylibjpeg",
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


def _prove_complete(info: CodestreamInfo, values: NDArray[np.generic]) -> None:
    """Tests that a JPEG scan codes every pixel: bytes put after it must not change the image.

    libjpeg fills what is missing with a constant, so this costs a second decoding only where the end marker was
    missing or where the image ends in a constant block.
    """
    if not info.end_added and values[-1, -_BLOCK:].min() != values[-1, -_BLOCK:].max():
        return
    scan = info.data[:-2]
    for filler in _FILLERS:
        other = _first_opinion(replace(info, data=scan + filler + EOI))
        if other is None or not np.array_equal(other, values):
            raise truncated("the JPEG scan ends before the image does")


_BLOCK: Final = 8
