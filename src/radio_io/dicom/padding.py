"""Which stored values are padding around the image and no image.

Comes in: a dataset and the kind of its stored values. Goes out: `PaddingRange`.
Source: DICOM PS3.3 C.7.5.1.1.2 (Pixel Padding Value and Pixel Padding Range Limit, both inclusive).
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radio_io.dicom.values import number


@dataclass(frozen=True, kw_only=True, slots=True)
class PaddingRange:
    """Stored values from `low` to `high` are padding; `value` is the Pixel Padding Value itself."""

    value: int
    low: int
    high: int

    def mask(self, pixels: NDArray[np.generic]) -> NDArray[np.bool_] | None:
        """Returns `[rows, columns]` bool, true at padding; None where no pixel is, or where all are."""
        limits = np.iinfo(pixels.dtype.name)
        low, high = max(self.low, int(limits.min)), min(self.high, int(limits.max))
        if low > high:
            return None
        cells = cast("NDArray[np.int32]", pixels)
        mask = cells == low if low == high else (cells >= low) & (cells <= high)
        return mask if mask.any() and not mask.all() else None


def read_padding(dataset: Dataset, *, bits: int, signed: bool) -> PaddingRange | None:
    """Reads the range of padding values in terms of the stored values; None where there is none.

    The attributes are US or SS, and writers confuse them: -2000 and 63536 are the same 16 bits, and are read as
    the pixels are.
    """
    written = written_padding(dataset)
    return None if written is None else padding_range(written, bits=bits, signed=signed)


def written_padding(dataset: Dataset) -> tuple[int, int] | None:
    """Reads Pixel Padding Value and Range Limit as they stand there, the same number twice without a limit."""
    value, limit = number(dataset, "PixelPaddingValue"), number(dataset, "PixelPaddingRangeLimit")
    return None if value is None else (int(value), int(value if limit is None else limit))


def padding_range(written: tuple[int, int], *, bits: int, signed: bool) -> PaddingRange:
    """The range of padding values in terms of stored values of that many bits and sign."""
    first, second = (_as_stored(value, bits, signed) for value in written)
    return PaddingRange(value=first, low=min(first, second), high=max(first, second))


def _as_stored(value: int, bits: int, signed: bool) -> int:
    width = 32 if bits > 16 else 16
    pattern = value % (1 << width)
    return pattern - (1 << width) if signed and pattern >= 1 << width - 1 else pattern
