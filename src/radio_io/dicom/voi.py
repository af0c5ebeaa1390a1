"""VOI LUTs and windows, exactly by the standard.

Comes in: a dataset; modality values. Goes out: `VoiParameters`; presentation values of 16 bits.

The choice where several exist is fixed and recorded: the first VOI LUT, since it is the maker's own curve; else the
first window; else, or where the chosen one would leave an image of one brightness, the robust percentiles.

Source: DICOM PS3.3 C.11.2.1.1 (VOI LUT), C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT).
"""

from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radio_io.dicom.lookup import FULL, LookupTable, read_table
from radio_io.dicom.values import items, numbers, term

VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
VoiApplied = Literal["VOI_LUT", "WINDOW", "PERCENTILES"]
TOP: Final = FULL - 1
ROBUST: Final = (0.005, 0.995)
"""Quantiles that the fallback maps to black and white."""
MISSED: Final = 0.99
"""A curve misses the data where this share of the pixels gets one brightness though their values differ,"""
MIN_SPAN: Final = FULL // 32
"""or where the robust percentiles of the brightness are closer than this: 8 of 256 grey levels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Center and width in modality units, and the function that they belong to."""

    center: float
    width: float
    function: VoiFunction

    def curve(self, modality: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns presentation values in `[0, 1]` for modality values of any shape."""
        if self.function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (modality - self.center) / self.width, -700, 700)))
        if self.function == "LINEAR_EXACT":
            return np.clip((modality - self.center) / self.width + 0.5, 0, 1)
        if self.width == 1:  # x <= c - 0.5 is black, all else white
            return (modality > self.center - 0.5).astype(np.float64)
        return np.clip((modality - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)

    def in_units(self, slope: float, intercept: float, top: int | None) -> "Window":
        """Returns the window that does the same to `(modality - intercept) / slope`.

        With `top`, to `top` minus these values. LINEAR keeps its half-pixel shift, so that the function of the same
        name gives the same picture.
        """
        shift, one = (0.5, 1.0) if self.function == "LINEAR" else (0.0, 0.0)
        center = (self.center - shift - intercept) / slope
        width = (self.width - one) / abs(slope) + one
        if top is not None:
            center = top - center
        return Window(center=center + shift, width=width, function=self.function)


@dataclass(frozen=True, kw_only=True, slots=True)
class VoiParameters:
    """All usable VOI LUTs and windows of a header, in its order."""

    tables: tuple[LookupTable, ...]
    windows: tuple[Window, ...]


def read_voi(dataset: Dataset) -> VoiParameters:
    """Reads VOI LUTs and windows; what cannot be meant counts as absent."""
    tables = [read_table(item, signed=False) for item in items(dataset, "VOILUTSequence")]
    name = term(dataset, "VOILUTFunction")
    function: VoiFunction = name if name in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    windows: list[Window] = []
    for center, width in zip(numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), strict=False):
        if center is not None and width is not None and width >= (1 if function == "LINEAR" else 1e-6):
            windows.append(Window(center=center, width=width, function=function))
    return VoiParameters(tables=tuple(table for table in tables if table), windows=tuple(windows))


def apply_voi(
    pixels: NDArray[np.uint16],
    *,
    bits: int,
    slope: float,
    intercept: float,
    voi: VoiParameters,
    padding: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.uint16], VoiApplied]:
    """Maps values below `2**bits`, whose modality value is `pixel * slope + intercept`, to 16 bits of presentation.

    Returns:
        `[rows, columns]` uint16, 0 the least modality value, and which curve was applied.
    """
    modality = np.arange(1 << bits, dtype=np.float64) * slope + intercept
    image = pixels if padding is None else pixels[~padding]
    histogram = np.bincount(image.ravel(), minlength=1 << bits)
    total = int(histogram.sum())
    flat = int(histogram.max()) >= MISSED * total
    curve, applied = _percentiles(modality, histogram), cast("VoiApplied", "PERCENTILES")
    candidates: list[tuple[NDArray[np.uint16], VoiApplied]] = []
    if voi.tables:
        candidates.append((_table_curve(voi.tables[0], modality), "VOI_LUT"))
    if voi.windows:
        candidates.append((_to_16_bits(voi.windows[0].curve(modality)), "WINDOW"))
    for candidate, name in candidates:
        if flat or not _misses(candidate, histogram, total):
            curve, applied = candidate, name
            break
    return np.take(curve, pixels), applied


def _misses(curve: NDArray[np.uint16], histogram: NDArray[np.int64], total: int) -> bool:
    """Tells whether a curve would show the data of this histogram as nearly one brightness."""
    brightness = np.bincount(curve, weights=histogram)
    low, high = np.searchsorted(np.cumsum(brightness), np.asarray(ROBUST) * total)
    return bool(brightness.max() >= MISSED * total or high - low < MIN_SPAN)


def _to_16_bits(fraction: NDArray[np.float64]) -> NDArray[np.uint16]:
    return np.floor(fraction * TOP + 0.5).astype(np.uint16)


def _table_curve(table: LookupTable, modality: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Applies a VOI LUT; its first input, US or SS, is read in the way that covers more of the data's range."""
    inputs = np.rint(modality).astype(np.int64)
    count = len(table.entries)
    low, high = int(inputs.min()), int(inputs.max())
    overlaps = {first: min(high, first + count - 1) - max(low, first) for first in (table.first, table.first - FULL)}
    first = max(overlaps, key=lambda key: overlaps[key])
    entries = table.entries[np.clip(inputs - first, 0, count - 1)].astype(np.float64)
    return _to_16_bits(entries / ((1 << table.bits) - 1))


def _percentiles(modality: NDArray[np.float64], histogram: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Maps the robust percentiles of the data linearly to black and white."""
    positions = np.searchsorted(np.cumsum(histogram), np.asarray(ROBUST) * histogram.sum())
    first, last = np.sort(modality[np.minimum(positions, len(modality) - 1)])
    return _to_16_bits(np.clip((modality - first) / max(last - first, 1e-9), 0, 1))
