"""What every codec offers, and the checks that all of them make.

Comes in: `[rows, columns] uint16` images or encoded bytes. Goes out: the `Codec` protocol, `check_image`,
`check_size`. Refuses: arrays of another type or shape, sizes above `MAX_PIXELS`.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import CodecError

# The largest detectors have 4,302 x 3,533 pixels, stitched spine images about 3,000 x 10,000: four times as much.
MAX_PIXELS = 1 << 27


class Codec(Protocol):
    """A lossless codec of 16-bit images; stateless, and safe to use from several threads."""

    @property
    def name(self) -> str:
        """The name in configurations and in the index."""
        ...

    @property
    def extension(self) -> str:
        """The member's extension, without a dot."""
        ...

    def encode(self, pixels: NDArray[np.uint16]) -> bytes:
        """The bytes of `pixels`, `[rows, columns] uint16`; the same bytes for the same pixels."""
        ...

    def decode(self, encoded: bytes) -> NDArray[np.uint16]:
        """The image in `encoded`, `[rows, columns] uint16`, writable.

        Raises:
            CodecError: The bytes are cut, changed, too large or of another codec.
        """
        ...

    def level_sizes(self, encoded: bytes) -> tuple[int, ...]:
        """How many of the first bytes hold the image at full, half, quarter ... size, the first one being all.

        A codec that stores one resolution answers with one number.
        """
        ...


def check_image(pixels: NDArray[np.uint16]) -> None:
    """Refuse what no codec stores.

    Raises:
        CodecError: Not two-dimensional, not uint16, empty or too large.
    """
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise CodecError(f"cannot encode {pixels.dtype} of shape {pixels.shape}; expected uint16 of two dimensions")
    check_size(*pixels.shape)


def check_size(rows: int, columns: int) -> None:
    """Refuse an image size that is empty or above `MAX_PIXELS`, before memory is asked for.

    Raises:
        CodecError: The size is impossible.
    """
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise CodecError(f"an image of {rows} x {columns} pixels; expected 1 to {MAX_PIXELS:,} pixels")
