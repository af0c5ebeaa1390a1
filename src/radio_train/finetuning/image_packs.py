"""Images out of a pack, and images of any size into one.

Comes in: a `Pack` of the loader, or images [rows, columns] float from 0 to 1. Goes out: the images at their exact size
on the training device; a `MaskedPack` in which nothing is masked. Each image is padded with air to whole patches, and
the pack has as many rows as the images need: nothing is compiled here, so its shape may change.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_io.loading.batch import Pack
from radio_train.model.config import MaeConfig
from radio_train.model.masking import MaskedPack
from radio_train.model.positions import source_coordinates


def images_of_pack(
    pack: Pack[Tensor], shapes: Sequence[tuple[int, int]], patch: int, device: torch.device
) -> list[Tensor]:
    """The images of a pack, [rows, columns] float32 from 0 to 1, without the padding; `shapes` are their sizes."""
    patches = pack.patches.view(torch.int16).to(device, non_blocking=True)
    offsets, grids, scale = pack.offsets.tolist(), pack.grids.tolist(), pack.scale.tolist()
    images: list[Tensor] = []
    for index, (rows, columns) in enumerate(shapes):
        height, width = grids[index]
        cells = patches[offsets[index] : offsets[index + 1]].view(height, width, patch, patch)
        whole = cells.permute(0, 2, 1, 3).reshape(height * patch, width * patch)[:rows, :columns]
        low, high = scale[index]
        values = (whole.to(torch.int32) & 0xFFFF).float()  # torch computes with no uint16
        images.append(((values - low) / (high - low)).clamp(0, 1))
    return images


def pack_images(images: Sequence[Tensor], config: MaeConfig) -> MaskedPack:
    """All patches of the images, one image after another, each with its CLS row first."""
    patch, device = config.patch_size, images[0].device
    rows: list[Tensor] = []
    coordinates: list[NDArray[np.float64]] = []
    ends = [0]
    for image in images:
        cut, grid = _patches(image, patch)
        rows += [cut.new_zeros(1, patch * patch), cut]
        places = np.indices(grid, np.int32).reshape(2, -1).T  # [patches, 2]
        coordinates += [np.zeros((1, 2)), source_coordinates(places, np.array(grid, np.int32), config.base_grid)]
        ends.append(ends[-1] + 1 + grid[0] * grid[1])
    is_cls = torch.zeros(ends[-1], dtype=torch.bool)
    is_cls[ends[:-1]] = True
    nothing = torch.zeros(0, device=device)
    longest = max(end - start for start, end in pairwise(ends))
    return MaskedPack(
        visible=torch.cat(rows),
        target=nothing,
        encoder_coordinates=torch.from_numpy(np.concatenate(coordinates)).to(device, torch.float32),
        decoder_coordinates=nothing,
        encoder_is_cls=is_cls.to(device),
        decoder_is_cls=nothing,
        decoder_source=nothing,
        target_row=nothing,
        weight=nothing,
        encoder_offsets=torch.tensor(ends, dtype=torch.int32, device=device),
        decoder_offsets=nothing,
        encoder_max=longest,
        decoder_max=0,
    )


def _patches(image: Tensor, patch: int) -> tuple[Tensor, tuple[int, int]]:
    """[patches, patch ** 2] and the grid, the image padded with 0 at the bottom and on the right."""
    grid = (-(-image.shape[0] // patch), -(-image.shape[1] // patch))
    padding = (0, grid[1] * patch - image.shape[1], 0, grid[0] * patch - image.shape[0])
    padded = torch.nn.functional.pad(image, padding)
    cells = padded.view(grid[0], patch, grid[1], patch).permute(0, 2, 1, 3)
    return cells.reshape(grid[0] * grid[1], patch * patch), grid
