"""What is minimised, and what the model's outputs mean.

Comes in: logits [n, outputs], targets. Goes out: the loss of each image; probabilities [n, C]. A task with one class an
image has a softmax, one with several labels a sigmoid each. Where classes have an order, output j says how likely the
class is beyond j, given that it is at least j: the probabilities then always form a distribution.

Source: Shi, Cao and Raschka, Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
Probabilities, Pattern Analysis and Applications 2023 (ordinal).
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from radio_train.evaluation.outcomes import Indices, TaskKind
from radio_train.finetuning.tasks import Task


def output_count(task: Task) -> int:
    """How many outputs the linear layer has."""
    return len(task.classes) - (task.kind is TaskKind.ORDINAL)


def probabilities(logits: Tensor, kind: TaskKind) -> Tensor:
    """[n, C] float64, rows that add up to 1 except where several labels are possible."""
    logits = logits.double()
    if kind is TaskKind.MULTILABEL:
        return logits.sigmoid()
    if kind is not TaskKind.ORDINAL:
        return logits.softmax(-1)
    beyond = logits.sigmoid().cumprod(-1)  # [n, C - 1], above class j
    ones, zeros = torch.ones_like(beyond[:, :1]), torch.zeros_like(beyond[:, :1])
    return torch.cat([ones, beyond], 1) - torch.cat([beyond, zeros], 1)


def image_losses(logits: Tensor, targets: Tensor, kind: TaskKind, weights: Tensor) -> Tensor:
    """[n]: the loss of each image; targets are [n] classes or [n, C] labels, weights [C]."""
    logits = logits.float()
    if kind is TaskKind.MULTILABEL:
        return F.binary_cross_entropy_with_logits(logits, targets.float(), weights, reduction="none").mean(-1)
    if kind is not TaskKind.ORDINAL:
        return F.cross_entropy(logits, targets, weights, reduction="none")
    steps = torch.arange(logits.shape[1], device=logits.device)
    reached, passed = targets[:, None] >= steps, targets[:, None] > steps
    each = F.binary_cross_entropy_with_logits(logits, passed.float(), reduction="none")
    return torch.where(reached, each, 0).sum(-1) * weights[targets]


def balancing_weights(targets: Indices, classes: int, kind: TaskKind) -> Tensor:
    """[C]: inverse to how often each class is; the mean over images is 1 (over labels where several are possible)."""
    if kind is TaskKind.MULTILABEL:
        counts = np.maximum(targets.sum(0), 1).astype(np.float64)
        inverse = counts.sum() / counts
        return torch.from_numpy(inverse / inverse.mean()).float()
    counts = np.bincount(targets, minlength=classes).astype(np.float64)
    return torch.from_numpy(counts.sum() / (classes * np.maximum(counts, 1))).float()
