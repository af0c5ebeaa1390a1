"""All changes of an image in their order.

Comes in: an image [rows, columns] float from 0 to 1 and its `AugmentParameters`. Goes out: the changed image, 0 to 1,
smaller where it was cropped. Each image goes its own way, since images of a batch have different sizes: what becomes of
it cannot depend on the others.
"""

import torch
from torch import Tensor

from radio_train.augment import transforms
from radio_train.augment.parameters import AugmentConfig, AugmentParameters, draw_parameters

STAGES = ("affine", "flip", "gamma", "noise", "bias", "blur", "crop")
"""In the order in which they are applied, which is that of the thesis."""


@torch.no_grad()
def apply(image: Tensor, parameters: AugmentParameters) -> Tensor:
    """The image after all its changes."""
    for stage in STAGES:
        image = apply_stage(image, stage, parameters)
    return image.clamp(0, 1)


def apply_stage(image: Tensor, stage: str, parameters: AugmentParameters) -> Tensor:
    """The image after one of the `STAGES`, if its parameters ask for it."""
    p = parameters
    if stage == "affine" and p.affine is not None:
        return transforms.affine(image, *p.affine)
    if stage == "flip" and p.flipped:
        return transforms.flip(image)
    if stage == "gamma" and p.gamma is not None:
        return transforms.gamma(image, p.gamma)
    if stage == "noise" and p.noise_sigma is not None:
        return transforms.noise(image, p.noise_sigma, p.noise_seed)
    return _apply_late_stage(image, stage, p)


def augment(image: Tensor, config: AugmentConfig, key: str, *, seed: int, epoch: int) -> Tensor:
    """The image as training sees it in an epoch: equal for equal seed, epoch and key."""
    return apply(image, draw_parameters(config, key, seed=seed, epoch=epoch))


def _apply_late_stage(image: Tensor, stage: str, p: AugmentParameters) -> Tensor:
    if stage == "bias" and p.bias is not None:
        return transforms.bias(image, p.bias, p.bias_order)
    if stage == "blur" and p.blur is not None:
        return transforms.blur(image, *p.blur)
    if stage == "crop" and p.crop is not None:
        return transforms.crop(image, *p.crop)
    return image
