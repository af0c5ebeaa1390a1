"""Patches of pixels: from unsigned integers to numbers in [0, 1], and back to images.

Comes in: rows of patches as the loader packs them. Goes out: scaled rows, normalised targets, images. Everything here
runs where the rows lie, so that 16-bit integers, not floats, cross to the accelerator.
"""

import torch
from torch import Tensor

MINIMUM_RANGE = 1e-6
"""Smallest difference of high and low that is divided by; a flat image becomes 0 and 1, never infinite."""

VARIANCE_EPS = 1e-6
"""Added to a patch's variance. Source: facebookresearch/mae, `models_mae.py`, `forward_loss`."""


def as_bits(patches: Tensor) -> Tensor:
    """The same memory as int16 where it was uint16, since torch indexes and compiles int16 on every device."""
    return patches.view(torch.int16) if patches.dtype == torch.uint16 else patches


def scale_patches(patches: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Patches in [0, 1].

    Args:
        patches: [N, P * P] int16 that holds the bits of uint16, or floats that are scaled already.
        scale: [N, 2] float32, the pixel values that become 0 and 1.
        dtype: Of the result: float32 or float64, since bfloat16 has too few digits for 16-bit pixels.
    """
    if patches.is_floating_point():
        return patches.to(dtype)
    pixels = patches.to(torch.int32).bitwise_and(0xFFFF).to(dtype)  # [N, P * P]
    low, high = scale.to(dtype).split(1, dim=-1)  # [N, 1] each
    return ((pixels - low) / (high - low).clamp(min=MINIMUM_RANGE)).clamp(0.0, 1.0)


def repeat_channels(patches: Tensor, channels: int) -> Tensor:
    """[N, P * P * channels]: each pixel's grey value once a channel, channels last, as ViT-MAE orders a patch."""
    return patches if channels == 1 else patches.repeat_interleave(channels, dim=-1)


def mean_channels(patches: Tensor, channels: int) -> Tensor:
    """[N, P * P]: the mean over the channels that `repeat_channels` made."""
    return patches if channels == 1 else patches.unflatten(-1, (-1, channels)).mean(dim=-1)


def normalize_patches(patches: Tensor) -> Tensor:
    """Each row with mean 0 and variance 1 (`norm_pix`)."""
    mean, deviation = patch_statistics(patches)
    return (patches - mean) / deviation


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each row, [N, 1] each; the deviation of a flat row is 1e-3, not 0."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + VARIANCE_EPS).sqrt()


def patchify(image: Tensor, patch_size: int) -> tuple[Tensor, tuple[int, int]]:
    """The patches of one image and its grid; the image is padded with 0 at the bottom and on the right.

    Args:
        image: [rows, columns], any type.
        patch_size: Side of a patch.

    Returns:
        [N, P * P] in the order of rows, and (patch rows, patch columns).
    """
    height, width = -(-image.shape[0] // patch_size), -(-image.shape[1] // patch_size)
    padded = image.new_zeros(height * patch_size, width * patch_size)
    padded[: image.shape[0], : image.shape[1]] = image
    tiles = padded.view(height, patch_size, width, patch_size).transpose(1, 2)  # [h, w, P, P]
    return tiles.reshape(height * width, patch_size**2), (height, width)


def unpatchify(patches: Tensor, positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """The image that patches make; where a patch is missing it is 0.

    Args:
        patches: [N, P * P].
        positions: [N, 2] integers, (patch row, patch column) of each.
        grid: (patch rows, patch columns) of the image.

    Returns:
        [patch rows * P, patch columns * P].
    """
    height, width = grid
    side = round(patches.shape[-1] ** 0.5)
    tiles = patches.new_zeros(height * width, side, side)
    tiles[positions[:, 0].long() * width + positions[:, 1].long()] = patches.view(-1, side, side)
    return tiles.view(height, width, side, side).transpose(1, 2).reshape(height * side, width * side)
