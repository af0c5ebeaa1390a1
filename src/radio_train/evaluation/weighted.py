"""Metrics under many weightings of the images at once.

Comes in: truth and scores of n images, and weights [B, n]. Goes out: [B] values each. Whole numbers as weights make a
bootstrap of B resamples one matrix product; weights of 1 give the plain metric. Refuses nothing: where a metric does
not exist (a class without images), it is NaN.
"""

import numpy as np
from numpy.typing import NDArray

from radio_train.evaluation.outcomes import Indices, Numbers

Flags = NDArray[np.bool_]


def confusion_matrices(truth: Indices, predicted: Indices, classes: int, weights: Numbers) -> Numbers:
    """[B, classes, classes]: weight of images of a class (rows) that were called another (columns)."""
    cells = np.zeros((len(truth), classes * classes))
    cells[np.arange(len(truth)), truth * classes + predicted] = 1
    return (weights @ cells).reshape(len(weights), classes, classes)


def recalls(matrices: Numbers) -> Numbers:
    """[B, classes]: share of each class's images that were found; NaN where there are none."""
    return _ratio(np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(2))


def specificities(matrices: Numbers) -> Numbers:
    """[B, classes]: share of the other classes' images that were not called this class."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    others = matrices.sum((1, 2))[:, None] - matrices.sum(2)
    wrongly = matrices.sum(1) - right
    return _ratio(others - wrongly, others)


def f1_scores(matrices: Numbers) -> Numbers:
    """[B, classes]: 2 TP / (2 TP + FP + FN); NaN where a class neither is nor was called."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    return _ratio(2 * right, matrices.sum(1) + matrices.sum(2))


def quadratic_kappa(matrices: Numbers) -> Numbers:
    """[B]: Cohen's kappa with squared distances between classes as weights.

    Source: J. Cohen, Weighted kappa, Psychological Bulletin 70 (1968).
    """
    places = np.arange(matrices.shape[1])
    distance = (places[:, None] - places[None, :]) ** 2.0
    total = matrices.sum((1, 2))
    expected = matrices.sum(2)[:, :, None] * matrices.sum(1)[:, None, :] / np.maximum(total, 1e-300)[:, None, None]
    return 1 - _ratio((matrices * distance).sum((1, 2)), (expected * distance).sum((1, 2)))


def area_under_roc(scores: Numbers, positive: Flags, weights: Numbers) -> Numbers:
    """[B]: how likely a positive image scores higher than a negative one, ties counted half."""
    up, down = _by_threshold(scores, positive, weights)  # ascending
    below = np.cumsum(down, axis=1) - down
    ordered = (up * (below + down / 2)).sum(1)
    return _ratio(ordered, up.sum(1) * down.sum(1))


def average_precision(scores: Numbers, positive: Flags, weights: Numbers) -> Numbers:
    """[B]: the area under precision over recall, as a sum over thresholds without interpolation."""
    up, down = (part[:, ::-1] for part in _by_threshold(scores, positive, weights))  # descending
    found, wrong = np.cumsum(up, axis=1), np.cumsum(down, axis=1)
    precision = found / np.maximum(found + wrong, 1e-300)
    return _ratio((up * precision).sum(1), up.sum(1))


def calibration_error(confidence: Numbers, correct: Flags, weights: Numbers, *, bins: int = 15) -> Numbers:
    """[B]: the expected calibration error: distance of confidence and accuracy, averaged over equally wide bins.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    place = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="right") - 1, 0, bins - 1)
    members = np.zeros((len(confidence), bins))
    members[np.arange(len(confidence)), place] = 1
    gap = weights @ (members * (confidence - correct)[:, None])  # [B, bins]
    return _ratio(np.abs(gap).sum(1), weights.sum(1))


def weighted_mean(values: Numbers, weights: Numbers) -> Numbers:
    """[B]: the mean of values [n]."""
    return _ratio(weights @ values, weights.sum(1))


def mean_of_defined(values: Numbers) -> Numbers:
    """[B]: the mean over the last axis of what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1).astype(np.float64))


def _by_threshold(scores: Numbers, positive: Flags, weights: Numbers) -> tuple[Numbers, Numbers]:
    """[B, thresholds] twice: weight of positive and negative images at each different score, ascending."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    sorted_weights = weights[:, order]
    up = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    down = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
    return up, down


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
