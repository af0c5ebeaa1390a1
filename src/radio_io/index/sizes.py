"""The sizes of the images of a dataset.

Comes in: a dataset folder and a predicate. Goes out: heights and widths, [images] int64 in pixels.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_io.index.catalog import open_index
from radio_io.index.gate import checked_predicate


def image_sizes(root: Path, *, where: str | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the selected images.

    Raises:
        DatasetError: There is no index.
        QueryError: The predicate is refused.
    """
    with open_index(root) as connection:
        condition = checked_predicate(connection, where) if where else "true"
        found = connection.execute(f"SELECT rows, columns FROM images WHERE ({condition})").fetchnumpy()  # noqa: S608
    return found["rows"].astype(np.int64), found["columns"].astype(np.int64)
