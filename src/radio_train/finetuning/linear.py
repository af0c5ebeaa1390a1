"""The best linear layer on fixed vectors: logistic regression.

Comes in: vectors [n, width] of training and validation images with their targets. Goes out: weights and biases of a
linear layer for vectors as they are, the strength of regularisation chosen by the balanced accuracy of the validation
images. Vectors are brought to mean 0 and variance 1 for the fit, which the returned layer takes into account.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from radio_io.loading.table import ImageTable
from radio_train.evaluation.metrics import balanced_accuracy
from radio_train.evaluation.outcomes import Indices, Numbers, Outcomes, TaskKind
from radio_train.finetuning.classifier import ImageSource, pooled_vectors
from radio_train.finetuning.objective import probabilities
from radio_train.finetuning.tasks import Task
from radio_train.model.heads import Classifier

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the regularisation that are tried."""
ITERATIONS = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearLayer:
    """[outputs, width] weights and [outputs] biases, and the balanced validation accuracy they reached."""

    weights: Numbers
    biases: Numbers
    balanced_accuracy: float

    def logits(self, vectors: Numbers) -> Numbers:
        """[n, outputs]."""
        return vectors @ self.weights.T + self.biases


@dataclass(frozen=True, kw_only=True, slots=True)
class Vectors:
    """Vectors [n, width] and targets of images."""

    values: Numbers
    targets: Indices


def train_linear(
    model: Classifier, source: ImageSource, task: Task, train_table: ImageTable, val_table: ImageTable
) -> float:
    """Give the classifier the best linear layer; returns its balanced validation accuracy."""
    model.eval()
    row = {key: index for index, key in enumerate(task.keys)}

    def vectors(table: ImageTable) -> Vectors:
        found = pooled_vectors(model, source, table)
        targets = task.targets[[row[key] for key in found]]
        return Vectors(values=np.stack(list(found.values())), targets=targets)

    layer = fit_linear(vectors(train_table), vectors(val_table), task.kind, task.classes)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(layer.weights))
        model.classifier.bias.copy_(torch.from_numpy(layer.biases))
    return layer.balanced_accuracy


def fit_linear(
    train: Vectors, val: Vectors, kind: TaskKind, classes: tuple[str, ...], strengths: Sequence[float] = STRENGTHS
) -> LinearLayer:
    """The layer whose strength of regularisation does best on the validation images, the stronger one of equals."""
    mean = train.values.mean(0)
    deviation = np.where(train.values.std(0) > 1e-8, train.values.std(0), 1)
    scaled = (train.values - mean) / deviation
    best: LinearLayer | None = None
    for strength in strengths:
        fitted, intercept = _fit(scaled, train.targets, kind, len(classes), strength)
        weights = fitted / deviation
        candidate = LinearLayer(weights=weights, biases=intercept - weights @ mean, balanced_accuracy=0.0)
        scores = probabilities(torch.from_numpy(candidate.logits(val.values)), kind).clamp(0, 1).numpy()
        reached = balanced_accuracy(Outcomes(kind=kind, classes=classes, truth=val.targets, scores=scores))
        if best is None or reached > best.balanced_accuracy:
            best = LinearLayer(weights=candidate.weights, biases=candidate.biases, balanced_accuracy=reached)
    assert best is not None
    return best


def _fit(values: Numbers, targets: Indices, kind: TaskKind, classes: int, strength: float) -> tuple[Numbers, Numbers]:
    """[outputs, width], [outputs] of vectors with mean 0 and variance 1."""
    if kind is TaskKind.MULTILABEL:
        parts = [_fit_binary(values, targets[:, label], strength) for label in range(classes)]
    elif kind is TaskKind.ORDINAL:
        parts = []
        for step in range(classes - 1):
            reached = targets >= step
            parts.append(_fit_binary(values[reached], (targets[reached] > step).astype(np.int64), strength))
    elif classes == 2:
        weights, bias = _fit_binary(values, targets, strength)
        parts = [(np.zeros_like(weights), 0.0), (weights, bias)]
    else:
        model = _regression(strength).fit(values, targets)
        return np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    return np.stack([weights for weights, _ in parts]), np.array([bias for _, bias in parts])


def _fit_binary(values: Numbers, positive: Indices, strength: float) -> tuple[Numbers, float]:
    """One output; where all images agree, a bias that says so."""
    if len(values) == 0 or positive.min() == positive.max():
        share = (positive.sum() + 0.5) / (len(positive) + 1)
        return np.zeros(values.shape[1]), float(np.log(share / (1 - share)))
    model = _regression(strength).fit(values, positive)
    return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])


def _regression(strength: float) -> Any:  # noqa: ANN401 - scikit-learn has no types
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=ITERATIONS)
