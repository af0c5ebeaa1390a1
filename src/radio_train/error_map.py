"""Where an image surprises the model: the error of its reconstruction, as a map over the image.

Comes in: a pre-trained model, its configuration, a dataset. Goes out: an RGB PNG, a row an image: the image,
and the image under its map from dark (as expected) over red to yellow. Each patch's error is averaged over the masks
that hid it. Refuses a dataset without images.

A map, not a diagnosis: fine texture and sharp edges are hard to reconstruct too.
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
from radio_train.model.masking import mask_pack
from radio_train.run_folder import Selection, load_table, loader_config

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
    try:
        split, table = "val", load_table(config, dataset, "val", selection)
    except DatasetError:
        split, table = "train", load_table(config, dataset, "train", selection)
    order = OrderState(seed=seed, step_images=min(images, len(table)))
    rows: list[NDArray[np.float32]] = []
    with PackLoader(dataset, table, loader_config(config), order) as loader:
        for pack in loader:
            grids = patch_errors(model, pack, config, masks=masks, seed=seed)
            for index, errors in enumerate(grids):
                rows.append(_row(image_of(pack, index, config.model.patch_size), errors))
            if pack.is_last_of_step:
                break
    height, width = (max(row.shape[axis] for row in rows) for axis in (0, 1))
    padded = [np.pad(row, ((0, height - row.shape[0] + GAP), (0, width - row.shape[1]), (0, 0))) for row in rows]
    sheet = (np.concatenate(padded) * 255).round().astype(np.uint8)
    atomic.make_folder(out.absolute().parent)
    atomic.write_file(out.absolute(), bytes(imagecodecs.png_encode(sheet)))
    return split


@torch.no_grad()
def patch_errors(
    model: MaskedAutoencoder, pack: TensorPack, config: PretrainConfig, *, masks: int, seed: int
) -> list[Grid]:
    """Of each image of a pack, the mean squared error of each patch, [patch rows, patch columns].

    A patch that no mask hid has the mean of the image.
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
        used, places = masked.weight.cpu().numpy() > 0, masked.target_row.cpu().numpy()
        for image, (total, count) in enumerate(zip(sums, counts, strict=True)):
            first = offsets[image] + image + 1  # a CLS row stands before each image
            mine = used & (places >= first) & (places < first + len(total))
            total[places[mine] - first] += error[mine]
            count[places[mine] - first] += 1
    model.train(was_training)
    found: list[Grid] = []
    for image, (total, count) in enumerate(zip(sums, counts, strict=True)):
        mean = total.sum() / max(1.0, count.sum())
        values = np.where(count > 0, total / np.maximum(count, 1), mean)
        found.append(values.reshape(int(pack.grids[image, 0]), int(pack.grids[image, 1])))
    return found


def image_of(pack: TensorPack, index: int, patch: int) -> NDArray[np.float32]:
    """An image of a pack, 0 to 1, with its padding."""
    start, end = int(pack.offsets[index]), int(pack.offsets[index + 1])
    height, width = int(pack.grids[index, 0]), int(pack.grids[index, 1])
    low, high = (float(value) for value in pack.scale[index])
    values = np.clip((pack.patches[start:end].numpy().astype(np.float32) - low) / (high - low), 0, 1)
    cells = values.reshape(height, width, patch, patch).transpose(0, 2, 1, 3)
    return cells.reshape(height * patch, width * patch)


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
