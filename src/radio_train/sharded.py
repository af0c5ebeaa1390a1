"""A model whose weights, gradients and moments are divided over the ranks (FSDP2), for models too large for one GPU.

Comes in: a model that all ranks have alike. Goes out: the same model, of which every rank keeps its part and asks the
others for a block's weights while it computes with them; `ShardedGradients`; a whole copy for the first rank to show.

Gradients are summed over packs and ranks as in `radio_train.distributed`, so the result is that of whole models but for
rounding (docs/training.md). A forward or backward pass is an exchange: every rank must do as many, on packs without an
image too.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from radio_train.config import PretrainConfig
from radio_train.distributed import Ranks, whole_tensors
from radio_train.model.mae import MaskedAutoencoder


def is_sharded(config: PretrainConfig, ranks: Ranks) -> bool:
    """Whether the ranks divide the model; a single one has nothing to divide."""
    return config.run.parallel == "fsdp" and ranks.world_size > 1


def shard_model(model: MaskedAutoencoder, ranks: Ranks) -> None:
    """Divide the weights, in place; an optimizer must be made afterwards.

    A block's weights are whole only while it computes, those outside of blocks as one more block.
    """
    mesh = init_device_mesh(ranks.device.type, (ranks.world_size,))
    for part in (*model.vit.layers, *model.decoder.decoder_layers, model):
        sharded = fully_shard(part, mesh=mesh, reshard_after_forward=True)
        sharded.set_gradient_divide_factor(1.0)  # a sum: FSDP2 would take the mean over the ranks
        sharded.set_force_sum_reduction_for_comms(True)  # torch 2.13: else a factor is NCCL's own, which gloo lacks


def whole_copy(model: MaskedAutoencoder, ranks: Ranks) -> MaskedAutoencoder | None:
    """A model of its own with all weights, on the first rank; every rank must ask."""
    tensors = whole_tensors(model.state_dict(), keep=ranks.is_first)
    if not ranks.is_first:
        return None
    with torch.random.fork_rng(devices=[]):  # its initial weights are thrown away, and must not move the generator
        copy = MaskedAutoencoder(model.config)
    copy.load_state_dict(tensors)
    return copy.to(ranks.device)


class ShardedGradients:
    """This rank's part of all gradients. Each backward pass sums over the ranks and adds to it."""

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self._ranks = ranks
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def reduce(self, factor: float) -> None:
        """The sum over the ranks, which backward passes made already, times `factor`."""
        if factor != 1:
            for gradient in self._own():
                gradient.mul_(factor)

    def clip(self, bound: float) -> float:
        """The norm of the gradients of all ranks, which are scaled down to `bound` where it exceeds it; 0: no bound."""
        own = float(torch.nn.utils.get_total_norm(self._own()))
        norm = math.sqrt(self._ranks.total([own**2])[0])
        if 0 < bound < norm:
            for gradient in self._own():
                gradient.mul_(bound / norm)
        return norm

    def clear(self) -> None:
        """Begin a new sum."""
        for parameter in self._trained:
            parameter.grad = None

    def _own(self) -> list[Tensor]:
        return [parameter.grad.to_local() for parameter in self._trained if isinstance(parameter.grad, DTensor)]
