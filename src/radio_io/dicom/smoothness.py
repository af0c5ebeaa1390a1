"""What neighbouring pixels say about byte order and row length, where nothing else does.

Comes in: decoded cells. Goes out: cells in the byte order in which they form a picture. Refuses rows of a length that
shears the picture. Both compare sums of steps between neighbours in a sample of rows: a radiograph is smooth, and its
bytes exchanged or its rows of another length are not.
"""

from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from radio_io.dicom.pixel_header import PixelHeader
from radio_io.errors import ImageRejectedError, RejectReason

CLEARLY: Final = 4
"""How many times rougher the claimed reading must be; real pictures give 50 and more, noise gives 1."""
EXCHANGED: Final = 2
LONGER: Final = 1.2
"""The same for row lengths. Rows one pixel too short shear a smooth picture only a little; noise gives 1 +- 0.05."""
_SAMPLED_ROWS: Final = 16
"""Enough to pass a right picture in less than 0.1 ms; a suspicion is confirmed on all rows."""


def in_smoother_byte_order(cells: NDArray[np.generic], bits_stored: int) -> tuple[NDArray[np.generic], bool]:
    """Returns 16-bit cells in the byte order that is far smoother and fits `bits_stored`, and whether that is new.

    Catches big endian data labelled little endian, and RLE segments in the wrong order. Cells that use their high byte
    only are as smooth either way, measured by the range of their values; they are exchanged only where they do not fit
    `bits_stored` as they are.
    """
    if cells.dtype.itemsize != 2 or cells.shape[1] < 2:
        return cells, False
    stride = max(cells.shape[0] // _SAMPLED_ROWS, 1)
    if not all(_is_smoother_swapped(cells[::step]) for step in (stride, 1)):
        return cells, False
    swapped = cells.byteswap()
    if bits_stored < 16 and int(cast("NDArray[np.uint16]", swapped).max()) >> bits_stored:
        return cells, False
    given = cast("NDArray[np.uint16]", cells)
    if not (given & 0xFF).any() and (bits_stored >= 16 or not int(given.max()) >> bits_stored):
        return cells, False
    return swapped, True


def check_row_length(cells: NDArray[np.generic], header: PixelHeader) -> None:
    """Refuses uncompressed cells, one after another, that form a picture only with rows of another length.

    Tried are Rows and Columns exchanged, and longer rows that use up all cells.

    Raises:
        ImageRejectedError: HEADER_CONTRADICTION.
    """
    rows, columns = header.rows, header.columns
    if cells.size == header.pixels:
        other, factor = rows, EXCHANGED
    elif cells.size % rows == 0:
        other, factor = cells.size // rows, LONGER
    else:
        return
    if other == columns or min(other, columns) < 2:
        return
    stride = max(rows // _SAMPLED_ROWS, 1)
    if all(_is_sheared(cells, columns, other, factor, step) for step in (stride, 1)):
        detail = f"Rows {rows} x Columns {columns}, but the cells form a picture with rows of {other}"
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)


def _is_smoother_swapped(cells: NDArray[np.generic]) -> bool:
    given = _steps(cells)
    return given > 0 and _steps(cells.byteswap()) * CLEARLY < given


def _steps(cells: NDArray[np.generic]) -> int:
    return int(np.abs(np.diff(cells.astype(np.int32), axis=1)).sum())


def _is_sheared(cells: NDArray[np.generic], columns: int, other: int, factor: float, step: int) -> bool:
    """Tells whether rows of another length fit better, by the steps between rows or by the jumps at their ends."""
    if _vertical_step(cells, other, step) * factor < _vertical_step(cells, columns, step):
        return True
    within = max(_jump(cells, columns), _jump(cells, columns, columns // 2))
    return factor == LONGER and _jump(cells, other) > CLEARLY * within > 0


def _vertical_step(cells: NDArray[np.generic], columns: int, step: int) -> float:
    """Mean step between a row and the next, for every `step`-th row; infinite where there are no two rows."""
    rows = cells.size // columns
    if rows < 2:
        return float("inf")
    picture = cells[: rows * columns].reshape(rows, columns)
    first, second = picture[:-1:step].astype(np.int64), picture[1::step].astype(np.int64)
    return float(np.abs(first - second[: len(first)]).mean())


def _jump(cells: NDArray[np.generic], columns: int, offset: int = 0) -> float:
    """Mean step between the last cell of a row and the first of the next, `offset` cells later in all rows.

    At the true length, that is the step from the right to the left side of the picture; elsewhere one within it.
    """
    before = cells[columns + offset - 1 : -1 : columns].astype(np.int64)
    after = cells[columns + offset :: columns].astype(np.int64)
    count = min(len(before), len(after))
    return float(np.abs(before[:count] - after[:count]).mean()) if count else 0.0
