"""Draws text into pixels as workstations burn it in: names, dates and numbers, upright or turned, in any polarity.

Comes in: pixels, a text and where and how it stands. Goes out: the pixels with it and the rectangle it fills. Refuses
text that does not fit. Needs Pillow, which comes with the extra `text`.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import UsageError

_MARGIN = 6
_LEAST_CONTRAST = 0.2


class Polarity(StrEnum):
    """How letters stand out."""

    WHITE = "white"
    """White letters on the picture."""
    BLACK = "black"
    """Black letters on the picture; where that is black too, nobody can read them."""
    WHITE_ON_BLACK = "white on black"
    """White letters in a black box."""
    BLACK_ON_WHITE = "black on white"
    """Black letters in a white box."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BurnedText:
    """A text of font size `size` pixels, turned by `turned` degrees, at shares `down`, `right` of the free space."""

    text: str
    size: int
    polarity: Polarity = Polarity.WHITE
    turned: int = 0
    down: float = 0.0
    right: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Burned:
    """The pixels with the text; the rectangle it fills; whether it stands out enough to be read."""

    pixels: NDArray[np.uint16]
    rectangle: tuple[int, int, int, int]
    readable: bool


def burn_text(pixels: NDArray[np.uint16], text: BurnedText, *, bits: int) -> Burned:
    """A copy of `pixels`, [rows, columns] below 2 ** bits, with the text; the rectangle is row, column, height, width.

    Raises:
        UsageError: The text does not fit.
    """
    letters = _letters(text)
    free = [side - size - 2 * _MARGIN for side, size in zip(pixels.shape, letters.shape, strict=True)]
    if min(free) < 0:
        raise UsageError(f"{len(text.text)} letters of {text.size} pixels do not fit into {pixels.shape} pixels")
    row, column = (_MARGIN + round(share * side) for share, side in zip((text.down, text.right), free, strict=True))
    height, width = letters.shape
    result = pixels.copy()
    place = result[row : row + height, column : column + width]
    white = (1 << bits) - 1
    below = place.astype(np.float64)
    if text.polarity in (Polarity.WHITE_ON_BLACK, Polarity.BLACK_ON_WHITE):
        below[:] = 0 if text.polarity is Polarity.WHITE_ON_BLACK else white
    colour = white if text.polarity in (Polarity.WHITE, Polarity.WHITE_ON_BLACK) else 0
    contrast = np.abs(below - colour) / max(np.percentile(pixels, 99.5), 1)
    place[:] = np.rint(below * (1 - letters) + colour * letters).astype(np.uint16)
    readable = bool(np.percentile(contrast[letters > 0.5], 20) >= _LEAST_CONTRAST)
    return Burned(pixels=result, rectangle=(row, column, height, width), readable=readable)


def _letters(text: BurnedText) -> NDArray[np.float64]:
    """How much of each pixel the letters cover, 0 to 1, cut to their size."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=text.size)
    left, top, right, bottom = (round(value) for value in font.getbbox(text.text))
    image = Image.new("L", (right - left + 4, bottom - top + 4), 0)
    ImageDraw.Draw(image).text((2 - left, 2 - top), text.text, fill=255, font=font)
    if text.turned:
        image = image.rotate(text.turned, expand=True, resample=Image.Resampling.BICUBIC)
    return np.asarray(image, np.float64) / 255
