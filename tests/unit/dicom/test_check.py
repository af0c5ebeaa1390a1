"""Checks: exact statistics, and reasons for images that show nothing."""

import time

import numpy as np
import pytest

from radio_io.dicom.check import check
from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.polarity import polarity_suspect
from radio_io.dicom.render import Radiograph, render, render_parameters
from radio_io.errors import ImageRejectedError
from unit.dicom.make_dicom import dataset_of, parsed, picture


def radiograph(pixels, mask=None):
    return Radiograph(
        pixels=pixels,
        bits=16,
        offset=0,
        inverted=False,
        polarity_source="PhotometricInterpretation",
        polarity_conflict=False,
        rescale_slope=1.0,
        rescale_intercept=0.0,
        modality_lut=False,
        padding_value=None,
        padding_mask=mask,
        window_center=None,
        window_width=None,
        voi_function=None,
        voi_applied=None,
    )


def refusal(pixels, mask=None):
    with pytest.raises(ImageRejectedError) as caught:
        check(radiograph(pixels, mask))
    return str(caught.value.reason), caught.value.detail


def black(rows=2000, columns=1500):
    return np.zeros((rows, columns), np.uint16)


def write(pixels, lines, *, value=4000, seed=0):
    """Patient information as a station burns it in: glyphs of 30 x 16 pixels with strokes of 4 to 5."""
    random = np.random.default_rng(seed)
    for line in range(lines):
        for letter in range(25):
            glyph = (random.random((6, 4)) < 0.5).repeat(5, 0).repeat(4, 1)
            top, left = 60 + 50 * line, 60 + 24 * letter
            pixels[top : top + 30, left : left + 16][glyph] = value
    return pixels


def bones(rows=400, columns=300, seed=0):
    """A limb on dark air: soft tissue, two bright bones, noise; 0 is air."""
    y, x = np.mgrid[:rows, :columns] / max(rows, columns)
    middle = columns / max(rows, columns) / 2
    tissue = 900 * np.exp(-(((x - middle) / 0.2) ** 4))
    bright = sum(1400 * np.exp(-(((x - middle - shift - 0.02 * np.sin(5 * y)) / 0.02) ** 2)) for shift in (-0.08, 0.06))
    noise = np.random.default_rng(seed).normal(0, 12, y.shape)
    return np.clip(200 + tissue + bright + noise, 0, 4095).astype(np.uint16)


def test_measures_exactly_what_fits_the_grid():
    pixels = picture(300, 200)
    statistics = check(radiograph(pixels))
    ordered = np.sort(pixels.ravel())
    assert (statistics.minimum, statistics.maximum) == (ordered[0], ordered[-1])
    assert statistics.mean == pytest.approx(pixels.mean())
    for share, value in (
        (0.005, statistics.percentile_0_5),
        (0.01, statistics.percentile_1),
        (0.5, statistics.percentile_50),
        (0.99, statistics.percentile_99),
        (0.995, statistics.percentile_99_5),
    ):
        assert value == ordered[int(np.ceil(share * pixels.size)) - 1]
    assert statistics.saturated_fraction == pytest.approx((pixels == pixels.max()).mean())


def test_measures_large_images_on_a_grid():
    pixels = picture(2500, 2000)
    pixels[1, 1], pixels[3, 3] = 0, 65535  # between the points of the grid
    statistics = check(radiograph(pixels))
    assert (statistics.minimum, statistics.maximum) == (0, 65535)
    low, middle, high = np.percentile(pixels, (0.5, 50, 99.5))
    assert statistics.percentile_0_5 == pytest.approx(low, abs=8)
    assert statistics.percentile_50 == pytest.approx(middle, abs=8)
    assert statistics.percentile_99_5 == pytest.approx(high, abs=8)


def test_leaves_padding_out():
    pixels = picture(300, 200)
    pixels[:100] = 60000
    mask = pixels == 60000
    statistics, without = check(radiograph(pixels, mask)), check(radiograph(pixels[100:]))
    for name in ("minimum", "maximum", "mean", "percentile_0_5", "percentile_50", "percentile_99_5"):
        assert getattr(statistics, name) == pytest.approx(getattr(without, name)), name


def test_leaves_padding_of_minus_2000_out_of_signed_images():
    pixels = picture(300, 200, signed=True)
    pixels[pixels < -1900] = -1900
    pixels[:100] = -2000
    dataset = dataset_of(pixels, bits=12, PixelPaddingValue=-2000)
    stored = decode_pixels(parsed(dataset))
    image = render(stored, render_parameters(dataset, stored))
    assert check(image).minimum == pixels[100:].min() + 2048


@pytest.mark.parametrize("value", [0, 1, 4095, 65535])
def test_refuses_a_constant_image(value):
    assert refusal(np.full((300, 200), value, np.uint16)) == ("BLANK_IMAGE", f"every pixel is {value}")


def test_refuses_an_image_that_is_constant_but_for_its_padding():
    pixels = np.full((300, 200), 9, np.uint16)
    pixels[:100] = 777
    assert refusal(pixels, pixels == 777)[0] == "BLANK_IMAGE"


@pytest.mark.parametrize("lines", [1, 3, 6])
@pytest.mark.parametrize("noise", [0, 2])
@pytest.mark.parametrize("inverse", [False, True])
def test_refuses_patient_information_on_black(lines, noise, inverse):
    pixels = write(black(), lines)
    pixels += np.random.default_rng(0).integers(0, noise + 1, pixels.shape).astype(np.uint16)
    assert refusal(4095 - pixels + noise if inverse else pixels)[0] == "BLANK_IMAGE"


def test_refuses_pure_noise():
    noise = np.random.default_rng(0).poisson(500, (1000, 800)).astype(np.uint16)
    reason, detail = refusal(noise)
    assert reason == "BLANK_IMAGE"
    assert "noise" in detail


def test_refuses_a_few_dead_pixels():
    pixels = black()
    pixels[::401, ::307] = 4095
    assert refusal(pixels)[0] == "BLANK_IMAGE"


def test_refuses_a_small_picture_in_a_black_frame():
    pixels = black()
    pixels[900:1150, 600:780] = picture(250, 180)
    reason, detail = refusal(pixels)
    assert reason == "NEARLY_EMPTY"
    assert "0.01" in detail
    assert "0.02 are needed" in detail


@pytest.mark.parametrize(("rows", "columns"), [(500, 400), (1000, 200), (2000, 1500)])
def test_accepts_a_picture_in_a_black_frame_from_a_twentieth_on(rows, columns):
    pixels = write(black(), 3)
    pixels[-rows:, -columns:] = picture(rows, columns)
    assert check(radiograph(pixels)).content_fraction > 0.04


@pytest.mark.parametrize("size", [(16, 16), (20, 100), (64, 48), (169, 211), (2, 3)])
def test_accepts_small_images(size):
    assert check(radiograph(picture(*size))).content_fraction > 0.5


def test_accepts_few_grey_levels():
    assert check(radiograph(picture(300, 200, bits=4).astype(np.uint16))).content_fraction > 0.5


def test_measures_content_between_0_and_1():
    pixels = black()
    pixels[:1000] = picture(1000, 1500)
    assert check(radiograph(pixels)).content_fraction == pytest.approx(0.5, abs=0.02)
    assert check(radiograph(picture(2000, 1500))).content_fraction > 0.99


@pytest.mark.parametrize("seed", range(5))
def test_suspects_inverted_limbs_and_not_right_ones(seed):
    right = bones(seed=seed)
    assert check(radiograph(right)).polarity_suspect < 0.3
    assert check(radiograph(4095 - right)).polarity_suspect > 0.7


def test_scores_an_image_and_its_negative_symmetrically():
    pixels = bones()
    low, high = int(pixels.min()), int(pixels.max())
    score = polarity_suspect(pixels, low, high)
    assert polarity_suspect(4095 - pixels, 4095 - high, 4095 - low) == pytest.approx(1 - score, abs=1e-3)


def test_is_undecided_about_what_shows_no_sign():
    assert polarity_suspect(np.zeros((8, 8), np.uint16), 0, 1) == 0.5
    assert polarity_suspect(np.zeros((100, 100), np.uint16), 0, 0) == 0.5


def test_is_fast_enough():
    image = radiograph(picture(2000, 1500))
    times = []
    for _ in range(7):
        start = time.perf_counter()
        check(image)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.008 * 3, "measured 3 to 4 ms; three times the budget leaves room for a busy machine"
