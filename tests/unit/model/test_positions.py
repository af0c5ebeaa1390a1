"""Position tables and their interpolation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from radio_train.model.positions import interpolate, sine_cosine_table, source_coordinates


def raster(h, w):
    return np.stack([np.repeat(np.arange(h), w), np.tile(np.arange(w), h)], 1).astype(np.int32)


@pytest.mark.parametrize(
    "grid",
    [(6, 6), (3, 3), (1, 1), (12, 12), (7, 4), (2, 19), (1, 6), (13, 1), (5, 64)],
    ids=lambda g: f"{g[0]}x{g[1]}",
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_equals_torch_interpolate(grid, dtype, tolerance):  # torch rounds coordinates to float32
    torch.manual_seed(0)
    table = torch.randn(1, 37, 8, dtype=dtype)
    coordinates = torch.from_numpy(source_coordinates(raster(*grid), np.array(grid, np.int32), 6)).to(dtype)
    square = table[:, 1:].reshape(1, 6, 6, 8).permute(0, 3, 1, 2)
    want = (
        functional.interpolate(square, size=grid, mode="bilinear", align_corners=False)
        .permute(0, 2, 3, 1)
        .reshape(-1, 8)
    )
    torch.testing.assert_close(interpolate(table, coordinates, 6), want, atol=tolerance, rtol=tolerance)


def test_the_base_grid_gets_the_table_itself():
    table = sine_cosine_table(6, 16)
    coordinates = torch.from_numpy(source_coordinates(raster(6, 6), np.array((6, 6), np.int32), 6))
    assert torch.equal(interpolate(table, coordinates, 6), table[0, 1:])


def test_every_place_of_the_table_differs_from_every_other():
    table = sine_cosine_table(24, 128)[0]
    distances = torch.cdist(table[1:], table[1:]) + 10 * torch.eye(24 * 24)
    assert float(distances.min()) > 0.1
    assert not table[0].any()  # CLS


def test_the_first_half_depends_on_the_column_alone():
    table = sine_cosine_table(5, 16)[0, 1:].reshape(5, 5, 16)
    assert torch.equal(table[..., :8], table[:1, :, :8].expand(5, 5, 8))
    assert torch.equal(table[..., 8:], table[:, :1, 8:].expand(5, 5, 8))
