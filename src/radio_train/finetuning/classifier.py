"""A classifier applied to images of a dataset: the passes of training, prediction and embedding.

Comes in: a `Classifier`, a dataset, keys. Goes out: an endless stream of passes with images at their exact size;
probabilities or pooled vectors by key. Refuses what the loader refuses.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from radio_io.loading.batch import RESOLUTIONS, LoaderConfig, ScaleMode
from radio_io.loading.order import OrderState
from radio_io.loading.table import ImageTable, load_image_table
from radio_io.loading.torch_loader import PackLoader
from radio_train.evaluation.outcomes import Numbers
from radio_train.finetuning.config import TrainingConfig
from radio_train.finetuning.image_packs import images_of_pack, pack_images
from radio_train.model.config import MaeConfig
from radio_train.model.heads import Classifier, pool

PREDICT_IMAGES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """Some images of a step: their keys and pixels [rows, columns] float32, 0 to 1."""

    keys: tuple[str, ...]
    images: list[Tensor]
    epoch: int
    step_images: int
    ends_step: bool
    ends_epoch: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    """Images of a dataset as passes."""

    dataset: Path
    sizes: MaeConfig
    training: TrainingConfig
    device: torch.device

    def table(self, keys: Collection[str]) -> ImageTable:
        """The images of these keys.

        Raises:
            DatasetError: There is none, or they are of different codecs.
        """
        return load_image_table(self.dataset, None, keys=keys, halvings=RESOLUTIONS[self.training.resolution])

    def passes(self, table: ImageTable, state: OrderState, *, shuffle: bool) -> Iterator[Pass]:
        """Passes from a state on, epoch after epoch without end."""
        patch = self.sizes.patch_size
        rows = {table.key(row): row for row in range(len(table))}
        largest = int(table.grids(patch).prod(axis=1).max()) + 1
        config = LoaderConfig(
            patch_size=patch,
            token_budget=max(self.training.token_budget, largest),
            shuffle=shuffle,
            mask_ratio=0.0,
            scale=ScaleMode(self.training.scale),
            halvings=RESOLUTIONS[self.training.resolution],
            workers=self.training.workers or None,
            max_bad=self.training.max_bad,
        )
        with PackLoader(self.dataset, table, config, state) as loader:
            for pack in loader:
                shapes = [table.shape(rows[key]) for key in pack.keys]
                yield Pass(
                    keys=pack.keys,
                    images=images_of_pack(pack, shapes, patch, self.device),
                    epoch=pack.epoch,
                    step_images=pack.step_images,
                    ends_step=pack.is_last_of_step,
                    ends_epoch=pack.is_last_of_step and pack.step == loader.steps_per_epoch - 1,
                )

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Half precision where it is asked for, or by itself on a GPU."""
        chosen = self.training.precision
        half = chosen == "bf16" or (chosen == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext()


def logits_of(model: Classifier, images: list[Tensor], sizes: MaeConfig) -> Tensor:
    """[images, outputs]."""
    return model(pack_images(images, sizes), len(images))


def predict_logits(model: Classifier, source: ImageSource, table: ImageTable) -> dict[str, Numbers]:
    """The logits of each image by key; damaged images have none."""
    return _collect(source, table, lambda images: logits_of(model, images, source.sizes))


def pooled_vectors(model: Classifier, source: ImageSource, table: ImageTable) -> dict[str, Numbers]:
    """The vectors under the linear layer by key, float32 values."""

    def vectors(images: list[Tensor]) -> Tensor:
        pack = pack_images(images, source.sizes)
        return pool(model.vit(pack), pack, len(images), model.pooling)

    return _collect(source, table, vectors)


def _collect(source: ImageSource, table: ImageTable, compute: Callable[[list[Tensor]], Tensor]) -> dict[str, Numbers]:
    found: dict[str, Numbers] = {}
    state = OrderState(seed=0, step_images=PREDICT_IMAGES)
    with torch.inference_mode():
        for each in source.passes(table, state, shuffle=False):
            if each.images:
                with source.autocast():
                    values = compute(each.images)
                found |= zip(each.keys, values.double().cpu().numpy().astype(np.float64), strict=True)
            if each.ends_epoch:
                break
    return found
