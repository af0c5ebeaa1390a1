"""Figures and predictions: right curves, well-formed pictures, files that come back."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve as sk_calibration

from radio_io.checked_table import encode_table
from radio_io.errors import DatasetError, UsageError
from radio_train.evaluation.figures import calibration_curve, figures, precision_recall_curve, roc_curve
from radio_train.evaluation.outcomes import Outcomes, TaskKind
from radio_train.evaluation.predictions import Predictions, read_predictions, write_predictions


def outcomes_of(kind, n=90, classes=3, seed=2):
    rng = np.random.default_rng(seed)
    names = tuple(f"<class & {i}>" for i in range(classes))
    if kind is TaskKind.MULTILABEL:
        truth = rng.integers(0, 2, (n, classes))
        return Outcomes(kind=kind, classes=names, truth=truth, scores=rng.random((n, classes)).round(2))
    raw = rng.random((n, classes)).round(2) + 0.01
    return Outcomes(kind=kind, classes=names, truth=rng.integers(0, classes, n), scores=raw / raw.sum(1, keepdims=True))


def predictions_of(outcomes):
    n = len(outcomes)
    return Predictions(
        task="made up",
        keys=tuple(f"{i:032x}" for i in range(n)),
        patients=tuple(f"{i // 2:032x}" for i in range(n)),
        splits=tuple(("val", "test")[i % 2] for i in range(n)),
        outcomes=outcomes,
    )


def test_curves_are_those_of_scikit_learn():
    outcomes = outcomes_of(TaskKind.BINARY, classes=2)
    scores, positive = outcomes.scores[:, 1], outcomes.truth == 1
    x, y = roc_curve(scores, positive)
    expected_x, expected_y, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(x, expected_x)
    np.testing.assert_allclose(y, expected_y)
    recall, precision = precision_recall_curve(scores, positive)
    expected_precision, expected_recall, _ = sk.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(recall, expected_recall[::-1][1:])
    np.testing.assert_allclose(precision, expected_precision[::-1][1:])


def test_calibration_is_that_of_scikit_learn():
    outcomes = outcomes_of(TaskKind.MULTILABEL)
    confidence, accuracy, counts = calibration_curve(outcomes)
    expected_accuracy, expected_confidence = sk_calibration(outcomes.truth.ravel(), outcomes.scores.ravel(), n_bins=10)
    assert counts.sum() == outcomes.scores.size
    # Scores exactly on a border fall into the upper bin here and into the lower one there.
    assert np.abs(confidence - expected_confidence).max() < 0.02
    assert np.abs(accuracy - expected_accuracy).max() < 0.2


@pytest.mark.parametrize("kind", list(TaskKind))
def test_figures_are_well_formed_and_repeatable(kind):
    outcomes = outcomes_of(kind, classes=2 if kind is TaskKind.BINARY else 9)
    made = figures(outcomes)
    assert ("confusion.svg" in made) == (kind is not TaskKind.MULTILABEL)
    assert made == figures(outcomes)
    for name, text in made.items():
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
        lines = [each for each in root if each.tag.endswith("polyline")]
        if name in ("roc.svg", "precision_recall.svg"):
            assert len(lines) == (1 if kind is TaskKind.BINARY else 9)
    if kind is not TaskKind.MULTILABEL:
        shown = [each.text for each in ElementTree.fromstring(made["confusion.svg"]) if (each.text or "").isdigit()]
        assert sum(map(int, shown)) == len(outcomes)


@pytest.mark.parametrize("kind", list(TaskKind))
def test_predictions_come_back_as_they_were(kind, tmp_path):
    outcomes = outcomes_of(kind, classes=2 if kind is TaskKind.BINARY else 3)
    made = predictions_of(outcomes)
    path = tmp_path / "predictions.parquet"
    write_predictions(path, made)
    found = read_predictions(path)
    assert (found.task, found.outcomes.kind, found.outcomes.classes) == (made.task, kind, outcomes.classes)
    row = {key: index for index, key in enumerate(made.keys)}
    order = [row[key] for key in found.keys]
    assert sorted(order) == list(range(len(order)))
    assert (found.outcomes.truth == outcomes.truth[order]).all()
    assert (found.outcomes.scores == outcomes.scores[order]).all()
    test = found.of_split("test")
    assert set(test.splits) == {"test"}
    assert len(test.keys) == len(test.outcomes) == len(outcomes) // 2
    table = pq.read_table(path)
    assert table.column_names == ["key", "patient_key", "split", "truth", "predicted", "scores"]


def test_refuses_other_files_and_splits(tmp_path):
    (tmp_path / "other.parquet").write_bytes(encode_table(pa.table({"key": ["a"]})))
    with pytest.raises(UsageError, match="holds no predictions; they are written by"):
        read_predictions(tmp_path / "other.parquet")
    with pytest.raises(DatasetError, match="is missing; they are written by"):
        read_predictions(tmp_path / "missing.parquet")
    with pytest.raises(DatasetError, match="there are test, val"):
        predictions_of(outcomes_of(TaskKind.BINARY, classes=2)).of_split("train")
