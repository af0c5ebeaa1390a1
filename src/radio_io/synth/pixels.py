"""Stored pixels of a planned file, and their encodings.

Comes in: a `FilePlan`. Goes out: the pixels as they are stored, [rows, columns] uint16 below 2 ** bits, and the bytes
of the Pixel Data element in the plan's transfer syntax. Refuses nothing.
"""

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from rle.utils import encode_pixel_data

from radio_io.synth.findings import draw_marker
from radio_io.synth.phantom import PhantomRequest, draw_phantom
from radio_io.synth.plan import Fault, FilePlan

Pixels = NDArray[np.uint16]

SYNTAX_UIDS: dict[str, UID] = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "jpeg_lossless": JPEGLosslessSV1,
    "jpeg_ls": JPEGLSLossless,
    "jpeg_2000": JPEG2000Lossless,
    "rle": RLELossless,
}
_CUT = 0.6  # of a codestream that breaks off
_SHRINKING = 12  # of the radiograph in a nearly empty picture


def phantom_pixels(plan: FilePlan) -> Pixels:
    """The plan's radiograph before polarity: air is 0."""
    shape = (plan.rows, plan.columns)
    number = plan.number if plan.copy_of is None else plan.copy_of
    if plan.fault is Fault.BLACK:
        return np.zeros(shape, np.uint16)
    generator = np.random.default_rng([plan.seed, 3, number])
    if plan.fault is Fault.BLACK_WITH_LETTERS:
        canvas = np.zeros(shape, np.float32)
        draw_marker(canvas, plan.side or "R", generator)
        return (np.clip(canvas, 0, 1) * ((1 << plan.bits) - 1)).astype(np.uint16)
    request = PhantomRequest(
        region=plan.region,
        view=plan.view,
        side=plan.side,
        rows=plan.rows,
        columns=plan.columns,
        bits=plan.bits,
        seed=(plan.seed, 2, number),
        small=plan.small,
        fracture=plan.fracture,
        foreign_material=plan.foreign_material,
    )
    pixels = draw_phantom(request)
    return _nearly_empty(pixels, generator) if plan.fault is Fault.NEARLY_EMPTY else pixels


def stored_pixels(plan: FilePlan) -> Pixels:
    """The pixels as the file stores them: inverted under MONOCHROME1, and once more where they look inverted."""
    pixels = phantom_pixels(plan)
    if plan.monochrome1 == plan.looks_inverted:
        return pixels
    inverted = ((1 << plan.bits) - 1 - pixels).astype(np.uint16)
    if plan.looks_inverted and plan.number % 2:
        inverted[pixels == 0] = 0  # the border was blackened after the inversion
    return inverted


def encode_pixels(pixels: Pixels, plan: FilePlan) -> bytes:
    """The value of Pixel Data, encapsulated where the transfer syntax asks for it."""
    if plan.syntax in ("explicit", "implicit"):
        return pixels.astype("<u2").tobytes()
    frame = _codestream(pixels, plan)
    if plan.fault is Fault.CUT_STREAM:
        frame = frame[: int(len(frame) * _CUT)]
    return encapsulate([frame])


def _codestream(pixels: Pixels, plan: FilePlan) -> bytes:
    if plan.syntax == "jpeg_lossless":
        return bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=plan.bits))
    if plan.syntax == "jpeg_ls":
        return bytes(imagecodecs.jpegls_encode(pixels))
    if plan.syntax == "jpeg_2000":
        return bytes(
            imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, bitspersample=plan.bits)
        )
    layout = Dataset()
    layout.Rows, layout.Columns, layout.SamplesPerPixel, layout.BitsAllocated = plan.rows, plan.columns, 1, 16
    return bytes(encode_pixel_data(pixels.astype("<u2").tobytes(), layout, "<"))


def _nearly_empty(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """A shrunken copy of the radiograph somewhere in black."""
    shrunken = pixels[::_SHRINKING, ::_SHRINKING]
    height, width = shrunken.shape
    top = int(generator.integers(pixels.shape[0] - height))
    left = int(generator.integers(pixels.shape[1] - width))
    little = np.zeros_like(pixels)
    little[top : top + height, left : left + width] = shrunken
    return little
