"""A sheet of pictures: original, masked, reconstructed.

Comes in: a model, its configuration, a dataset. Goes out: a grey PNG, a row an image: original, masked, reconstruction
with the visible patches kept, reconstruction alone where patches were masked. Refuses a dataset without images.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from radio_io.loading.torch_loader import TensorPack
from radio_train.config import PretrainConfig
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import MaskedPack, mask_pack
from radio_train.run_folder import Selection
from radio_train.shown_images import masked_places, patches_of, picture, shown_packs, write_png

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
    split, packs = shown_packs(config, dataset, selection, images=images, seed=seed)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    rows: list[NDArray[np.float32]] = []
    for pack in packs:
        masked = mask_pack(pack, config.model, seed=seed, epoch=0)
        if pack.num_images:
            predicted = model.predict(masked.to(device)).float().cpu().numpy()
            rows.extend(_row(pack, image, masked, predicted, config) for image in range(pack.num_images))
    model.train(was_training)
    write_png(np.concatenate(rows, axis=0), out)
    return split


def _row(
    pack: TensorPack, image: int, masked: MaskedPack, predicted: NDArray[np.float32], config: PretrainConfig
) -> NDArray[np.float32]:
    original = patches_of(pack, image)
    mine, places = masked_places(masked, pack, image)
    prediction = predicted[mine]
    if config.model.norm_pix:
        mean, deviation = original[places].mean(1, keepdims=True), original[places].std(1, keepdims=True)
        prediction = prediction * deviation + mean
    hidden, filled = original.copy(), original.copy()
    hidden[places], filled[places] = MASK_GREY, np.clip(prediction, 0, 1)
    tiles = [_tile(picture(patches, pack, image)) for patches in (original, hidden, filled)]
    return np.concatenate([np.pad(tile, GAP) for tile in tiles], axis=1)


def _tile(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image in a square tile, every n-th pixel of a large one."""
    step = max(1, -(-max(image.shape) // TILE_SIDE))
    small = image[::step, ::step]
    tile = np.zeros((TILE_SIDE, TILE_SIDE), np.float32)
    top, left = (TILE_SIDE - small.shape[0]) // 2, (TILE_SIDE - small.shape[1]) // 2
    tile[top : top + small.shape[0], left : left + small.shape[1]] = small
    return tile
