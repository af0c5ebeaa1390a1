"""Position tables, and their bilinear interpolation to the grid of each image at static shape.

Comes in: the base grid and coordinates. Goes out: tables, source coordinates, embeddings [tokens, size].
Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022 (2-D sine-cosine table);
Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021 (interpolation to other resolutions).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def sine_cosine_table(base_grid: int, size: int) -> Tensor:
    """[1, 1 + base_grid ** 2, size] float32; row 0, of the CLS token, is 0; the first half of the rest depends on x."""
    frequencies = 1 / 10_000 ** (np.arange(size // 4) / (size / 4))
    angles = np.outer(np.arange(base_grid), frequencies)  # [base_grid, size / 4]
    axis = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # [base_grid, size / 2]
    grid = np.concatenate([np.tile(axis, (base_grid, 1)), np.repeat(axis, base_grid, axis=0)], axis=1)
    return torch.from_numpy(np.concatenate([np.zeros((1, size)), grid])[None]).float()


def source_coordinates(positions: NDArray[np.int32], grid: NDArray[np.int32], base_grid: int) -> NDArray[np.float64]:
    """Where patches of an image lie in the base grid; `positions` is [n, 2], `grid` [2], both (rows, columns).

    Equal to the coordinates of `F.interpolate(mode="bilinear", align_corners=False)` from the base grid to `grid`.
    """
    return np.maximum((positions + 0.5) * (base_grid / grid) - 0.5, 0)


def interpolate(table: Tensor, coordinates: Tensor, base_grid: int) -> Tensor:
    """[tokens, size]: the table at fractional (row, column) coordinates [tokens, 2], from its four neighbours."""
    cells = table[0, 1:]  # [base_grid ** 2, size]
    low = coordinates.floor()
    weight = (coordinates - low).to(cells.dtype)
    low = low.long().clamp(max=base_grid - 1)
    high = (low + 1).clamp(max=base_grid - 1)
    y, x = weight[:, :1], weight[:, 1:]
    top = cells[low[:, 0] * base_grid + low[:, 1]] * (1 - x) + cells[low[:, 0] * base_grid + high[:, 1]] * x
    bottom = cells[high[:, 0] * base_grid + low[:, 1]] * (1 - x) + cells[high[:, 0] * base_grid + high[:, 1]] * x
    return top * (1 - y) + bottom * y
