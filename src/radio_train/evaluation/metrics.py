"""The metrics of a task, each under one or many weightings.

Comes in: `Outcomes`, optionally weights [B, n]. Goes out: metrics by name, [B] each, and those of each class.
Refuses outcomes without images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radio_io.errors import DatasetError
from radio_train.evaluation import weighted
from radio_train.evaluation.outcomes import Indices, Numbers, Outcomes, TaskKind

HIGHER_IS_WORSE = ("ece", "brier", "mean_absolute_error")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassMetrics:
    """How one class was told from all others; NaN where it has no image."""

    name: str
    images: int
    sensitivity: float
    specificity: float
    f1: float
    auroc: float
    auprc: float


def measure(outcomes: Outcomes, weights: Numbers | None = None) -> dict[str, Numbers]:
    """All metrics of the kind of task, [B] each; without weights B is 1.

    Averages over classes leave out those without images.

    Raises:
        DatasetError: There is no image.
    """
    if not len(outcomes):
        raise DatasetError("no image to evaluate; choose another split, or widen the selection")
    weighting = np.ones((1, len(outcomes))) if weights is None else weights
    kinds: dict[TaskKind, Callable[[Outcomes, Numbers], dict[str, Numbers]]] = {
        TaskKind.BINARY: _binary,
        TaskKind.MULTICLASS: _multiclass,
        TaskKind.MULTILABEL: _multilabel,
        TaskKind.ORDINAL: _ordinal,
    }
    return kinds[outcomes.kind](outcomes, weighting)


def balanced_accuracy(outcomes: Outcomes) -> float:
    """The mean of the sensitivities of the classes: what early stopping watches."""
    return float(measure(outcomes)["balanced_accuracy"][0])


def confusion(outcomes: Outcomes) -> Indices:
    """[C, C] numbers of images, true class by row; of several labels, [C, 2, 2]."""
    ones = np.ones((1, len(outcomes)))
    if outcomes.kind is TaskKind.MULTILABEL:
        return np.round(_label_matrices(outcomes, ones)[:, 0]).astype(np.int64)
    matrix = weighted.confusion_matrices(outcomes.truth, outcomes.predicted, len(outcomes.classes), ones)
    return np.round(matrix[0]).astype(np.int64)


def per_class(outcomes: Outcomes) -> list[ClassMetrics]:
    """Each class against all others."""
    ones = np.ones((1, len(outcomes)))
    found: list[ClassMetrics] = []
    for index, name in enumerate(outcomes.classes):
        positive = _is_class(outcomes.truth, index, outcomes.kind)
        called = _is_class(outcomes.predicted, index, outcomes.kind)
        matrix = weighted.confusion_matrices(positive.astype(np.int64), called.astype(np.int64), 2, ones)
        scores = outcomes.scores[:, index]
        found.append(
            ClassMetrics(
                name=name,
                images=int(positive.sum()),
                sensitivity=float(weighted.recalls(matrix)[0, 1]),
                specificity=float(weighted.specificities(matrix)[0, 1]),
                f1=float(weighted.f1_scores(matrix)[0, 1]),
                auroc=float(weighted.area_under_roc(scores, positive, ones)[0]),
                auprc=float(weighted.average_precision(scores, positive, ones)[0]),
            )
        )
    return found


def _is_class(values: Indices, index: int, kind: TaskKind) -> weighted.Flags:
    return values[:, index] == 1 if kind is TaskKind.MULTILABEL else values == index


def _single(outcomes: Outcomes, weights: Numbers) -> tuple[dict[str, Numbers], Numbers]:
    """What all tasks with one class an image have, and the confusion matrices."""
    predicted, classes = outcomes.predicted, len(outcomes.classes)
    matrices = weighted.confusion_matrices(outcomes.truth, predicted, classes, weights)
    correct = predicted == outcomes.truth
    confidence = outcomes.scores[np.arange(len(predicted)), predicted]
    squared = (outcomes.scores - np.eye(classes)[outcomes.truth]) ** 2
    shared = {
        "accuracy": weighted.weighted_mean(correct.astype(np.float64), weights),
        "balanced_accuracy": weighted.mean_of_defined(weighted.recalls(matrices)),
        "ece": weighted.calibration_error(confidence, correct, weights),
        "brier": weighted.weighted_mean(squared.sum(1), weights),
    }
    return shared, matrices


def _binary(outcomes: Outcomes, weights: Numbers) -> dict[str, Numbers]:
    shared, matrices = _single(outcomes, weights)
    positive, scores = outcomes.truth == 1, outcomes.scores[:, 1]
    return shared | {
        "auroc": weighted.area_under_roc(scores, positive, weights),
        "auprc": weighted.average_precision(scores, positive, weights),
        "f1": weighted.f1_scores(matrices)[:, 1],
        "sensitivity": weighted.recalls(matrices)[:, 1],
        "specificity": weighted.recalls(matrices)[:, 0],
    }


def _multiclass(outcomes: Outcomes, weights: Numbers) -> dict[str, Numbers]:
    shared, matrices = _single(outcomes, weights)
    return (
        shared
        | _areas(outcomes, weights)
        | {
            "f1": weighted.mean_of_defined(weighted.f1_scores(matrices)),
            "sensitivity": weighted.mean_of_defined(weighted.recalls(matrices)),
            "specificity": weighted.mean_of_defined(weighted.specificities(matrices)),
        }
    )


def _ordinal(outcomes: Outcomes, weights: Numbers) -> dict[str, Numbers]:
    matrices = weighted.confusion_matrices(outcomes.truth, outcomes.predicted, len(outcomes.classes), weights)
    distance = np.abs(outcomes.predicted - outcomes.truth).astype(np.float64)
    return _multiclass(outcomes, weights) | {
        "quadratic_kappa": weighted.quadratic_kappa(matrices),
        "mean_absolute_error": weighted.weighted_mean(distance, weights),
    }


def _multilabel(outcomes: Outcomes, weights: Numbers) -> dict[str, Numbers]:
    matrices = _label_matrices(outcomes, weights)  # [L, B, 2, 2]
    recalls = np.stack([weighted.recalls(each) for each in matrices])  # [L, B, 2]
    exact = (outcomes.predicted == outcomes.truth).all(1)
    errors = [
        weighted.calibration_error(outcomes.scores[:, label], outcomes.truth[:, label] == 1, weights)
        for label in range(len(outcomes.classes))
    ]
    return _areas(outcomes, weights) | {
        "accuracy": weighted.weighted_mean(exact.astype(np.float64), weights),
        "balanced_accuracy": weighted.mean_of_defined(weighted.mean_of_defined(recalls).T),
        "f1": weighted.mean_of_defined(np.stack([weighted.f1_scores(each)[:, 1] for each in matrices], axis=1)),
        "sensitivity": weighted.mean_of_defined(recalls[:, :, 1].T),
        "specificity": weighted.mean_of_defined(recalls[:, :, 0].T),
        "ece": weighted.mean_of_defined(np.stack(errors, axis=1)),
        "brier": weighted.weighted_mean(((outcomes.scores - outcomes.truth) ** 2).mean(1), weights),
    }


def _areas(outcomes: Outcomes, weights: Numbers) -> dict[str, Numbers]:
    """Areas of each class against all others, averaged."""
    rocs: list[Numbers] = []
    precisions: list[Numbers] = []
    for index in range(len(outcomes.classes)):
        positive = _is_class(outcomes.truth, index, outcomes.kind)
        rocs.append(weighted.area_under_roc(outcomes.scores[:, index], positive, weights))
        precisions.append(weighted.average_precision(outcomes.scores[:, index], positive, weights))
    return {
        "auroc": weighted.mean_of_defined(np.stack(rocs, axis=1)),
        "auprc": weighted.mean_of_defined(np.stack(precisions, axis=1)),
    }


def _label_matrices(outcomes: Outcomes, weights: Numbers) -> Numbers:
    predicted = outcomes.predicted
    return np.stack(
        [
            weighted.confusion_matrices(outcomes.truth[:, label], predicted[:, label], 2, weights)
            for label in range(len(outcomes.classes))
        ]
    )
