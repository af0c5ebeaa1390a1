"""Intervals that cover, a test that keeps its level, and whole patients."""

import numpy as np
import pytest

from radio_io.errors import UsageError
from radio_train.evaluation.bootstrap import compare_runs, intervals, patient_weights, run_intervals
from radio_train.evaluation.metrics import measure
from radio_train.evaluation.outcomes import Outcomes, TaskKind


def clustered(seed, patients=120, skill=0.8):
    """A binary task where the images of a patient share their label and how easy they are."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, patients)
    who = np.repeat(np.arange(patients), sizes)
    label = (rng.random(patients) < 0.4)[who].astype(np.int64)
    signal = (2 * label - 1) * skill + rng.normal(0, 0.7, patients)[who] + rng.normal(0, 0.7, len(who))
    score = 1 / (1 + np.exp(-1.5 * signal))
    scores = np.stack([1 - score, score], axis=1)
    return Outcomes(kind=TaskKind.BINARY, classes=("no", "yes"), truth=label, scores=scores), [str(p) for p in who]


def test_draws_whole_patients_and_as_many_as_there_are():
    weights = patient_weights(["a", "b", "a", "c", "c", "c"], 500, seed=1)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    assert weights[:, 0].mean() == pytest.approx(1, abs=0.15)


def test_is_the_same_for_the_same_seed():
    outcomes, patients = clustered(0)
    first = intervals(outcomes, patients, resamples=200, seed=4)
    assert first == intervals(outcomes, patients, resamples=200, seed=4)
    assert first != intervals(outcomes, patients, resamples=200, seed=5)
    for name, interval in first.items():
        assert interval.low <= interval.value <= interval.high, name
        assert interval.value == measure(outcomes)[name][0]


def test_several_runs_are_averaged_and_widen_the_interval():
    runs = [clustered(0, skill=skill) for skill in (0.2, 0.9, 1.6)]
    patients = runs[0][1]
    together = run_intervals([run for run, _ in runs], [patients] * 3, resamples=400)["balanced_accuracy"]
    alone = intervals(runs[1][0], patients, resamples=400)["balanced_accuracy"]
    assert together.value == pytest.approx(np.mean([measure(run)["balanced_accuracy"][0] for run, _ in runs]))
    assert together.high - together.low > alone.high - alone.low


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "auroc", "auprc", "f1", "sensitivity"])
def test_intervals_cover_the_truth(name):
    many, _ = clustered(999, patients=200_000)
    truth = float(measure(many)[name][0])
    covered = 0
    for seed in range(500):
        outcomes, patients = clustered(seed)
        interval = intervals(outcomes, patients, resamples=400, seed=seed)[name]
        covered += interval.low <= truth <= interval.high
    assert 0.90 <= covered / 500 <= 0.98, covered


@pytest.mark.slow
def test_the_paired_test_keeps_its_level_and_finds_what_is_there():
    equal = different = 0
    for seed in range(300):
        first, patients = clustered(seed)
        rng = np.random.default_rng(seed + 10_000)

        def noisy(amount, base=first, rng=rng):
            score = 1 / (
                1 + np.exp(-(np.log(base.scores[:, 1] / base.scores[:, 0]) + rng.normal(0, amount, len(base))))
            )
            return Outcomes(
                kind=base.kind, classes=base.classes, truth=base.truth, scores=np.stack([1 - score, score], 1)
            )

        equal += compare_runs([noisy(2.0)], [noisy(2.0)], patients, resamples=300, seed=seed).p_value < 0.05
        different += compare_runs([noisy(6.0)], [noisy(0.3)], patients, resamples=300, seed=seed).p_value < 0.05
    assert equal / 300 <= 0.09  # 5 % and three standard errors
    assert different / 300 >= 0.8


def test_equal_models_do_not_differ_and_others_do():
    outcomes, patients = clustered(3)
    same = compare_runs([outcomes], [outcomes], patients, resamples=200)
    assert (same.difference, same.p_value, same.low, same.high) == (0, 1, 0, 0)
    perfect = Outcomes(
        kind=outcomes.kind, classes=outcomes.classes, truth=outcomes.truth, scores=np.eye(2)[outcomes.truth]
    )
    better = compare_runs([outcomes], [perfect], patients, resamples=999)
    assert better.difference == pytest.approx(1 - measure(outcomes)["balanced_accuracy"][0])
    assert better.p_value == pytest.approx(1e-3)
    assert 0 < better.low < better.difference < better.high


def test_refuses_to_compare_other_images():
    outcomes, patients = clustered(3)
    other = Outcomes(kind=outcomes.kind, classes=outcomes.classes, truth=1 - outcomes.truth, scores=outcomes.scores)
    with pytest.raises(UsageError, match="same images"):
        compare_runs([outcomes], [other], patients, resamples=10)
