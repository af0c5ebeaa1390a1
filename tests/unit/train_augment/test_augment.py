"""Changes of images: exact on charts, drawn as promised, and the same whatever the batch."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from radio_io.errors import ConfigError
from radio_train.augment import transforms
from radio_train.augment.parameters import NO_AUGMENTATION, AugmentConfig, draw_parameters
from radio_train.augment.pipeline import STAGES, apply, apply_stage, augment

KEYS = [f"{i:032x}" for i in range(4000)]


def chart(rows=301, columns=221):
    """Soft discs at known places, no two at one distance from the middle; and these places as (column, row)."""
    places = [(60.0, 70.0), (160.0, 90.0), (75.0, 200.0), (140.0, 231.0), (110.0, 150.0)]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    image = torch.zeros(rows, columns)
    for px, py in places:
        image += torch.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2))
    return image, places


def centroid(image, place, reach=12):
    """The (column, row) of the middle of the disc near a place."""
    x, y = round(place[0]), round(place[1])
    part = image[y - reach : y + reach + 1, x - reach : x + reach + 1].numpy().astype(float)
    row, column = ndimage.center_of_mass(part)
    return x - reach + column, y - reach + row


@pytest.mark.parametrize(
    ("scale_rows", "scale_columns", "degrees"),
    [(1, 1, 0), (1, 1, 20), (1, 1, -20), (0.9, 1.1, 0), (1.1, 0.9, 13), (0.93, 1.04, -7.5)],
)
def test_affine_moves_each_mark_to_where_geometry_says(scale_rows, scale_columns, degrees):
    image, places = chart()
    angle = math.radians(degrees)
    found = transforms.affine(image, scale_rows, scale_columns, angle)
    middle_x, middle_y = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    for px, py in places:
        dx, dy = (px - middle_x) * scale_columns, (py - middle_y) * scale_rows
        expected = (
            middle_x + dx * math.cos(angle) + dy * math.sin(angle),  # rows run downwards
            middle_y - dx * math.sin(angle) + dy * math.cos(angle),
        )
        assert centroid(found, expected) == pytest.approx(expected, abs=0.02)


def test_affine_agrees_with_scipy():
    rng = np.random.default_rng(1)
    image = ndimage.gaussian_filter(rng.random((90, 71)), 2).astype(np.float32)
    matrix = transforms.affine_matrix((90, 71), 0.95, 1.07, math.radians(11)).numpy()
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])  # (column, row) to (row, column)
    expected = ndimage.affine_transform(image, swap @ inverse @ swap, order=1, mode="constant")
    found = transforms.affine(torch.from_numpy(image), 0.95, 1.07, math.radians(11)).numpy()
    inside = (slice(12, -12), slice(12, -12))  # they differ in how the outermost pixel fades into the air
    assert np.abs(found - expected)[inside].max() < 1e-4


def test_a_quarter_turn_is_exact():
    image = torch.rand(61, 61)
    torch.testing.assert_close(transforms.affine(image, 1, 1, math.pi / 2), torch.rot90(image), atol=2e-5, rtol=0)


def test_what_comes_from_outside_is_air():
    turned = transforms.affine(torch.ones(200, 100), 0.9, 0.9, math.radians(20))
    assert turned[0, 0] == turned[-1, -1] == 0
    assert turned[100, 50] == pytest.approx(1)


def test_flip_and_crop_are_exact():
    image = torch.arange(200 * 150, dtype=torch.float32).reshape(200, 150)
    assert torch.equal(transforms.flip(image), torch.from_numpy(image.numpy()[:, ::-1].copy()))
    assert torch.equal(transforms.crop(image, 0.9, 0.9, 0, 0), image[:180, :135])
    assert torch.equal(transforms.crop(image, 0.9, 0.9, 1, 1), image[20:, 15:])
    assert torch.equal(transforms.crop(image, 0.95, 1.0, 0.5, 0.3), image[5:195, :])


def test_gamma_bias_and_blur_agree_with_their_formulas():
    image = torch.rand(64, 48, dtype=torch.float64)
    assert torch.allclose(transforms.gamma(image, 1.4), image**1.4)
    coefficients = tuple(np.linspace(-0.5, 0.5, 10))
    y, x = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 48), indexing="ij")
    powers = [(i, j) for i in range(4) for j in range(4 - i)]
    field = np.exp(sum(c * x**i * y**j for c, (i, j) in zip(coefficients, powers, strict=True)))
    np.testing.assert_allclose(transforms.bias(image, coefficients, 3).numpy(), image.numpy() * field, rtol=1e-6)
    blurred = transforms.blur(image.float(), 1.7, 0.8).numpy()
    expected = ndimage.gaussian_filter(image.numpy(), (1.7, 0.8), mode="mirror", radius=(6, 3))
    np.testing.assert_allclose(blurred, expected, atol=1e-5)


def test_noise_has_its_deviation_and_its_seed():
    image = torch.full((400, 300), 0.5)
    noisy = transforms.noise(image, 0.2, 7)
    assert torch.equal(noisy, transforms.noise(image, 0.2, 7))
    assert not torch.equal(noisy, transforms.noise(image, 0.2, 8))
    assert float((noisy - image).std()) == pytest.approx(0.2, rel=0.01)
    assert float((noisy - image).mean()) == pytest.approx(0, abs=0.003)


def test_parameters_have_the_probabilities_and_ranges_of_the_thesis():
    drawn = [draw_parameters(AugmentConfig(), key, seed=3, epoch=1) for key in KEYS]
    shares = {
        "affine": (0.5, [p.affine is not None for p in drawn]),
        "flip": (0.5, [p.flipped for p in drawn]),
        "gamma": (0.5, [p.gamma is not None for p in drawn]),
        "noise": (0.3, [p.noise_sigma is not None for p in drawn]),
        "bias": (0.3, [p.bias is not None for p in drawn]),
        "blur": (0.3, [p.blur is not None for p in drawn]),
        "crop": (1.0, [p.crop is not None for p in drawn]),
    }
    for name, (probability, flags) in shares.items():
        error = 4 * math.sqrt(probability * (1 - probability) / len(drawn))
        assert np.mean(flags) == pytest.approx(probability, abs=error + 1e-9), name
    samples = {
        "scale": ([p.affine[0] for p in drawn if p.affine], 0.9, 1.1),
        "rotation": ([math.degrees(p.affine[2]) for p in drawn if p.affine], -20, 20),
        "log gamma": ([math.log(p.gamma) for p in drawn if p.gamma], -0.5, 0.5),
        "noise": ([p.noise_sigma for p in drawn if p.noise_sigma is not None], 0, 0.25),
        "bias": ([c for p in drawn if p.bias for c in p.bias], -0.5, 0.5),
        "blur": ([s for p in drawn if p.blur for s in p.blur], 0, 2),
        "crop": ([p.crop[0] for p in drawn if p.crop], 0.9, 1.0),
    }
    from scipy.stats import kstest

    for name, (values, low, high) in samples.items():
        assert low <= min(values), name
        assert max(values) <= high, name
        assert kstest(values, "uniform", (low, high - low)).pvalue > 1e-3, name


def test_changes_are_independent_of_each_other():
    drawn = [draw_parameters(AugmentConfig(), key, seed=3, epoch=1) for key in KEYS]
    flags = np.array(
        [[p.affine is not None, p.flipped, p.gamma is not None, p.noise_sigma is not None, p.bias is not None]
         for p in drawn]
    ).astype(float)  # fmt: skip
    off = np.corrcoef(flags.T) - np.eye(flags.shape[1])
    assert np.abs(off).max() < 4 / math.sqrt(len(drawn))


def test_depends_on_seed_epoch_and_key_alone():
    config = AugmentConfig()
    image = torch.rand(70, 50)
    first = augment(image, config, KEYS[3], seed=1, epoch=2)
    for other in KEYS[:10]:  # whatever is augmented before
        augment(torch.rand(40, 30), config, other, seed=1, epoch=2)
    assert torch.equal(first, augment(image, config, KEYS[3], seed=1, epoch=2))
    assert draw_parameters(config, KEYS[3], seed=1, epoch=2) != draw_parameters(config, KEYS[3], seed=1, epoch=3)
    assert draw_parameters(config, KEYS[3], seed=1, epoch=2) != draw_parameters(config, KEYS[3], seed=2, epoch=2)
    assert draw_parameters(config, KEYS[3], seed=1, epoch=2) != draw_parameters(config, KEYS[4], seed=1, epoch=2)


def test_to_switch_one_change_off_leaves_the_others():
    with_noise = draw_parameters(AugmentConfig(noise_p=1), KEYS[1], seed=1, epoch=0)
    without = draw_parameters(AugmentConfig(noise_p=0), KEYS[1], seed=1, epoch=0)
    assert with_noise.noise_sigma is not None
    assert without.noise_sigma is None
    assert (without.affine, without.bias, without.crop) == (with_noise.affine, with_noise.bias, with_noise.crop)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 400), (48, 48), (203, 157)])
def test_any_size_stays_an_image(shape):
    everything = AugmentConfig(**dict.fromkeys([f"{s}_p" for s in STAGES], 1.0))  # pyright: ignore
    for key in KEYS[:20]:
        found = augment(torch.rand(shape), everything, key, seed=0, epoch=0)
        assert 0 < found.shape[0] <= shape[0]
        assert 0 < found.shape[1] <= shape[1]
        assert bool(torch.isfinite(found).all())
        assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_without_changes_the_image_is_the_same():
    image = torch.rand(30, 20)
    parameters = draw_parameters(NO_AUGMENTATION, KEYS[0], seed=0, epoch=0)
    assert torch.equal(apply(image, parameters), image)
    assert all(apply_stage(image, stage, parameters) is image for stage in STAGES)


@pytest.mark.parametrize(
    "wrong", [{"flip_p": 1.5}, {"scale": 1.0}, {"crop_least": 0.0}, {"bias_order": 0}, {"noise_sigma": -0.1}]
)
def test_refuses_what_cannot_be_meant(wrong):
    with pytest.raises(ConfigError, match=f"augment.{next(iter(wrong))}"):
        AugmentConfig(**wrong)
