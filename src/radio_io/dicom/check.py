"""Statistics of a rendered radiograph, and the refusal of images without content.

Comes in: a radiograph. Goes out: `ImageStatistics`. Refuses blank and nearly empty images, with the measured values.

Everything but minimum and maximum is measured on a grid of about 750,000 pixels, and percentiles on a quarter of them,
so that a 2000 x 1500 image takes a few milliseconds. A tile of that grid carries content where its values spread by
more than 1 % of the image's robust range, and where it does not mostly consist of the image's background: text on black
is background with strokes. Thresholds were chosen on real radiographs (content 0.3 to 1.0, the least a mammogram with
68 % black), on black images with patient information (below 0.001) and on small pictures in black frames; see
docs/decisions/0003-render-recipe.md.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radio_io.dicom.polarity import polarity_suspect
from radio_io.dicom.render import Radiograph
from radio_io.dicom.sharpness import sharpness
from radio_io.errors import ImageRejectedError, RejectReason

BLANK_CONTENT: Final = 0.0005
"""Share of tiles with content below which an image is blank: a marker or a few scratches."""
MIN_CONTENT: Final = 0.02
"""Share of tiles with content below which an image is nearly empty: 250 x 240 pixels in 2000 x 1500."""
MIN_STRUCTURE: Final = 3.0
"""Spread of tile means over what noise alone gives them: noise 1, blurred noise up to 2, radiographs 20 and more."""
SPREAD: Final = 0.01
BACKGROUND_SHARE: Final = 0.1
BACKGROUND_IN_TILE: Final = 0.6
_GRID_PIXELS: Final = 750_000
_HISTOGRAM_PIXELS: Final = 190_000
"""A percentile of 0.5 of that many independent pixels has a standard error of 0.1 % of the pixels."""
_TILE: Final = 16
_MIN_TILES: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageStatistics:
    """Statistics over the pixels that are no padding, in units of the rendered pixels.

    `content_fraction` is the share of the image's tiles that carry content, `saturated_fraction` the share of pixels at
    the greatest value, `polarity_suspect` a score in `[0, 1]` that air is bright (0.5: undecided), `sharpness` the
    fine detail over the coarse detail in the middle of the image.
    """

    minimum: int
    maximum: int
    mean: float
    percentile_0_5: int
    percentile_1: int
    percentile_50: int
    percentile_99: int
    percentile_99_5: int
    content_fraction: float
    saturated_fraction: float
    polarity_suspect: float
    sharpness: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Content:
    """How many tiles carry content, and how far their means spread beyond noise."""

    fraction: float
    structure: float


def check(radiograph: Radiograph) -> ImageStatistics:
    """Measures a radiograph and refuses it where it shows nothing.

    Raises:
        ImageRejectedError: BLANK_IMAGE where every pixel is the same, or all is noise or text; NEARLY_EMPTY where only
            a small part carries content. The detail holds the measured values.
    """
    pixels, mask = radiograph.pixels, radiograph.padding_mask
    minimum, maximum = _limits(pixels, mask)
    if minimum == maximum:
        raise ImageRejectedError(RejectReason.BLANK_IMAGE, f"every pixel is {minimum}")
    step = max(round((pixels.size / _GRID_PIXELS) ** 0.5), 1)
    grid = np.ascontiguousarray(pixels[::step, ::step])
    histogram = _histogram(grid, None if mask is None else mask[::step, ::step], maximum)
    low, p1, middle, p99, high = _percentiles(histogram, (0.005, 0.01, 0.5, 0.99, 0.995))
    content = _content(grid, histogram, robust_range=high - low)
    _refuse_empty(content, minimum, maximum)
    values, counted = np.arange(len(histogram)), max(int(histogram.sum()), 1)
    return ImageStatistics(
        minimum=minimum,
        maximum=maximum,
        mean=float(histogram @ values / counted),
        percentile_0_5=low,
        percentile_1=p1,
        percentile_50=middle,
        percentile_99=p99,
        percentile_99_5=high,
        content_fraction=content.fraction,
        saturated_fraction=float(histogram[maximum] / counted),
        polarity_suspect=polarity_suspect(grid, p1, p99),
        sharpness=sharpness(pixels),
    )


def _limits(pixels: NDArray[np.uint16], mask: NDArray[np.bool_] | None) -> tuple[int, int]:
    if mask is None:
        return int(pixels.min()), int(pixels.max())
    padding = np.negative(mask.astype(np.uint16))  # all ones where padded
    return int((pixels | padding).min()), int((pixels & ~padding).max())


def _histogram(grid: NDArray[np.uint16], mask: NDArray[np.bool_] | None, maximum: int) -> NDArray[np.int64]:
    """How many of about `_HISTOGRAM_PIXELS` pixels, without padding, have each value from 0 to `maximum`."""
    step = max(round((grid.size / _HISTOGRAM_PIXELS) ** 0.5), 1)
    image = grid[::step, ::step]
    chosen = image.ravel() if mask is None else image[~mask[::step, ::step]]
    return np.bincount(chosen, minlength=maximum + 1)


def _percentiles(histogram: NDArray[np.int64], quantiles: tuple[float, ...]) -> list[int]:
    """Least values that at least these shares of the pixels do not exceed."""
    cumulative = np.cumsum(histogram)
    wanted = np.maximum(np.asarray(quantiles) * cumulative[-1], 1)
    return [int(position) for position in np.searchsorted(cumulative, wanted)]


def _content(grid: NDArray[np.uint16], histogram: NDArray[np.int64], *, robust_range: int) -> _Content:
    """Looks for content tile by tile."""
    tiles, size = _tiled(grid)
    if size < 2:
        return _Content(fraction=1.0, structure=float("inf"))
    high, low = tiles.max(axis=1), tiles.min(axis=1)
    columns = grid.shape[1] // size
    high, low = (rows.reshape(len(tiles), columns, size) for rows in (high, low))
    spread = high.max(axis=2) - low.min(axis=2)
    threshold = max(1, int(SPREAD * robust_range))
    active = spread >= threshold
    background = int(histogram.argmax())
    if histogram[background] >= BACKGROUND_SHARE * histogram.sum():
        least, most = max(background - threshold, 0), min(background + threshold, 65535)
        near = tiles - np.uint16(least) <= np.uint16(most - least)  # what is below the least wraps to beyond the most
        counts = near.view(np.uint8).sum(axis=1, dtype=np.uint8)  # at most `_TILE`
        share = counts.reshape(len(tiles), columns, size).sum(axis=2, dtype=np.uint16) / size**2
        active &= share < BACKGROUND_IN_TILE
    return _Content(fraction=float(active.mean()), structure=_structure(tiles, size))


def _tiled(grid: NDArray[np.uint16]) -> tuple[NDArray[np.uint16], int]:
    """Cuts a grid into rows of square tiles, `[tile rows, size, columns]`; an incomplete rim is left out."""
    rows, columns = grid.shape
    size = min(_TILE, max(int((rows * columns / _MIN_TILES) ** 0.5), 2), rows, columns)
    tile_rows, tile_columns = rows // size, columns // size
    return grid[: tile_rows * size, : tile_columns * size].reshape(tile_rows, size, tile_columns * size), size


def _structure(tiles: NDArray[np.uint16], size: int) -> float:
    """Spread of the tile means, over the spread that they would have if each tile held only its own noise."""
    if size < 4 or tiles.size < _MIN_TILES * size**2:
        return float("inf")
    middle = np.ascontiguousarray(tiles[:, size // 2, :].reshape(-1, size).T, np.float32)  # [size, tiles]
    means, noise = middle.mean(axis=0), middle.std(axis=0)
    low, high = np.percentile(means, (5, 95))
    expected = float(np.median(noise)) / size**0.5 * 3.29  # 5th to 95th percentile of a normal distribution
    return float(high - low) / expected if expected > 0 else float("inf")


def _refuse_empty(content: _Content, minimum: int, maximum: int) -> None:
    measured = f"{content.fraction:.4f} of the tiles carry content, values from {minimum} to {maximum}"
    if content.fraction < BLANK_CONTENT:
        raise ImageRejectedError(RejectReason.BLANK_IMAGE, f"{measured}; at least {BLANK_CONTENT} are needed")
    if content.structure < MIN_STRUCTURE:
        detail = f"nothing but noise: tile means spread {content.structure:.1f} times as noise does"
        raise ImageRejectedError(RejectReason.BLANK_IMAGE, detail)
    if content.fraction < MIN_CONTENT:
        raise ImageRejectedError(RejectReason.NEARLY_EMPTY, f"{measured}; at least {MIN_CONTENT} are needed")
