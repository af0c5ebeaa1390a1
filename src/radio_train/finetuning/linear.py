"""The best linear layer on fixed vectors: logistic regression.

Comes in: vectors [n, width] of training and validation images with their targets; a store computes them once an
encoder. Goes out: weights and biases of a linear layer for vectors as they are, the strength of regularisation chosen
by the balanced accuracy of the validation images. Vectors are brought to mean 0 and variance 1 for the fit, which the
returned layer takes into account.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

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


class VectorStore:
    """Vectors of images, each computed once an encoder, whatever the trainings that ask for them.

    Trainings with other seeds, shares of the labels or tasks share the images; encoders are told apart by their
    weights. What is kept is 4 bytes a number: 650 images and three encoders of width 768 take 6 MB.
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[str, NDArray[np.float32]]] = {}

    def vectors(self, model: Classifier, source: ImageSource, keys: Collection[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors under the linear layer by key; damaged images have none."""
        model.eval()
        known = self._found.setdefault(_identity(model, source), {})
        missing = [key for key in keys if key not in known]
        if missing:
            found = pooled_vectors(model, source, source.table(missing))
            known |= {key: values.astype(np.float32) for key, values in found.items()}  # exact: they were computed so
        return {key: known[key] for key in keys if key in known}


def train_linear(
    model: Classifier, source: ImageSource, task: Task, store: VectorStore, train: Sequence[str], val: Sequence[str]
) -> float:
    """Give the classifier the best linear layer for images of these keys; returns its balanced validation accuracy."""
    row = {key: index for index, key in enumerate(task.keys)}

    def vectors(keys: Sequence[str]) -> Vectors:
        found = store.vectors(model, source, keys)
        targets = task.targets[[row[key] for key in found]]
        return Vectors(values=np.stack(list(found.values())).astype(np.float64), targets=targets)

    layer = fit_linear(vectors(train), vectors(val), task.kind, task.classes)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(layer.weights))
        model.classifier.bias.copy_(torch.from_numpy(layer.biases))
    return layer.balanced_accuracy


def predict_linear(
    model: Classifier, source: ImageSource, store: VectorStore, keys: Collection[str]
) -> dict[str, Numbers]:
    """The logits of each image by key; damaged images have none."""
    found = store.vectors(model, source, keys)
    device = model.classifier.weight.device
    with torch.inference_mode():
        logits = model.classifier(torch.from_numpy(np.stack(list(found.values()))).to(device))
    return dict(zip(found, logits.double().cpu().numpy().astype(np.float64), strict=True))


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


def _identity(model: Classifier, source: ImageSource) -> str:
    digest = hashlib.sha256(repr((model.pooling, source.training, source.dataset)).encode())
    for name, tensor in model.vit.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


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
