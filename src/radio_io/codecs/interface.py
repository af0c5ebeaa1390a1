"""What every codec offers, and the checks that all of them make.

Comes in: `[rows, columns] uint16` images or encoded bytes. Goes out: the `Codec` protocol, `Strips`, `check_image`,
`check_size`. Refuses: arrays of another type or shape, sizes above `MAX_PIXELS`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import CodecError

# The largest detectors have 4,302 x 3,533 pixels, stitched spine images about 3,000 x 10,000: four times as much.
MAX_PIXELS = 1 << 27
STRIP_BYTES = 2 << 20
"""Pixels of a strip, about: they stay in a core's share of the cache from the last stage of decoding to their use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strips:
    """An image from top to bottom in strips, `[some rows, columns] uint16`, each valid until the next is asked for."""

    shape: tuple[int, int]
    parts: Iterator[NDArray[np.uint16]]


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

    def decode_strips(self, encoded: bytes, step: int, *, is_checked: bool = False) -> Strips:
        """The same image in strips of a multiple of `step` rows, only the last one may have others.

        Whatever is wrong with the bytes raises here, not while strips are taken. `is_checked` says that a checksum of
        all the bytes was right, so that the codec's own need not be looked at.

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


def strip_rows(shape: tuple[int, int], step: int) -> int:
    """The rows of a strip: a multiple of `step`, of about `STRIP_BYTES`.

    Example:
        >>> strip_rows((2000, 1500), 48), strip_rows((2000, 1 << 20), 48), strip_rows((10, 10), 48)
        (672, 48, 48)
    """
    wanted = min(shape[0], STRIP_BYTES // (2 * shape[1]))
    return max(1, wanted // step) * step
