"""A sheet of what fine-tuning sees: each change alone, then all together.

Comes in: a dataset, a selection, an `AugmentConfig`. Goes out: a grey PNG, an image a column, a change a row: original,
each of the `STAGES` alone (always applied), then some epochs with everything at its probability. Refuses a selection
without images.
"""

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_io import atomic
from radio_io.loading.batch import RESOLUTIONS
from radio_io.loading.order import OrderState
from radio_io.loading.table import load_image_table
from radio_train.augment.parameters import AugmentConfig, draw_parameters
from radio_train.augment.pipeline import STAGES, apply, apply_stage
from radio_train.finetuning.classifier import ImageSource
from radio_train.finetuning.config import TrainingConfig
from radio_train.model.config import PRESETS

TILE_SIDE = 256
GAP = 6
EPOCHS = 3
"""Rows of random compositions."""
PREVIEW_SEED = 0xA06


def preview_rows() -> tuple[str, ...]:
    """What the rows of the sheet show, from the top."""
    return ("original", *STAGES, *(f"all of them, epoch {epoch}" for epoch in range(EPOCHS)))


def preview_sheet(
    dataset: Path,
    out: Path,
    config: AugmentConfig | None = None,
    *,
    images: int = 6,
    where: str | None = None,
    seed: int = PREVIEW_SEED,
    resolution: str = "1",
) -> int:
    """Write the sheet; returns of how many images.

    Raises:
        DatasetError: No image is selected.
        StorageError: The file cannot be written.
    """
    chosen = config or AugmentConfig()
    everything = load_image_table(dataset, None, where=where, halvings=RESOLUTIONS[resolution])
    rows = np.random.default_rng(seed).choice(len(everything), min(images, len(everything)), replace=False)
    training = TrainingConfig(resolution=resolution)
    source = ImageSource(dataset=dataset, sizes=PRESETS["tiny"], training=training, device=torch.device("cpu"))
    table = source.table([everything.key(row) for row in rows.tolist()])
    columns: list[NDArray[np.float32]] = []
    for each in source.passes(table, OrderState(seed=seed, step_images=len(table)), shuffle=False):
        for key, image in sorted(zip(each.keys, each.images, strict=True), key=lambda pair: pair[0]):
            columns.append(np.concatenate([tile(made) for made in versions(image, key, chosen, seed)]))
        if each.ends_epoch:
            break
    sheet = np.concatenate(columns, axis=1)
    atomic.make_folder(out.absolute().parent)
    atomic.write_file(out.absolute(), bytes(imagecodecs.png_encode((sheet * 255).round().astype(np.uint8))))
    return len(columns)


def versions(image: Tensor, key: str, config: AugmentConfig, seed: int) -> list[Tensor]:
    """The image of each row of the sheet."""
    always = replace(config, affine_p=1, flip_p=1, gamma_p=1, noise_p=1, bias_p=1, blur_p=1, crop_p=1)
    parameters = draw_parameters(always, key, seed=seed, epoch=0)
    alone = [apply_stage(image, stage, parameters).clamp(0, 1) for stage in STAGES]
    together = [apply(image, draw_parameters(config, key, seed=seed, epoch=epoch)) for epoch in range(EPOCHS)]
    return [image, *alone, *together]


def tile(image: Tensor) -> NDArray[np.float32]:
    """The image in the middle of a square with a black frame; large images are averaged down."""
    step = max(1, -(-max(image.shape) // TILE_SIDE))
    small = torch.nn.functional.avg_pool2d(image[None, None], step, ceil_mode=True, count_include_pad=False)[0, 0]
    framed = np.zeros((TILE_SIDE + GAP, TILE_SIDE + GAP), np.float32)
    top, left = (framed.shape[0] - small.shape[0]) // 2, (framed.shape[1] - small.shape[1]) // 2
    framed[top : top + small.shape[0], left : left + small.shape[1]] = small.numpy()
    return framed
