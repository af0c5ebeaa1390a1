"""The single changes: geometry, intensity, neighbourhood.

Comes in: an image, [rows, columns] float tensor from 0 (air) to 1, on any device, and what is to be done. Goes out: the
changed image on the same device, of the same size except after `crop`. Values may leave 0 to 1; `pipeline` cuts them
off at the end. Refuses nothing.

kornia is imported where it is needed: its import takes seconds.
"""

import math

import torch
from torch import Tensor

LEAST_SIGMA = 0.05


def affine(image: Tensor, scale_rows: float, scale_columns: float, angle: float) -> Tensor:
    """Scaled along its axes, then rotated counter-clockwise by `angle` radians, both about the middle.

    What was outside of the image is air. Resampled once, bilinearly.
    """
    from kornia.geometry.transform import warp_affine

    rows, columns = image.shape
    matrix = affine_matrix((rows, columns), scale_rows, scale_columns, angle).to(image)
    # warp_affine wants more than one pixel a side, as every grid between corners does.
    if min(rows, columns) < 2:
        return image
    return warp_affine(image[None, None], matrix[None], (rows, columns), padding_mode="zeros", align_corners=True)[0, 0]


def affine_matrix(shape: tuple[int, int], scale_rows: float, scale_columns: float, angle: float) -> Tensor:
    """[2, 3] float64: where `affine` moves (column, row), in pixels from the middle of the first pixel."""
    middle_y, middle_x = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    cosine, sine = math.cos(angle), math.sin(angle)
    # Rows run downwards, so that counter-clockwise as seen takes (x, y) to (x cos + y sin, -x sin + y cos).
    linear = [[cosine * scale_columns, sine * scale_rows], [-sine * scale_columns, cosine * scale_rows]]
    shift = [
        middle_x - linear[0][0] * middle_x - linear[0][1] * middle_y,
        middle_y - linear[1][0] * middle_x - linear[1][1] * middle_y,
    ]
    return torch.tensor([[*linear[0], shift[0]], [*linear[1], shift[1]]], dtype=torch.float64)


def flip(image: Tensor) -> Tensor:
    """Left and right exchanged."""
    return image.flip(1)


def gamma(image: Tensor, exponent: float) -> Tensor:
    """Each value raised to the power; values below 0 are air."""
    return image.clamp(min=0) ** exponent


def noise(image: Tensor, sigma: float, seed: int) -> Tensor:
    """Normal noise added. The same seed gives the same noise on the same kind of device."""
    generator = torch.Generator(image.device).manual_seed(seed)
    return image + sigma * torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)


def bias(image: Tensor, coefficients: tuple[float, ...], order: int) -> Tensor:
    """Multiplied by e to the power of a polynomial in x (columns) and y (rows), both from -1 to 1.

    The terms are x^i y^j, i first, j up to `order` - i.

    Source: Sudre et al., 2017; the terms are those of torchio's RandomBiasField.
    """
    powers = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
    table = torch.zeros(order + 1, order + 1)  # of y, of x
    for (i, j), coefficient in zip(powers, coefficients, strict=True):
        table[j, i] = coefficient
    y, x = (torch.linspace(-1, 1, side, device=image.device, dtype=image.dtype) for side in image.shape)
    exponents = torch.arange(order + 1, device=image.device)
    rows = (y[:, None] ** exponents) @ table.to(image)  # [rows, order + 1]: thin matrices instead of a plane a term
    return image * (rows @ (x[:, None] ** exponents).T).exp()


def blur(image: Tensor, sigma_rows: float, sigma_columns: float) -> Tensor:
    """Gaussian blur, mirrored at the borders; cut off at three deviations."""
    from kornia.filters import gaussian_blur2d

    sigmas = (max(sigma_rows, LEAST_SIGMA), max(sigma_columns, LEAST_SIGMA))
    sizes = [_kernel_size(sigma, side) for sigma, side in zip(sigmas, image.shape, strict=True)]
    return gaussian_blur2d(image[None, None], (sizes[0], sizes[1]), sigmas)[0, 0]


def crop(image: Tensor, share_rows: float, share_columns: float, top: float, left: float) -> Tensor:
    """A window of these shares of the sides; `top` and `left` place it from 0 (first) to 1 (last possible)."""
    height, width = (
        max(1, round(share * s)) for share, s in zip((share_rows, share_columns), image.shape, strict=True)
    )
    y, x = round(top * (image.shape[0] - height)), round(left * (image.shape[1] - width))
    return image[y : y + height, x : x + width]


def _kernel_size(sigma: float, side: int) -> int:
    """Odd, three deviations to each side, and narrow enough that the border can be mirrored."""
    return 2 * min(math.ceil(3 * sigma), side - 1) + 1
