"""Where an image surprises the model: the error of its reconstruction, as a map over the image.

Comes in: a pre-trained model, its configuration, a dataset. Goes out: an RGB PNG, a row an image: the image,
and the image under its map from dark (as expected) over red to yellow. Each patch's error is averaged over the masks
that hid it. Refuses a dataset without images.

A map, not a diagnosis: fine texture and sharp edges are hard to reconstruct too.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from radio_io.loading.torch_loader import TensorPack
from radio_train.config import PretrainConfig
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack
from radio_train.run_folder import Selection
from radio_train.shown_images import masked_places, on_grid, patches_of, picture, shown_packs, write_png

MASKS = 8
"""At a mask ratio of 75 %, one patch in 65,000 is then never hidden."""
SIDE = 512
GAP = 6
BRIGHTEST = 99.5
"""The percentile of an image's errors that is shown brightest."""
MAP_SEED = 0xE44
Grid = NDArray[np.float64]


def error_map_sheet(
    model: MaskedAutoencoder,
    config: PretrainConfig,
    dataset: Path,
    selection: Selection,
    out: Path,
    *,
    images: int,
    masks: int = MASKS,
    seed: int = MAP_SEED,
) -> str:
    """Write the sheet and say which split its images come from: val, or train where val is empty.

    Raises:
        DatasetError: The selection has no image.
        StorageError: The file cannot be written.
    """
    split, packs = shown_packs(config, dataset, selection, images=images, seed=seed)
    rows: list[NDArray[np.float32]] = []
    for pack in packs:
        for image, errors in enumerate(patch_errors(model, pack, config, masks=masks, seed=seed)):
            rows.append(_row(picture(patches_of(pack, image), pack, image), errors))
    height, width = (max(row.shape[axis] for row in rows) for axis in (0, 1))
    padded = [np.pad(row, ((0, height - row.shape[0] + GAP), (0, width - row.shape[1]), (0, 0))) for row in rows]
    write_png(np.concatenate(padded), out)
    return split


@torch.no_grad()
def patch_errors(
    model: MaskedAutoencoder, pack: TensorPack, config: PretrainConfig, *, masks: int, seed: int
) -> list[Grid]:
    """Of each image of a pack, the mean squared error of each patch, [patch rows, patch columns].

    A patch that no mask hid has the mean of the image, one of dropped background 0.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    offsets = pack.offsets.tolist()
    sums = [np.zeros(offsets[i + 1] - offsets[i]) for i in range(pack.num_images)]
    counts = [np.zeros(len(each)) for each in sums]
    for number in range(masks):
        masked = mask_pack(pack, config.model, seed=seed, epoch=number).to(device)
        squared = (model.predict(masked).float() - model.target(masked)) ** 2
        error = squared.mean(-1).cpu().numpy()
        for image, (total, count) in enumerate(zip(sums, counts, strict=True)):
            mine, places = masked_places(masked, pack, image)
            total[places] += error[mine]
            count[places] += 1
    model.train(was_training)
    found: list[Grid] = []
    for image, (total, count) in enumerate(zip(sums, counts, strict=True)):
        mean = total.sum() / max(1.0, count.sum())
        values = np.where(count > 0, total / np.maximum(count, 1), mean)
        found.append(on_grid(values, pack, image))
    return found


def overlay(image: NDArray[np.float32], errors: Grid) -> NDArray[np.float32]:
    """[rows, columns, 3]: the image with each patch tinted by its error."""
    brightest = max(float(np.percentile(errors, BRIGHTEST)), 1e-12)
    heat = np.clip(errors / brightest, 0, 1).astype(np.float32)
    patch = image.shape[0] // errors.shape[0]
    heat = np.kron(heat, np.ones((patch, patch), np.float32))
    colour = np.stack([np.ones_like(heat), np.clip(2 * heat - 1, 0, 1), np.zeros_like(heat)], axis=-1)
    strength = (0.7 * heat)[..., None]
    return (image[..., None] * (1 - strength) + colour * strength).astype(np.float32)


def _row(image: NDArray[np.float32], errors: Grid) -> NDArray[np.float32]:
    """The image and its overlay beside each other, every n-th pixel of a large one."""
    step = max(1, -(-max(image.shape) // SIDE))
    grey = np.repeat(image[..., None], 3, axis=-1)
    both = [grey, np.zeros((image.shape[0], GAP * step, 3), np.float32), overlay(image, errors)]
    return np.concatenate(both, axis=1)[::step, ::step]
