"""Which changes an image goes through in an epoch: a pure function of seed, epoch and key.

Comes in: `AugmentConfig`, seed, epoch, key. Goes out: `AugmentParameters`. The numbers come from a counter-based
generator, so neither batches, workers nor the order of images matter. Refuses probabilities and ranges that are none.

Source of the defaults: Buehler, Large-scale Radiograph Pre-training (TUM 2024), section 3.3.3; Sudre et al.,
Longitudinal segmentation of age-related white matter hyperintensities, 2017 (bias field).
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import ConfigError

BIAS_TERMS = {order: (order + 1) * (order + 2) // 2 for order in range(1, 6)}
"""Products x^i y^j with i + j of at most the order."""
_FIXED_NUMBERS = 19
_LEAST_SIGMA = 0.05
"""Pixels: a narrower blur changes nothing that 16 bits could show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """How likely and how strong each change is; the defaults are those of the thesis, in its order.

    Attributes:
        affine_p, scale, rotation_degrees: Axes scaled by 1 - scale to 1 + scale, then rotated about the middle.
        flip_p: Left and right exchanged.
        gamma_p, gamma_log: Raised to the power of e^U(-gamma_log, gamma_log).
        noise_p, noise_sigma: Normal noise of a deviation up to noise_sigma (the image is 0 to 1).
        bias_p, bias_magnitude, bias_order: Multiplied by the exponential of a random polynomial.
        blur_p, blur_sigma: Gaussian blur of up to blur_sigma pixels along each axis.
        crop_p, crop_least: Cut to a share of its sides of at least crop_least.
    """

    affine_p: float = 0.5
    scale: float = 0.1
    rotation_degrees: float = 20.0
    flip_p: float = 0.5
    gamma_p: float = 0.5
    gamma_log: float = 0.5
    noise_p: float = 0.3
    noise_sigma: float = 0.25
    bias_p: float = 0.3
    bias_magnitude: float = 0.5
    bias_order: int = 3
    blur_p: float = 0.3
    blur_sigma: float = 2.0
    crop_p: float = 1.0
    crop_least: float = 0.9

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("affine_p", "flip_p", "gamma_p", "noise_p", "bias_p", "blur_p", "crop_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} is {getattr(self, name)}; expected a probability from 0 to 1")
        for name in ("rotation_degrees", "gamma_log", "noise_sigma", "bias_magnitude", "blur_sigma"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(f"augment.{name} is {getattr(self, name)}; expected at least 0")
        if not 0 <= self.scale < 1:
            raise ConfigError(f"augment.scale is {self.scale}; expected at least 0 and less than 1")
        if not 0 < self.crop_least <= 1:
            raise ConfigError(f"augment.crop_least is {self.crop_least}; expected more than 0 and at most 1")
        if self.bias_order not in BIAS_TERMS:
            raise ConfigError(f"augment.bias_order is {self.bias_order}; expected 1 to {max(BIAS_TERMS)}")


NO_AUGMENTATION = AugmentConfig(affine_p=0, flip_p=0, gamma_p=0, noise_p=0, bias_p=0, blur_p=0, crop_p=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentParameters:
    """What happens to one image; None and False leave it as it is.

    Attributes:
        affine: (rows scaled by, columns scaled by, rotation in radians, counter-clockwise as seen).
        flipped: Left and right exchanged.
        gamma: The exponent.
        noise_sigma: Deviation of the noise.
        noise_seed: Of the noise's generator.
        bias: Coefficients of the polynomial's terms.
        bias_order: Of the polynomial.
        blur: Deviations in pixels along rows and columns.
        crop: (share of the rows, share of the columns, place from the top, place from the left), 0 to 1 each.
    """

    affine: tuple[float, float, float] | None = None
    flipped: bool = False
    gamma: float | None = None
    noise_sigma: float | None = None
    noise_seed: int = 0
    bias: tuple[float, ...] | None = None
    bias_order: int = 3
    blur: tuple[float, float] | None = None
    crop: tuple[float, float, float, float] | None = None


def draw_parameters(config: AugmentConfig, key: str, *, seed: int, epoch: int) -> AugmentParameters:
    """The changes of one image in one epoch.

    Example:
        >>> once = draw_parameters(AugmentConfig(), "a" * 32, seed=1, epoch=0)
        >>> once == draw_parameters(AugmentConfig(), "a" * 32, seed=1, epoch=0)
        True
    """
    digest = hashlib.sha256(f"radio-augment-v1 {seed} {epoch} {key}".encode()).digest()
    # Always as many numbers, each with one meaning: to change one probability moves nothing else.
    number = _uniform(digest, _FIXED_NUMBERS + BIAS_TERMS[config.bias_order]).tolist()

    def between(index: int, least: float, most: float) -> float:
        return least + (most - least) * number[index]

    low, high = 1 - config.scale, 1 + config.scale
    angle = math.radians(between(3, -config.rotation_degrees, config.rotation_degrees))
    magnitude, least = config.bias_magnitude, config.crop_least
    terms = range(_FIXED_NUMBERS, _FIXED_NUMBERS + BIAS_TERMS[config.bias_order])
    sigmas = (between(13, 0, config.blur_sigma), between(14, 0, config.blur_sigma))
    side = between(16, least, 1)  # one share for both sides keeps the shape
    return AugmentParameters(
        affine=(between(1, low, high), between(2, low, high), angle) if number[0] < config.affine_p else None,
        flipped=number[4] < config.flip_p,
        gamma=math.exp(between(6, -config.gamma_log, config.gamma_log)) if number[5] < config.gamma_p else None,
        noise_sigma=between(8, 0, config.noise_sigma) if number[7] < config.noise_p else None,
        noise_seed=int.from_bytes(digest[16:24], "little") >> 1,
        bias=tuple(between(i, -magnitude, magnitude) for i in terms) if number[11] < config.bias_p else None,
        bias_order=config.bias_order,
        blur=sigmas if number[12] < config.blur_p and max(sigmas) >= _LEAST_SIGMA else None,
        crop=(side, side, number[17], number[18]) if number[15] < config.crop_p else None,
    )


def _uniform(digest: bytes, count: int) -> NDArray[np.float64]:
    """[count] numbers from 0 to below 1. NumPy keeps the raw stream of Philox across versions."""
    raw = np.random.Philox(key=np.frombuffer(digest[:16], np.uint64)).random_raw(count)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
