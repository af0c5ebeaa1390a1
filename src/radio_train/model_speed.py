"""How many images a second the model can train on here, were they always there.

Comes in: a configuration, a dataset. Goes out: images/s, forward and backward. Refuses what the loader refuses.

A few real images are timed, and the rate of operations is carried over to the mean image, so that a CPU answers within
seconds for a model that would take a minute for a pack.
"""

import itertools
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from radio_io.loading.order import OrderState
from radio_io.loading.table import ImageTable
from radio_io.loading.torch_loader import PackLoader, TensorPack
from radio_train.config import PretrainConfig
from radio_train.model.flops import pretraining_flops
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack
from radio_train.run_folder import loader_config
from radio_train.validation import autocast, on_device

GPU_ROUNDS = 5


def model_images_per_s(config: PretrainConfig, dataset: Path, table: ImageTable) -> tuple[float, bool]:
    """Images/s of forward and backward, and whether they are computed on the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_cpu = device.type == "cpu"
    pack = _pack(config, dataset, table, whole=not on_cpu)
    model = MaskedAutoencoder(config.model).to(device)
    _step(model, pack, config, device)  # allocations and kernels that later steps find ready
    rounds = 1 if on_cpu else GPU_ROUNDS
    began_s = time.perf_counter()
    for _ in range(rounds):
        _step(model, pack, config, device)
    seconds = (time.perf_counter() - began_s) / rounds
    patches = pack.grids[: pack.num_images].prod(dim=1).tolist()
    operations = sum(pretraining_flops(config.model, int(count)) for count in patches)
    sizes, counts = np.unique(table.grids(config.model.patch_size).prod(axis=1), return_counts=True)
    total = sum(pretraining_flops(config.model, int(size)) * int(n) for size, n in zip(sizes, counts, strict=True))
    return operations / seconds / (total / len(table)), on_cpu


def _pack(config: PretrainConfig, dataset: Path, table: ImageTable, *, whole: bool) -> TensorPack:
    largest = int(table.grids(config.model.patch_size).prod(axis=1).max()) + 1
    budget = max(config.data.token_budget, largest) if whole else largest
    loading = replace(loader_config(config), token_budget=budget)
    order = OrderState(seed=0, step_images=min(len(table), 1024 if whole else 16))
    with PackLoader(dataset, table, loading, order) as loader:
        return next(pack for pack in itertools.islice(loader, 100) if pack.num_images)


def _step(model: MaskedAutoencoder, pack: TensorPack, config: PretrainConfig, device: torch.device) -> None:
    masked = mask_pack(on_device(pack, device), config.model, seed=0, epoch=0)
    with autocast(config, device):
        loss = model(masked)
    loss.backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
