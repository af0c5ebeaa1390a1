"""Metrics against scikit-learn and torchmetrics on random predictions, weights included."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional import classification as tm

from radio_io.errors import DatasetError, UsageError
from radio_train.evaluation.metrics import balanced_accuracy, confusion, measure, per_class
from radio_train.evaluation.outcomes import Outcomes, TaskKind

SEEDS = range(6)


def random_outcomes(kind, seed, n=173, classes=5):
    """Predictions better than chance, scores with ties, classes of very different size."""
    rng = np.random.default_rng(seed)
    names = tuple(f"class {i}" for i in range(classes))
    if kind is TaskKind.MULTILABEL:
        truth = (rng.random((n, classes)) < np.linspace(0.1, 0.6, classes)).astype(np.int64)
        scores = np.round(np.clip(0.35 * truth + rng.random((n, classes)) * 0.65, 0, 1), 2)
        return Outcomes(kind=kind, classes=names, truth=truth, scores=scores)
    shares = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    truth = rng.choice(classes, n, p=shares)
    raw = np.round(rng.random((n, classes)), 1) + 0.1
    raw[np.arange(n), truth] += 0.5
    return Outcomes(kind=kind, classes=names, truth=truth, scores=raw / raw.sum(1, keepdims=True))


def values(outcomes, weights=None):
    return {name: float(found[0]) for name, found in measure(outcomes, weights).items()}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_metrics_equal_those_of_scikit_learn(seed, weighted):
    outcomes = random_outcomes(TaskKind.BINARY, seed, classes=2)
    rng = np.random.default_rng(seed + 100)
    weights = rng.integers(0, 4, (1, len(outcomes))).astype(float) if weighted else None
    w = None if weights is None else weights[0]
    truth, predicted, score = outcomes.truth, outcomes.predicted, outcomes.scores[:, 1]
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted, sample_weight=w),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted, sample_weight=w),
        "auroc": sk.roc_auc_score(truth, score, sample_weight=w),
        "auprc": sk.average_precision_score(truth, score, sample_weight=w),
        "f1": sk.f1_score(truth, predicted, sample_weight=w),
        "sensitivity": sk.recall_score(truth, predicted, sample_weight=w),
        "specificity": sk.recall_score(truth, predicted, pos_label=0, sample_weight=w),
        "brier": 2 * sk.brier_score_loss(truth, score, sample_weight=w),
    }
    found = values(outcomes, weights)
    assert found.keys() == expected.keys() | {"ece"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", [TaskKind.MULTICLASS, TaskKind.ORDINAL])
def test_multiclass_metrics_equal_those_of_scikit_learn(kind, seed):
    outcomes = random_outcomes(kind, seed)
    truth, predicted = outcomes.truth, outcomes.predicted
    found = values(outcomes)
    precision = sk.average_precision_score(np.eye(5)[truth], outcomes.scores, average="macro")
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, predicted), abs=1e-12)
    assert found["f1"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"), abs=1e-12)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(truth, outcomes.scores, multi_class="ovr"), abs=1e-12)
    assert found["auprc"] == pytest.approx(precision, abs=1e-12)
    assert (confusion(outcomes) == sk.confusion_matrix(truth, predicted, labels=range(5))).all()
    if kind is TaskKind.ORDINAL:
        kappa = sk.cohen_kappa_score(truth, predicted, weights="quadratic")
        assert found["quadratic_kappa"] == pytest.approx(kappa, abs=1e-12)
        assert found["mean_absolute_error"] == pytest.approx(sk.mean_absolute_error(truth, predicted), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_multilabel_metrics_equal_those_of_scikit_learn(seed):
    outcomes = random_outcomes(TaskKind.MULTILABEL, seed)
    truth, predicted, scores = outcomes.truth, outcomes.predicted, outcomes.scores
    found = values(outcomes)
    balanced = np.mean([sk.balanced_accuracy_score(truth[:, i], predicted[:, i]) for i in range(5)])
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(balanced, abs=1e-12)
    assert found["f1"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"), abs=1e-12)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(truth, scores), abs=1e-12)
    assert found["auprc"] == pytest.approx(sk.average_precision_score(truth, scores), abs=1e-12)
    assert (confusion(outcomes) == sk.multilabel_confusion_matrix(truth, predicted)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_calibration_and_specificity_equal_those_of_torchmetrics(seed):
    outcomes = random_outcomes(TaskKind.MULTICLASS, seed)
    scores, truth = torch.from_numpy(outcomes.scores), torch.from_numpy(outcomes.truth)
    error = tm.multiclass_calibration_error(scores, truth, 5, n_bins=15, norm="l1")
    specificity = tm.multiclass_specificity(torch.from_numpy(outcomes.predicted), truth, 5, average="macro")
    found = values(outcomes)
    assert found["ece"] == pytest.approx(float(error), abs=1e-6)  # torchmetrics adds up in single precision
    assert found["specificity"] == pytest.approx(float(specificity), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_class_equals_torchmetrics(seed):
    outcomes = random_outcomes(TaskKind.MULTICLASS, seed)
    scores, truth = torch.from_numpy(outcomes.scores), torch.from_numpy(outcomes.truth)
    predicted = torch.from_numpy(outcomes.predicted)
    expected = {
        "sensitivity": tm.multiclass_recall(predicted, truth, 5, average="none"),
        "specificity": tm.multiclass_specificity(predicted, truth, 5, average="none"),
        "f1": tm.multiclass_f1_score(predicted, truth, 5, average="none"),
        "auroc": tm.multiclass_auroc(scores, truth, 5, average="none"),
        "auprc": tm.multiclass_average_precision(scores, truth, 5, average="none"),
    }
    found = per_class(outcomes)
    assert sum(each.images for each in found) == len(outcomes)
    for name, tensor in expected.items():
        assert [getattr(each, name) for each in found] == pytest.approx(tensor.tolist(), abs=1e-6), name


def test_many_weightings_at_once_equal_each_alone():
    rng = np.random.default_rng(9)
    for kind in TaskKind:
        outcomes = random_outcomes(kind, 3, classes=2 if kind is TaskKind.BINARY else 5)
        weights = rng.integers(0, 4, (7, len(outcomes))).astype(float)
        together = measure(outcomes, weights)
        for row in range(7):
            repeated = outcomes.select(np.repeat(np.arange(len(outcomes)), weights[row].astype(int)))
            for name, value in values(repeated).items():
                assert together[name][row] == pytest.approx(value, abs=1e-12), (kind, name)


def test_a_class_without_images_is_left_out_of_averages():
    outcomes = random_outcomes(TaskKind.MULTICLASS, 1).select(np.arange(40))
    without = outcomes.select(outcomes.truth != 2)
    expected = np.mean([(without.predicted[without.truth == c] == c).mean() for c in (0, 1, 3, 4)])
    assert balanced_accuracy(without) == pytest.approx(expected)
    assert np.isfinite(values(without)["auroc"])


def test_one_class_alone_has_no_area():
    outcomes = random_outcomes(TaskKind.BINARY, 1, classes=2)
    alone = outcomes.select(outcomes.truth == 1)
    assert np.isnan(values(alone)["auroc"])
    assert values(alone)["balanced_accuracy"] == values(alone)["sensitivity"]


def test_the_decision_of_an_ordinal_task_is_the_median():
    scores = np.array([[0.4, 0.05, 0.25, 0.3]])
    outcomes = Outcomes(kind=TaskKind.ORDINAL, classes=tuple("0123"), truth=np.array([2]), scores=scores)
    assert outcomes.predicted.tolist() == [2]


def test_refuses_what_does_not_fit():
    with pytest.raises(UsageError, match="add up"):
        Outcomes(
            kind=TaskKind.BINARY, classes=("a", "b"), truth=np.zeros(2, np.int64), scores=np.array([[0.5, 0.2]] * 2)
        )
    with pytest.raises(UsageError, match="probabilities"):
        Outcomes(kind=TaskKind.BINARY, classes=("a", "b"), truth=np.zeros(1, np.int64), scores=np.array([[2.0, -1]]))
    with pytest.raises(UsageError, match="as many scores"):
        Outcomes(kind=TaskKind.BINARY, classes=("a", "b"), truth=np.zeros(3, np.int64), scores=np.array([[0.5, 0.5]]))
    empty = Outcomes(kind=TaskKind.BINARY, classes=("a", "b"), truth=np.zeros(0, np.int64), scores=np.zeros((0, 2)))
    with pytest.raises(DatasetError, match="no image"):
        measure(empty)
