"""The loss over validation images, under masks that never change.

Comes in: a model, a configuration, a dataset. Goes out: the mean loss, the same for any number of ranks; None where the
selection has no validation image.
"""

from pathlib import Path

import numpy as np
import torch

from radio_io.errors import DatasetError
from radio_io.loading.order import OrderState
from radio_io.loading.torch_loader import PackLoader, TensorPack
from radio_train.background import without_background
from radio_train.config import PretrainConfig
from radio_train.distributed import Ranks
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack, masked_patches
from radio_train.precision import autocast, on_device
from radio_train.run_folder import Selection, load_table, loader_config
from radio_train.sharded import is_sharded

VALIDATION_SEED = 0x7A11


@torch.no_grad()
def validation_loss(
    model: MaskedAutoencoder, config: PretrainConfig, dataset: Path, selection: Selection, ranks: Ranks
) -> float | None:
    """Mean loss over the first `run.validation_images` images of the split val."""
    try:
        table = load_table(config, dataset, "val", selection)
    except DatasetError:
        return None
    order = OrderState(seed=0, step_images=min(len(table), config.run.validation_images))
    table = without_background(config, dataset, table, np.arange(order.step_images))
    loading = loader_config(config, shuffle=False)
    loss, found, planned = 0.0, 0, 0
    model.eval()
    with PackLoader(dataset, table, loading, order, rank=ranks.rank, world_size=ranks.world_size) as loader:
        for pack in loader:
            masked = mask_pack(on_device(pack, ranks.device), config.model, seed=VALIDATION_SEED, epoch=0)
            with autocast(config, ranks.device):
                loss += float(model(masked)) if pack.num_images or is_sharded(config, ranks) else 0.0
            found, planned = found + loss_units(pack, config), loss_units_of_step(pack, config)
            if pack.is_last_of_step:
                break
    model.train()
    loss, units = ranks.total([loss, found])
    return loss * planned / units if units else None


def loss_units(pack: TensorPack, config: PretrainConfig) -> int:
    """What the mean of the loss is taken over, of this pack: masked patches, or images."""
    return masked_patches(pack, config.model) if config.model.weighting == "token" else pack.num_images


def loss_units_of_step(pack: TensorPack, config: PretrainConfig) -> int:
    """The same of the whole step, as planned: damaged images are counted here, and left out of the packs."""
    return pack.step_masked if config.model.weighting == "token" else pack.step_images
