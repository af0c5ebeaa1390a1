"""What neighbouring pixels say about PixelRepresentation, where values fit it whichever it is.

Comes in: settled stored values, and the cells that they are from. Goes out: the same in the other reading, signed or
unsigned, where the header's folds the picture. Refuses nothing: without clear evidence the header is believed.

A wrong sign folds a smooth run of values at one place: where unsigned values pass the middle of their range, or signed
ones 0. Neighbours then lie at opposite ends of the range, and next to each other in the other reading. Edges between
black and white lie at opposite ends, too, but are not as close in the other reading as neighbours are elsewhere in the
picture, or few of each kind; and the picture passes smoothly where the other reading would fold it. Radiographs are
unsigned. So an unsigned header is only doubted where the unused bits of every cell repeat its sign.
"""

from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from radio_io.dicom.bits import Pixels, SettledBits

_SAMPLED_ROWS: Final = 16
"""Enough to pass a right picture in about 1 ms; a suspicion is confirmed on all rows."""
SUSPICIOUS: Final = 4
"""Folds in the sample from which all rows are looked at."""
PROOF: Final = 64
"""Folds that a picture has to have;"""
DISTINCT: Final = 6
"""between so many different values at either end;"""
SHARE: Final = 0.7
"""that are this share of all neighbours at opposite ends;"""
OUTWEIGHING: Final = 4
"""and this many for each place where the other reading would fold."""
_AS_CLOSE: Final = 8
"""Neighbours are close where their step is at most so many times the usual one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Folds:
    """Places where a reading folds although the other is smooth, all jumps of it, and the folds of the other."""

    found: int
    jumps: int
    opposite: int
    distinct: int

    def prove(self, enough: int, distinct: int) -> bool:
        """Whether there are enough, and nothing else explains them."""
        return (
            self.found >= enough
            and self.distinct >= distinct
            and self.found >= SHARE * self.jumps
            and self.found >= OUTWEIGHING * self.opposite
        )


def with_true_sign(settled: SettledBits, cells: NDArray[np.generic]) -> SettledBits:
    """The stored values in the reading that does not fold the picture.

    Source: DICOM PS3.3 C.7.6.3.1.1 (Pixel Representation).
    """
    pixels, bits, signed = settled.pixels, settled.bits, settled.signed
    if pixels.shape[1] < 2 or bits > 16 or not (signed or _repeat_sign(cells, pixels, bits)):
        return settled
    rows = pixels[:: max(pixels.shape[0] // _SAMPLED_ROWS, 1)]
    if not _folds(rows, bits).prove(SUSPICIOUS, 1) or not _folds(pixels, bits).prove(PROOF, DISTINCT):
        return settled
    other = _other_sign(pixels, bits).astype(f"{'u' if signed else 'i'}{pixels.dtype.itemsize}")
    return replace(settled, pixels=cast("Pixels", other), signed=not signed, source="corrected")


def _repeat_sign(cells: NDArray[np.generic], pixels: NDArray[np.generic], bits: int) -> bool:
    """Whether cells hold more than unsigned pixels of so many bits, and exactly what extends the sign of each."""
    size = cells.dtype.itemsize
    if bits >= 8 * size or int(cast("NDArray[np.uint32]", cells).max()) >> bits == 0:
        return False
    return bool(np.array_equal(cells.view(f"i{size}"), _other_sign(pixels, bits)))


def _other_sign(pixels: NDArray[np.generic], bits: int) -> NDArray[np.int32]:
    values = pixels.astype(np.int32)
    if pixels.dtype.kind == "i":
        return values + ((values < 0) << bits)
    return values - ((values >= 1 << bits - 1) << bits)


def _folds(pixels: NDArray[np.generic], bits: int) -> _Folds:
    given, other = pixels.astype(np.int32), _other_sign(pixels, bits)
    step, other_step = np.abs(np.diff(given, axis=1)), np.abs(np.diff(other, axis=1))
    jumps, opposite = step > 3 << bits - 2, other_step > 3 << bits - 2
    if not jumps.any():
        return _Folds(found=0, jumps=0, opposite=0, distinct=0)
    close = _AS_CLOSE * max(int(np.median(np.minimum(step, other_step))), 1)
    least = -(1 << bits - 1) if pixels.dtype.kind == "i" else 0
    found = jumps & (other_step <= close)
    return _Folds(
        found=int(np.count_nonzero(found)),
        jumps=int(np.count_nonzero(jumps)),
        opposite=int(np.count_nonzero(opposite & (step <= close))),
        distinct=_distinct(np.concatenate((given[:, 1:][found], given[:, :-1][found])), least + (1 << bits - 1)),
    )


def _distinct(values: NDArray[np.int32], middle: int) -> int:
    """How many different values there are below the middle or above it, whichever are fewer."""
    different = np.unique(values)
    below = int(np.count_nonzero(different < middle))
    return min(below, len(different) - below)
