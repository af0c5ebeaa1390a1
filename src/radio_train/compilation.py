"""The compiled model, and the promise that it is compiled for one shape or two.

Comes in: a model and the batch policy. Goes out: a callable that gives a pack's loss. Refuses to go on where torch
compiles more graphs than the policy needs: one for `packed`, two with small packs at the end of a step
(static shapes), two for `bins` (torch makes a second one, with symbolic sizes, when it meets the second shape).
Compiling again and again is how hours get lost unnoticed.

On CUDA each graph is recorded once and replayed (`reduce-overhead`), so Python is not in the way.
"""

from typing import Any

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from radio_io.errors import TrainingError
from radio_io.loading.batch import BatchPolicy
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import MaskedPack


class CompiledModel:
    """Gives the loss of a pack; stops the run when torch compiles beyond the policy's number of graphs."""

    def __init__(
        self, model: MaskedAutoencoder, policy: BatchPolicy, device: torch.device, *, small_packs: bool = True
    ) -> None:
        self._policy, self._on_gpu = policy, device.type == "cuda"
        mode = "reduce-overhead" if self._on_gpu else None
        self._forward: Any = torch.compile(model, fullgraph=True, dynamic=policy is BatchPolicy.BINS, mode=mode)
        self._before = _graphs()
        self._most = 2 if policy is BatchPolicy.BINS or small_packs else 1

    @property
    def graphs(self) -> int:
        """How many graphs were compiled since this model was made."""
        return _graphs() - self._before

    def __call__(self, masked: MaskedPack) -> Tensor:
        """This pack's share of the step's loss.

        Raises:
            TrainingError: More graphs were compiled than the policy needs.
        """
        if self._on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        loss: Tensor = self._forward(masked)
        if self.graphs > self._most:
            raise TrainingError(
                f"torch compiled {self.graphs} graphs, expected at most {self._most} with "
                f"data.policy={self._policy}; TORCH_LOGS=recompiles says why, run.compile=false trains without"
            )
        return loss


def _graphs() -> int:
    return int(counters["stats"]["unique_graphs"])
