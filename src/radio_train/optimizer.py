"""AdamW for the autoencoder, and its learning rate at each step.

Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019; schedule as in Buehler (TUM 2024),
section 3.3.2: linear warm-up, then cosine annealing, both per step.
"""

import math

import torch
from torch import nn

from radio_train.config import OptimizerConfig


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices only, not biases, norms, tokens."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2 and min(parameter.shape[:2]) > 1]
    known = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in trained if id(parameter) not in known]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.base_rate, betas=(config.beta1, config.beta2))


def learning_rate(step: int, *, warmup_steps: int, total_steps: int, config: OptimizerConfig) -> float:
    """The rate of a step, counted from 0.

    Example:
        >>> config = OptimizerConfig(base_rate=1.0, min_rate=0.0)
        >>> [round(learning_rate(s, warmup_steps=2, total_steps=4, config=config), 3) for s in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """
    if step < warmup_steps:
        return config.base_rate * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return config.min_rate + (config.base_rate - config.min_rate) * 0.5 * (1 + math.cos(math.pi * progress))
