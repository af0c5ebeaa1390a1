"""How much fine detail an image holds against its coarse detail.

Comes in: rendered pixels. Goes out: a number from 0 up. Refuses nothing: the number is a column to sort by.

It is the spread of what a 3 x 3 mean removes, over the spread of what a 9 x 9 mean removes from the 3 x 3 mean, in the
middle of the image. Blur lowers it and noise raises it, so the least sharp and the noisiest images of one device lie at
the two ends; values of different devices, which filter differently, do not compare.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 256
"""Side of the part in the middle that is looked at, at full resolution, in pixels."""
_FINE: Final = 3
_COARSE: Final = 9


def sharpness(pixels: NDArray[np.uint16]) -> float:
    """The measure of an image `[rows, columns]`; 0 where it is smaller than 16 pixels a side or flat in the middle."""
    if min(pixels.shape) < 16:
        return 0.0
    top, left = (max(length - SIDE, 0) // 2 for length in pixels.shape)
    middle = pixels[top : top + SIDE, left : left + SIDE].astype(np.float32)
    smooth = _mean(middle, _FINE)
    smoother = _mean(smooth, _COARSE)
    rim, coarse_rim = _FINE // 2, _COARSE // 2
    fine = middle[rim:-rim, rim:-rim] - smooth
    coarse = smooth[coarse_rim:-coarse_rim, coarse_rim:-coarse_rim] - smoother
    spread = float(coarse.std())
    return float(fine.std()) / spread if spread > 0 else 0.0


def _mean(values: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The mean over `size` x `size` pixels, where all of them lie in the image."""
    rows, columns = values.shape
    total = values[: rows - size + 1].copy()
    for shift in range(1, size):
        total += values[shift : rows - size + 1 + shift]
    across = total[:, : columns - size + 1].copy()
    for shift in range(1, size):
        across += total[:, shift : columns - size + 1 + shift]
    across /= np.float32(size * size)
    return across
