"""What sheets show: images of the validation split, their masked patches, and patches as pictures again.

Comes in: a configuration, a dataset, a selection; packs and patches. Goes out: packs of the images to show, the places
of predictions, pictures. Refuses a dataset without images.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.errors import DatasetError
from radio_io.loading.order import OrderState, images_of_step
from radio_io.loading.table import ImageTable
from radio_io.loading.torch_loader import PackLoader, TensorPack
from radio_train.background import without_background_now
from radio_train.config import PretrainConfig
from radio_train.model.masking import MaskedPack
from radio_train.run_folder import Selection, load_table, loader_config


def shown_packs(
    config: PretrainConfig, dataset: Path, selection: Selection, *, images: int, seed: int
) -> tuple[str, Iterator[TensorPack]]:
    """The split that the images come from (val, or train where val is empty), and the packs of `images` of them.

    Raises:
        DatasetError: The selection has no image.
    """
    try:
        split, table = "val", load_table(config, dataset, "val", selection)
    except DatasetError:
        split, table = "train", load_table(config, dataset, "train", selection)
    return split, _packs(config, dataset, table, OrderState(seed=seed, step_images=min(images, len(table))))


def _packs(config: PretrainConfig, dataset: Path, table: ImageTable, order: OrderState) -> Iterator[TensorPack]:
    shown = without_background_now(config, dataset, table, images_of_step(table, order))
    with PackLoader(dataset, shown, loader_config(config), order) as loader:
        for pack in loader:
            yield pack
            if pack.is_last_of_step:
                break


def masked_places(masked: MaskedPack, pack: TensorPack, image: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which predictions are of this image, [M] bool, and the number of the patch in it that each of them is of."""
    # The decoder has one CLS row before each image, so row r of the pack is decoder row r + image + 1.
    start, end = (int(pack.offsets[image + number]) + image + 1 for number in (0, 1))
    rows = masked.target_row.cpu().numpy()
    mine = (masked.weight.cpu().numpy() > 0) & (rows >= start) & (rows < end)
    return mine, rows[mine] - start


def patches_of(pack: TensorPack, image: int) -> NDArray[np.float32]:
    """[patches, pixels]: an image of a pack, 0 to 1."""
    start, end = int(pack.offsets[image]), int(pack.offsets[image + 1])
    low, high = (float(value) for value in pack.scale[image])
    return np.clip((pack.patches[start:end].numpy().astype(np.float32) - low) / (high - low), 0, 1)


def on_grid(values: NDArray[Any], pack: TensorPack, image: int) -> NDArray[Any]:
    """[patch rows, patch columns, ...]: [patches, ...] of an image at their places, 0 where background was dropped."""
    places = pack.positions[int(pack.offsets[image]) : int(pack.offsets[image + 1])].numpy()
    whole = np.zeros((*pack.grids[image].tolist(), *values.shape[1:]), values.dtype)
    whole[places[:, 0], places[:, 1]] = values
    return whole


def picture(patches: NDArray[np.float32], pack: TensorPack, image: int) -> NDArray[np.float32]:
    """[rows, columns]: the patches of an image at their places, with its padding; 0 where background was dropped."""
    patch = round(patches.shape[1] ** 0.5)
    whole = on_grid(patches, pack, image)
    height, width = whole.shape[:2]
    cells = whole.reshape(height, width, patch, patch).transpose(0, 2, 1, 3)
    return cells.reshape(height * patch, width * patch)


def write_png(sheet: NDArray[np.float32], out: Path) -> None:
    """Write a picture of values from 0 to 1.

    Raises:
        StorageError: The file cannot be written.
    """
    atomic.make_folder(out.absolute().parent)
    encoded = bytes(imagecodecs.png_encode((sheet * 255).round().astype(np.uint8)))
    atomic.write_file(out.absolute(), encoded)
