"""Which patches of an image are background: those that hold almost one value where the model looks.

Comes in: the stored pixels of an image, the values that become 0 and 1, a threshold. Goes out: the span of each patch,
and which patches are kept. Refuses nothing. All of it is arithmetic on whole numbers, so that every machine finds the
same patches.

A patch is background where its lowest and its highest pixel, both clipped to the values that become 0 and 1, lie at
most `permille` thousandths of that range apart: air, blackened collimation, saturated metal. Pixels that pad an image
to whole patches do not count.
"""

import numpy as np
from numpy.typing import NDArray

LEAST_KEPT = 16
"""Patches kept of an image at least, those of the greatest span, so that some stay visible and some are masked."""

Spans = NDArray[np.int32]
"""[patches], row by row: how far the lowest and the highest pixel of each patch lie apart."""


def patch_spans(pixels: NDArray[np.uint16], scale: tuple[float, float], patch: int) -> Spans:
    """The span of each patch of an image; `scale` are the values that become 0 and 1.

    Example:
        >>> patch_spans(np.array([[0, 9, 5], [0, 0, 5]], np.uint16), (1, 7), 2).tolist()
        [6, 0]
    """
    low, high = int(scale[0]), int(scale[1])
    lowest, highest = (_by_patch(reduce, pixels, patch).clip(low, high) for reduce in (np.minimum, np.maximum))
    return (highest - lowest).ravel()


def kept_count(spans: Spans, scale: tuple[float, float], permille: int) -> int:
    """How many patches of an image are kept.

    Example:
        >>> kept_count(np.array([0] * 30 + [20, 21] * 20, np.int32), (0, 1000), 20)
        20
    """
    found = int(np.count_nonzero(1000 * spans.astype(np.int64) > permille * (int(scale[1]) - int(scale[0]))))
    return max(found, min(LEAST_KEPT, len(spans)))


def richest(spans: Spans, count: int) -> NDArray[np.int64]:
    """The places of the `count` patches of the greatest span, in their order; of equal ones the first.

    With `kept_count` patches these are all that are no background.

    Example:
        >>> richest(np.array([3, 9, 3, 7], np.int32), 3).tolist()
        [0, 1, 3]
    """
    return np.sort(np.argsort(-spans, kind="stable")[:count])


def _by_patch(reduce: np.ufunc, pixels: NDArray[np.uint16], patch: int) -> Spans:
    """[patch rows, patch columns]: the minimum or maximum of each patch."""
    height, width = pixels.shape
    whole = height // patch * patch
    rows = np.empty((-(-height // patch), width), np.uint16)
    reduce.reduce(pixels[:whole].reshape(-1, patch, width), axis=1, out=rows[: whole // patch])
    if whole < height:
        reduce.reduce(pixels[whole:], axis=0, out=rows[-1])
    return reduce.reduceat(rows, np.arange(0, width, patch), axis=1).astype(np.int32)
