"""Ranks that train one model together, and the gradients they share.

Comes in: what `torchrun` says in the environment (nothing: one rank). Goes out: `Ranks`, with the few exchanges that
training needs, and `GradientBuffer`. Refuses an incomplete environment.

Every rank has the whole model here; `radio_train.sharded` divides it. What both share: `whole` and `own_part` turn
divided tensors into whole ones and back, and leave others as they are.

Losses and gradients of packs are shares of the step's, so ranks add them up and never average. A step is a fixed set of
images; ranks only divide its packs. So the number of ranks changes rounding and nothing else (docs/training.md).
"""

import contextlib
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from radio_io.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process among those that train together; `local_rank` counts those of this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this rank writes logs, checkpoints and sheets."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return torch.device("cuda", self.local_rank) if torch.cuda.is_available() else torch.device("cpu")

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """The values of all ranks, by rank; float64, so integers up to 2**53 stay exact."""
        if self.world_size == 1:
            return [list(values)]
        own = torch.tensor(values, dtype=torch.float64, device=self.device)
        every = [torch.empty_like(own) for _ in range(self.world_size)]
        dist.all_gather(every, own)
        return [each.tolist() for each in every]

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over the ranks, in their order."""
        return [sum(column) for column in zip(*self.gather(values), strict=True)]

    def wait(self) -> None:
        """Go on when all ranks have come here."""
        if self.world_size > 1:
            dist.barrier()

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Give every rank the first one's values, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), src=0)


def ranks_of_environment() -> Ranks:
    """What `torchrun` says; one rank where it says nothing.

    Raises:
        UsageError: Only a part of it is there, or a value is no number.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    found = {name: os.environ[name] for name in names if name in os.environ}
    if "WORLD_SIZE" not in found or "RANK" not in found:
        return Ranks()
    try:
        rank, world_size = int(found["RANK"]), int(found["WORLD_SIZE"])
        return Ranks(rank=rank, world_size=world_size, local_rank=int(found.get("LOCAL_RANK", rank)))
    except ValueError:
        raise UsageError(f"found {found} in the environment, expected numbers as torchrun sets them") from None


@contextlib.contextmanager
def joined_ranks() -> Generator[Ranks]:
    """The ranks of the environment, connected while the block lasts."""
    ranks = ranks_of_environment()
    if ranks.world_size == 1:
        yield ranks
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(ranks.device)
    dist.init_process_group("nccl" if on_gpu else "gloo", device_id=ranks.device if on_gpu else None)
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that is divided over the ranks: every rank must ask at the same time."""
    return cast("Any", tensor).full_tensor() if _is_divided(tensor) else tensor


def whole_tensors(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """All of each tensor, one after another; divided ones then lie on the CPU. Ranks that do not `keep` get nothing."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        full = whole(tensor)
        if keep:
            found[name] = full if full is tensor else full.cpu()
    return found


def own_part(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a tensor that every rank has, divided as `like`; nothing is sent."""
    if not _is_divided(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = cast("Any", like).device_mesh, cast("Any", like).placements
    return distribute_tensor(tensor.to(like.device), mesh, placements, src_data_rank=None)


def _is_divided(tensor: Tensor) -> bool:
    return hasattr(tensor, "device_mesh")  # a DTensor; to import that takes 0.7 s, also where there is none


class GradientBuffer:
    """All gradients of a model as views of one row, so that ranks exchange them in one message without copying.

    Backward passes add to the row. A step ends with `reduce`, `clip` and, after the update, `clear`.
    """

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self._ranks = ranks
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        first = trained[0]
        self.row = torch.zeros(sum(p.numel() for p in trained), dtype=first.dtype, device=first.device)
        start = 0
        for parameter in trained:
            parameter.grad = self.row[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()

    def reduce(self, factor: float) -> None:
        """The sum over the ranks, times `factor` (1 unless images were damaged)."""
        if self._ranks.world_size > 1:
            dist.all_reduce(self.row)
        if factor != 1:
            self.row.mul_(factor)

    def clip(self, bound: float) -> float:
        """The norm of all gradients, which are scaled down to `bound` where they exceed it; 0 bounds nothing."""
        norm = float(torch.linalg.vector_norm(self.row))
        if 0 < bound < norm:
            self.row.mul_(bound / norm)
        return norm

    def clear(self) -> None:
        """Begin a new sum."""
        self.row.zero_()
