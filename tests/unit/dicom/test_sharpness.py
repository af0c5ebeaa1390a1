"""The measure of fine against coarse detail."""

import numpy as np
import pytest

from radio_io.dicom.sharpness import sharpness

RNG = np.random.default_rng(5)


def edges(width):
    """Ramps of `width` pixels between 1000 and 3000, every 64 pixels, with a little noise."""
    step = np.clip((np.arange(600) % 64 - 16) / width, 0, 1) * (np.arange(600) % 64 < 48)
    return (1000 + 2000 * np.broadcast_to(step, (600, 600)) + RNG.normal(0, 2, (600, 600))).astype(np.uint16)


def test_falls_with_blur():
    values = [sharpness(edges(width)) for width in (1, 3, 9)]
    assert values[0] > 1.1 * values[1] > 1.2 * values[2] > 0


def test_rises_with_noise():
    image = edges(3)
    noisy = (image + RNG.normal(0, 100, image.shape)).astype(np.uint16)
    assert sharpness(noisy) > 1.5 * sharpness(image)


def test_does_not_depend_on_contrast():
    image = (edges(3) - 900).astype(np.uint16)
    assert sharpness((image * 4).astype(np.uint16)) == pytest.approx(sharpness(image), rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 500), (15, 15), (16, 16), (17, 4000)])
def test_takes_any_shape(shape):
    assert sharpness(np.zeros(shape, np.uint16)) == 0
    assert sharpness(RNG.integers(0, 4096, shape, np.uint16)) >= 0
