"""How an image was taken: the size of its pixels, the exposure, the grid; and whether it was compressed with loss.

Comes in: a dataset. Goes out: `Spacing`, `Exposure`, a bool. Refuses nothing: what is absent, zero, not finite or
outside the range that a radiograph can have is None.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydicom.dataset import Dataset

from radio_io.dicom.values import number, numbers, term, text, texts

# Detectors have 0.02 to 0.4 mm; scanned, reduced and magnified images lie within a decade of that.
_SMALLEST_MM, _LARGEST_MM = 0.005, 5.0
# Relative difference below which two written spacings are the same: headers have three to fourteen digits.
_SAME: Final = 1e-3
_KVP_RANGE = (1.0, 1_000.0)
_MAS_RANGE = (0.0, 100_000.0)
_TIME_RANGE_MS = (0.0, 1_000_000.0)
_DISTANCE_RANGE_MM = (10.0, 20_000.0)
# Source: DICOM PS3.3 C.8.7.10: defined terms of Grid (0018,1166); multi-valued.
_GRIDS: Final = frozenset(
    {"FIXED", "FOCUSED", "RECIPROCATING", "PARALLEL", "CROSSED", "NONE", "IN", "OUT", "STATIONARY"}
)


class SpacingSource(StrEnum):
    """What the stored spacing means."""

    GEOMETRY = "geometry"
    """PixelSpacing in the patient, corrected by the known geometry (PixelSpacingCalibrationType)."""
    FIDUCIAL = "fiducial"
    """PixelSpacing in the patient, measured on an object of known size."""
    CALIBRATED = "calibrated"
    """PixelSpacing differs from ImagerPixelSpacing, without saying how it was calibrated."""
    DETECTOR = "detector"
    """The detector's: no PixelSpacing, or the same as ImagerPixelSpacing."""
    SCANNER = "scanner"
    """The film scanner's (NominalScannedPixelSpacing)."""
    UNSPECIFIED = "unspecified"
    """PixelSpacing alone: detector or patient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spacing:
    """Distances of pixel centres in mm as (between rows, between columns), and what they mean.

    `square` is None where neither spacing nor PixelAspectRatio is known.
    """

    pixel: tuple[float, float] | None
    imager: tuple[float, float] | None
    source: SpacingSource | None
    square: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """Technique factors in the units of their names."""

    kvp: float | None
    mas: float | None
    time_ms: float | None
    distance_mm: float | None
    grid: str | None


def read_spacing(dataset: Dataset) -> Spacing:
    """The spacings with their provenance. Source: DICOM PS3.3 section 10.7.1."""
    pixel, imager = _pair(dataset, "PixelSpacing"), _pair(dataset, "ImagerPixelSpacing")
    scanned = _pair(dataset, "NominalScannedPixelSpacing")
    source = _spacing_source(pixel, imager, scanned, term(dataset, "PixelSpacingCalibrationType"))
    if pixel is None and source is SpacingSource.SCANNER:
        pixel = scanned
    known = pixel or imager
    return Spacing(pixel=pixel, imager=imager, source=source, square=_is_square(known or _aspect_ratio(dataset)))


def read_exposure(dataset: Dataset) -> Exposure:
    """The technique factors, the finer attribute first where there are several."""
    time_ms = (
        _within(number(dataset, "ExposureTimeInms"), *_TIME_RANGE_MS)
        or _within(_scaled(number(dataset, "ExposureTimeInuS"), 1e-3), *_TIME_RANGE_MS)
        or _within(number(dataset, "ExposureTime"), *_TIME_RANGE_MS)
    )
    current_ma = number(dataset, "XRayTubeCurrent")
    product = current_ma * time_ms * 1e-3 if current_ma is not None and time_ms is not None else None
    mas = (
        _within(number(dataset, "ExposureInmAs"), *_MAS_RANGE)
        or _within(_scaled(number(dataset, "ExposureInuAs"), 1e-3), *_MAS_RANGE)
        or _within(number(dataset, "Exposure"), *_MAS_RANGE)
        or _within(product, *_MAS_RANGE)
    )
    return Exposure(
        kvp=_within(number(dataset, "KVP"), *_KVP_RANGE),
        mas=mas,
        time_ms=time_ms,
        distance_mm=_within(number(dataset, "DistanceSourceToDetector"), *_DISTANCE_RANGE_MM),
        grid=_grid(dataset),
    )


def was_compressed_with_loss(dataset: Dataset) -> bool:
    """Whether pixels were compressed with loss at any time, by the flag or by what is written only after a loss.

    Software that stores an image anew often leaves the flag out, or writes 00 for its own step, and keeps the ratio.

    Source: DICOM PS3.3 C.7.6.1.1.5.
    """
    stated = number(dataset, "LossyImageCompression")
    if stated == 1 or any(ratio is not None and ratio > 1 for ratio in numbers(dataset, "LossyImageCompressionRatio")):
        return True
    return stated != 0 and text(dataset, "LossyImageCompressionMethod") is not None


def _pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """Row and column spacing; one value or three cannot be meant."""
    values = numbers(dataset, keyword)
    if len(values) != 2:
        return None
    rows, columns = (_within(value, _SMALLEST_MM, _LARGEST_MM) for value in values)
    return (rows, columns) if rows is not None and columns is not None else None


def _spacing_source(
    pixel: tuple[float, float] | None,
    imager: tuple[float, float] | None,
    scanned: tuple[float, float] | None,
    calibration: str | None,
) -> SpacingSource | None:
    if pixel is None:
        if imager is not None:
            return SpacingSource.DETECTOR
        return SpacingSource.SCANNER if scanned is not None else None
    if calibration in {"GEOMETRY", "FIDUCIAL"}:
        return SpacingSource(calibration.lower())
    if imager is None:
        return SpacingSource.UNSPECIFIED
    same = all(abs(one - other) <= _SAME * other for one, other in zip(pixel, imager, strict=True))
    return SpacingSource.DETECTOR if same else SpacingSource.CALIBRATED


def _aspect_ratio(dataset: Dataset) -> tuple[float, float] | None:
    """Vertical and horizontal pixel size, in any unit (DICOM PS3.3 C.7.6.3.1.7)."""
    values = numbers(dataset, "PixelAspectRatio")
    if len(values) != 2 or not values[0] or not values[1] or min(values[0], values[1]) <= 0:
        return None
    return values[0], values[1]


def _is_square(sizes: tuple[float, float] | None) -> bool | None:
    return None if sizes is None else abs(sizes[0] - sizes[1]) <= _SAME * sizes[1]


def _grid(dataset: Dataset) -> str | None:
    """The defined terms joined by "+"; text that is none of them is dropped."""
    terms = [value.upper() for value in texts(dataset, "Grid") if value]
    known = [value for value in dict.fromkeys(terms) if value in _GRIDS]
    return "+".join(known) or None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _within(value: float | None, low: float, high: float) -> float | None:
    """The value where it is above 0 and in the closed range, else None."""
    return value if value is not None and value > 0 and low <= value <= high else None
