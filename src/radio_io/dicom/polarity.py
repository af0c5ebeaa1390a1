"""A score for images that look inverted although the header says that they are not.

Comes in: rendered pixels. Goes out: a number in `[0, 1]`. Refuses nothing: the score is a column to sort by.

Every single sign is wrong for some correct radiographs: collimated borders are white or black, lungs are dark, contrast
media turn vessels around. So two weak signs are added. Bones, vessels and ribs are thin and bright on something darker,
which skews the differences from a local mean upwards; and the middle of an image is brighter than its border.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 256
"""Longer side of the image on which the signs are measured, in pixels."""
DISTANCES: Final = (2, 4)
WEIGHT: Final = 0.5
BORDER: Final = 0.03
EXTREME: Final = 0.03
LARGE: Final = 0.05
STEEPNESS: Final = 3.0


def polarity_suspect(pixels: NDArray[np.uint16], low: int, high: int) -> float:
    """Returns how much an image looks as if air were bright: 0 not at all, 0.5 undecided, 1 very much.

    Args:
        pixels: `[rows, columns]`, 0 is air if the header is right.
        low: robust least value.
        high: robust greatest value.
    """
    if min(pixels.shape) < 16 or high <= low:
        return 0.5
    picture = np.clip((_shrunk(pixels) - low) / (high - low), 0, 1).astype(np.float32)
    inside = _inside(picture)
    sign = _center_over_border(picture) + sum(WEIGHT * _skewness(picture, inside, distance) for distance in DISTANCES)
    return float(1 / (1 + np.exp(STEEPNESS * sign)))


def _inside(picture: NDArray[np.float32]) -> NDArray[np.bool_]:
    """True where there may be anatomy: not in large black or white areas, which collimators and direct exposure leave.

    Few black or white pixels are the darkest or brightest anatomy and stay.
    """
    inside = np.ones(picture.shape, np.bool_)
    for extreme in (picture < EXTREME, picture > 1 - EXTREME):
        if extreme.mean() > LARGE:
            inside &= ~extreme
    return inside


def _shrunk(pixels: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Shrinks to `SIDE` by the mean of four pixels of each block."""
    step = max(max(pixels.shape) // SIDE, 1)
    rows, columns = (length // step * step for length in pixels.shape)
    half = step // 2
    parts = [pixels[top:rows:step, left:columns:step] for top in (0, half) for left in (0, half)]
    total = parts[0].astype(np.float32)
    for part in parts[1:]:
        total += part
    return total / np.float32(len(parts))


def _center_over_border(picture: NDArray[np.float32]) -> float:
    rows, columns = picture.shape
    width = max(int(BORDER * min(rows, columns)), 1)
    frame = np.ones(picture.shape, bool)
    frame[width:-width, width:-width] = False
    center = picture[rows // 4 : rows - rows // 4, columns // 4 : columns - columns // 4]
    return float(center.mean() - picture[frame].mean())


def _skewness(picture: NDArray[np.float32], inside: NDArray[np.bool_], distance: int) -> float:
    """Skewness, in `(-1, 1)`, of the differences from the mean of four neighbours; above 0 if peaks are bright.

    Only where the pixel and its neighbours are neither black nor white: the edges of collimators are no anatomy.
    """
    here = (slice(distance, -distance), slice(distance, -distance))
    around = [
        (slice(distance, -distance), slice(None, -2 * distance)),
        (slice(distance, -distance), slice(2 * distance, None)),
        (slice(None, -2 * distance), slice(distance, -distance)),
        (slice(2 * distance, None), slice(distance, -distance)),
    ]
    usable = inside[here].copy()
    total = np.zeros_like(picture[here])
    for neighbour in around:
        usable &= inside[neighbour]
        total += picture[neighbour]
    counted = int(np.count_nonzero(usable))
    if counted < SIDE:
        return 0.0
    values = picture[here] - total / np.float32(len(around))
    values *= usable
    squares = values * values
    variance = float(squares.sum()) / counted
    squares *= values
    return float(np.tanh(float(squares.sum()) / counted / variance**1.5)) if variance > 1e-12 else 0.0
