"""Averaged weights: an exponential moving average of the trained ones.

Comes in: a model and a decay, after each step. Goes out: the averages as tensors by name, and the model with them for
as long as a block lasts. In the first steps the decay is lower, so that the initial weights do not linger.

Source: Polyak and Juditsky, SIAM J. Control Optim. 1992; the growing decay is that of TensorFlow's
ExponentialMovingAverage, min(decay, (1 + steps) / (10 + steps)).
"""

import contextlib
from collections.abc import Generator, Mapping

import torch
from torch import Tensor, nn

from radio_io.errors import TrainingError
from radio_train.distributed import own_part

PREFIX = "ema."


class AveragedWeights:
    """The averages of the parameters that are trained."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self._average = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._model.named_parameters():
            if name in self._average:
                self._average[name].lerp_(parameter, 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """The averages, by the parameter's name after `ema.`."""
        return {PREFIX + name: average for name, average in self._average.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from the averages of a checkpoint.

        Raises:
            TrainingError: It has none.
        """
        missing = [name for name in self._average if PREFIX + name not in tensors]
        if missing:
            raise TrainingError("the checkpoint has no averaged weights; resume with run.ema=0, or start a new run")
        for name, average in self._average.items():
            average.copy_(own_part(tensors[PREFIX + name], average))

    @contextlib.contextmanager
    @torch.no_grad()
    def in_place(self) -> Generator[None]:
        """The model has the averages while the block lasts."""
        trained = {name: p.detach().clone() for name, p in self._model.named_parameters() if name in self._average}
        parameters = dict(self._model.named_parameters())
        try:
            for name, average in self._average.items():
                parameters[name].copy_(average)
            yield
        finally:
            for name, value in trained.items():
                parameters[name].copy_(value)
