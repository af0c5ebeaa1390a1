"""A sheet of pictures: original, masked, reconstructed.

Comes in: a model, its configuration, a dataset. Goes out: a grey PNG, a row an image: original, masked, reconstruction
with the visible patches kept, reconstruction alone where patches were masked. Refuses a dataset without images.
"""

from pathlib import Path

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.errors import DatasetError
from radio_io.loading.order import OrderState
from radio_io.loading.torch_loader import PackLoader, TensorPack
from radio_train.config import PretrainConfig
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import MaskedPack, mask_pack
from radio_train.run_folder import Selection, load_table, loader_config

GAP = 6
TILE_SIDE = 384
MASK_GREY = 0.35
SHEET_SEED = 0x5EE7


@torch.no_grad()
def reconstruction_sheet(
    model: MaskedAutoencoder,
    config: PretrainConfig,
    dataset: Path,
    selection: Selection,
    out: Path,
    *,
    images: int,
    seed: int = SHEET_SEED,
) -> str:
    """Write the sheet and say which split its images come from: val, or train where val is empty.

    Raises:
        DatasetError: The selection has no image.
        StorageError: The file cannot be written.
    """
    try:
        split, table = "val", load_table(config, dataset, "val", selection)
    except DatasetError:
        split, table = "train", load_table(config, dataset, "train", selection)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    order = OrderState(seed=seed, step_images=min(images, len(table)))
    rows: list[NDArray[np.float32]] = []
    with PackLoader(dataset, table, loader_config(config), order) as loader:
        for pack in loader:
            masked = mask_pack(pack, config.model, seed=seed, epoch=0)
            if pack.num_images:
                predicted = model.predict(masked.to(device)).float().cpu().numpy()
                rows.extend(_rows(pack, masked, predicted, config))
            if pack.is_last_of_step:
                break
    model.train(was_training)
    atomic.make_folder(out.absolute().parent)
    atomic.write_file(out.absolute(), _encode(rows))
    return split


def _rows(
    pack: TensorPack, masked: MaskedPack, predicted: NDArray[np.float32], config: PretrainConfig
) -> list[NDArray[np.float32]]:
    patch = config.model.patch_size
    offsets = pack.offsets.numpy()
    target_rows = masked.target_row.numpy()
    used = masked.weight.numpy() > 0
    rows: list[NDArray[np.float32]] = []
    for image in range(pack.num_images):
        start, end = int(offsets[image]), int(offsets[image + 1])
        grid = (int(pack.grids[image, 0]), int(pack.grids[image, 1]))
        low, high = (float(value) for value in pack.scale[image])
        original = np.clip((pack.patches[start:end].numpy().astype(np.float32) - low) / (high - low), 0, 1)
        # The decoder has one CLS row before each image, so row r of the pack is decoder row r + image + 1.
        mine = used & (target_rows >= start + image + 1) & (target_rows < end + image + 1)
        places = target_rows[mine] - (start + image + 1)
        prediction = predicted[mine]
        if config.model.norm_pix:
            mean, deviation = original[places].mean(1, keepdims=True), original[places].std(1, keepdims=True)
            prediction = prediction * deviation + mean
        hidden, filled = original.copy(), original.copy()
        hidden[places], filled[places] = MASK_GREY, np.clip(prediction, 0, 1)
        tiles = [_tile(_image(patches, grid, patch)) for patches in (original, hidden, filled)]
        rows.append(np.concatenate([np.pad(tile, GAP) for tile in tiles], axis=1))
    return rows


def _image(patches: NDArray[np.float32], grid: tuple[int, int], patch: int) -> NDArray[np.float32]:
    cells = patches.reshape(grid[0], grid[1], patch, patch).transpose(0, 2, 1, 3)
    return cells.reshape(grid[0] * patch, grid[1] * patch)


def _tile(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image in a square tile, every n-th pixel of a large one."""
    step = max(1, -(-max(image.shape) // TILE_SIDE))
    small = image[::step, ::step]
    tile = np.zeros((TILE_SIDE, TILE_SIDE), np.float32)
    top, left = (TILE_SIDE - small.shape[0]) // 2, (TILE_SIDE - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    return tile


def _encode(rows: list[NDArray[np.float32]]) -> bytes:
    sheet = np.concatenate(rows, axis=0)
    return bytes(imagecodecs.png_encode((sheet * 255).round().astype(np.uint8)))
