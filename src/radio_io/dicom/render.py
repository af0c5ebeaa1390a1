"""One radiograph out of stored pixels, by one versioned recipe.

Comes in: stored pixels and the header's parameters. Goes out: `Radiograph`, uint16, 0 on the air side. Refuses
Modality LUTs that cannot be applied and values of more than 16 bits.

Recipe 1, mode `modality`:
  1. stored values as decoded (`decode_pixels`);
  2. the Modality LUT, applied exactly, or the sign of RescaleSlope; its magnitude and RescaleIntercept are recorded and
     not multiplied in, so that 16 bits suffice and stored values come back exactly
     (Source: DICOM PS3.3 C.11.1; docs/decisions/0003-render-recipe.md);
  3. one inversion, where PhotometricInterpretation says that low is white
     (Source: DICOM PS3.3 C.7.6.3.1.2). PresentationLUTShape says the same thing again for DX (Source: DICOM PS3.3
     C.8.11.3: INVERSE with MONOCHROME1, IDENTITY with MONOCHROME2): it is compared, never applied.
Mode `voi` puts the VOI LUT or window of C.11.2 between 2 and 3 (module `voi`).
"""

from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radio_io.dicom.decode import StoredPixels
from radio_io.dicom.lookup import LookupTable, modality_lut
from radio_io.dicom.padding import PaddingRange, read_padding
from radio_io.dicom.values import number, term
from radio_io.dicom.voi import VoiParameters, apply_voi, read_voi
from radio_io.errors import ImageRejectedError, RejectReason

RECIPE_VERSION: Final = 1
RenderMode = Literal["modality", "voi"]
MAX_BITS: Final = 16
VOI_BITS: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderParameters:
    """What a header says about how stored values become a picture, as plain values."""

    inverse: bool
    polarity_source: str
    polarity_conflict: bool
    rescale_slope: float
    rescale_intercept: float
    modality_lut: LookupTable | None
    padding: PaddingRange | None
    voi: VoiParameters


@dataclass(frozen=True, kw_only=True, slots=True)
class Radiograph:
    """A rendered image: `[rows, columns]` uint16, below `2**bits`, 0 on the air side.

    Without a Modality LUT, stored value = `offset + pixels`, or `offset + 2**bits - 1 - pixels` where `inverted`;
    physical value = stored value * `rescale_slope` + `rescale_intercept`. `window_center` and `window_width` are the
    first window, in units of `pixels`, for a function of the name `voi_function`; None in mode `voi`, where
    `voi_applied` says which curve has been used. `padding_mask` is true where pixels are padding and no image.
    """

    pixels: NDArray[np.uint16]
    bits: int
    offset: int
    inverted: bool
    polarity_source: str
    polarity_conflict: bool
    rescale_slope: float
    rescale_intercept: float
    modality_lut: bool
    padding_value: int | None
    padding_mask: NDArray[np.bool_] | None
    window_center: float | None
    window_width: float | None
    voi_function: str | None
    voi_applied: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scaled:
    """Values after the modality step, in `[0, 2**bits)`, not yet inverted.

    A modality value is `value * slope + intercept`.
    """

    values: NDArray[np.uint16]
    bits: int
    offset: int
    slope: float
    intercept: float


def render_parameters(dataset: Dataset, stored: StoredPixels) -> RenderParameters:
    """Reads everything about rendering out of a header; what cannot be meant counts as absent."""
    slope = number(dataset, "RescaleSlope")
    intercept = number(dataset, "RescaleIntercept")
    inverse, source, conflict = _polarity(dataset)
    return RenderParameters(
        inverse=inverse,
        polarity_source=source,
        polarity_conflict=conflict,
        rescale_slope=slope or 1.0,
        rescale_intercept=intercept or 0.0,
        modality_lut=modality_lut(dataset, signed=stored.signed),
        padding=read_padding(dataset, bits=stored.bits_stored, signed=stored.signed),
        voi=read_voi(dataset),
    )


def render(stored: StoredPixels, parameters: RenderParameters, mode: RenderMode = "modality") -> Radiograph:
    """Renders stored pixels by recipe 1.

    Raises:
        ImageRejectedError: UNSUPPORTED_PIXELS where the values span more than 16 bits.
    """
    mask = _padding_mask(stored, parameters)
    scaled = _modality(stored, parameters)
    values, bits, applied = scaled.values, scaled.bits, None
    falling = scaled.slope < 0
    inverted = parameters.inverse != falling
    if mode == "voi":
        values, applied = apply_voi(
            values, bits=bits, slope=scaled.slope, intercept=scaled.intercept, voi=parameters.voi, padding=mask
        )
        bits, turn = VOI_BITS, parameters.inverse
    else:
        turn = inverted
    pixels = np.uint16((1 << bits) - 1) - values if turn else values
    window = None
    if mode == "modality" and parameters.voi.windows:
        top = (1 << scaled.bits) - 1
        window = parameters.voi.windows[0].in_units(scaled.slope, scaled.intercept, top if inverted else None)
    return Radiograph(
        pixels=pixels,
        bits=bits,
        offset=scaled.offset,
        inverted=inverted,
        polarity_source=parameters.polarity_source,
        polarity_conflict=parameters.polarity_conflict,
        rescale_slope=parameters.rescale_slope,
        rescale_intercept=parameters.rescale_intercept,
        modality_lut=parameters.modality_lut is not None,
        padding_value=parameters.padding.value if parameters.padding else None,
        padding_mask=mask,
        window_center=window.center if window else None,
        window_width=window.width if window else None,
        voi_function=window.function if window else None,
        voi_applied=applied,
    )


def stored_values(radiograph: Radiograph) -> NDArray[np.int32]:
    """Returns the stored values that a radiograph was rendered from, exactly.

    Raises:
        ValueError: if a Modality LUT, a VOI LUT or a window was applied: those do not come back.
    """
    if radiograph.modality_lut or radiograph.voi_applied is not None:
        raise ValueError("stored values do not come back through a Modality LUT, a VOI LUT or a window")
    values = radiograph.pixels.astype(np.int32)
    if radiograph.inverted:
        values = (1 << radiograph.bits) - 1 - values
    return values + radiograph.offset


def _padding_mask(stored: StoredPixels, parameters: RenderParameters) -> NDArray[np.bool_] | None:
    """Where padding is, within the stored bits or beyond them."""
    mask = parameters.padding.mask(stored.pixels) if parameters.padding else None
    if mask is None or stored.padded is None:
        return stored.padded if mask is None else mask
    return mask | stored.padded


def _modality(stored: StoredPixels, parameters: RenderParameters) -> _Scaled:
    table = parameters.modality_lut
    if table is not None:
        return _Scaled(values=table.look_up(stored.pixels), bits=table.bits, offset=0, slope=1.0, intercept=0.0)
    bits, offset = _range(stored)
    slope = parameters.rescale_slope
    return _Scaled(
        values=_shifted(stored.pixels, offset),
        bits=bits,
        offset=offset,
        slope=slope,
        intercept=parameters.rescale_intercept + slope * offset,
    )


def _range(stored: StoredPixels) -> tuple[int, int]:
    """Number of bits and offset of the possible values; of the actual ones where more than 16 bits are possible."""
    if stored.bits_stored <= MAX_BITS:
        return stored.bits_stored, -(1 << stored.bits_stored - 1) if stored.signed else 0
    low, high = int(stored.pixels.min()), int(stored.pixels.max())
    if low >= 0 and high < 1 << MAX_BITS:
        return MAX_BITS, 0
    if high - low >= 1 << MAX_BITS:
        detail = f"values from {low} to {high} span more than {MAX_BITS} bits"
        raise ImageRejectedError(RejectReason.UNSUPPORTED_PIXELS, detail)
    return MAX_BITS, low


def _shifted(pixels: NDArray[np.generic], offset: int) -> NDArray[np.uint16]:
    """Subtracts the offset in 16 bits: two's complement makes it exact for every width."""
    values = cast("NDArray[np.int32]", pixels)
    if values.dtype == np.uint16 and offset == 0:
        return cast("NDArray[np.uint16]", values)
    shifted = values.astype(np.uint16)
    if offset:
        shifted -= np.uint16(offset % (1 << MAX_BITS))
    return shifted


def _polarity(dataset: Dataset) -> tuple[bool, str, bool]:
    """Whether low values are white, who says so, and whether PresentationLUTShape says the opposite."""
    photometric, shape = term(dataset, "PhotometricInterpretation"), term(dataset, "PresentationLUTShape")
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        inverse = photometric == "MONOCHROME1"
        return inverse, "PhotometricInterpretation", shape == ("IDENTITY" if inverse else "INVERSE")
    if shape in ("INVERSE", "IDENTITY"):
        return shape == "INVERSE", "PresentationLUTShape", False
    return False, "default", False
