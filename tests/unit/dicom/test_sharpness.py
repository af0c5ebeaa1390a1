"""The measure of fine against coarse detail."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from radio_io.dicom.sharpness import sharpness

RNG = np.random.default_rng(5)


def texture(blur=0.0):
    """Structure of every size, `[600, 600]`, and a little noise of the detector on top of the blurred picture."""
    scales = sum(size * gaussian_filter(noise_of(size), size) for size in (1, 2, 4, 8, 16, 32))
    picture = gaussian_filter(scales, blur) if blur else scales
    return (20_000 + 1000 * picture / scales.std() + RNG.normal(0, 5, picture.shape)).astype(np.uint16)


def noise_of(size):
    return np.random.default_rng(size).normal(0, 1, (600, 600))


def test_falls_with_blur():
    values = [sharpness(texture(blur)) for blur in (0, 1, 2, 3)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[-1]


def test_rises_with_noise():
    image = texture(1)
    noisy = (image + RNG.normal(0, 200, image.shape)).astype(np.uint16)
    assert sharpness(noisy) > 2 * sharpness(image)


def test_does_not_depend_on_contrast():
    image = (texture() - 15_000).astype(np.uint16)
    assert sharpness((image * 4).astype(np.uint16)) == pytest.approx(sharpness(image), rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 500), (15, 15), (16, 16), (17, 4000)])
def test_takes_any_shape(shape):
    assert sharpness(np.zeros(shape, np.uint16)) == 0
    assert sharpness(RNG.integers(0, 4096, shape, np.uint16)) >= 0
