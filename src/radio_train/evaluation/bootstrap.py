"""Intervals of metrics by resampling patients, and the paired test of two models.

Comes in: `Outcomes` and the patient of each image. Goes out: `Interval`s; the p-value of a difference. Whole patients
are drawn, since images of one patient resemble each other. Refuses nothing beyond what `metrics` refuses.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 (percentile intervals) and 15
(permutation tests).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import UsageError
from radio_train.evaluation.metrics import measure
from radio_train.evaluation.outcomes import Indices, Numbers, Outcomes, TaskKind

RESAMPLES = 2_000
CELLS_AT_ONCE = 4_000_000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A value and where it lies with a probability of 95 %; NaN where it does not exist."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTest:
    """Difference of the balanced accuracies of two models on the same images, and how likely chance makes one as large.

    `low` and `high` bound the difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


def patient_weights(patients: Sequence[str], resamples: int, seed: int) -> Numbers:
    """[resamples, n]: how often each image's patient was drawn."""
    _, index = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    count = int(index.max()) + 1 if len(index) else 0
    drawn = np.random.default_rng([seed, 0xB007]).multinomial(count, np.full(count, 1 / max(count, 1)), size=resamples)
    return drawn.astype(np.float64)[:, index]


def intervals(
    outcomes: Outcomes, patients: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Each metric with its 95 % interval.

    Raises:
        DatasetError: There is no image.
    """
    return run_intervals([outcomes], [patients], resamples=resamples, seed=seed)


def run_intervals(
    runs: Sequence[Outcomes], patients: Sequence[Sequence[str]], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Metrics averaged over runs (such as seeds), with intervals over the choice of both patients and runs.

    Raises:
        DatasetError: A run has no image.
    """
    plain = [measure(run) for run in runs]
    drawn = [_resampled(run, who, resamples, seed) for run, who in zip(runs, patients, strict=True)]
    chosen = np.random.default_rng([seed, 0x5EED]).integers(len(runs), size=(resamples, len(runs)))
    found: dict[str, Interval] = {}
    for name in plain[0]:
        value = float(np.mean([float(each[name][0]) for each in plain]))
        each_run = np.stack([values[name] for values in drawn])  # [runs, resamples]
        means = each_run[chosen, np.arange(resamples)[:, None]].mean(1)
        found[name] = _percentiles(value, means)
    return found


def compare_runs(
    first: Sequence[Outcomes],
    second: Sequence[Outcomes],
    patients: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Whether the second model's runs have another balanced accuracy than the first's on the same images.

    Under the hypothesis that both are equal, the models may be exchanged for each patient: the p-value is the share of
    random exchanges with a difference at least as large.

    Raises:
        UsageError: The runs are not of the same images.
    """
    pairs = list(zip(first, second, strict=True))
    if any(not np.array_equal(one.truth, first[0].truth) for pair in pairs for one in pair):
        raise UsageError("the runs were not evaluated on the same images in the same order; no paired test is possible")
    gain = np.mean([_shares(two) - _shares(one) for one, two in pairs], axis=0)  # [n], adds up to the difference
    _, index = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    by_patient = np.bincount(index, weights=gain)
    signs = np.random.default_rng([seed, 0x7E57]).integers(0, 2, (resamples, len(by_patient))) * 2.0 - 1
    observed = float(by_patient.sum())
    exceeding = int((np.abs(signs @ by_patient) >= abs(observed) - 1e-12).sum())
    one = run_means([pair[0] for pair in pairs], patients, resamples, seed)
    two = run_means([pair[1] for pair in pairs], patients, resamples, seed)
    bounds = _percentiles(observed, two - one)
    return PairedTest(difference=observed, low=bounds.low, high=bounds.high, p_value=(exceeding + 1) / (resamples + 1))


def run_means(runs: Sequence[Outcomes], patients: Sequence[str], resamples: int, seed: int) -> Numbers:
    """[resamples]: balanced accuracy averaged over runs, for the same draws of patients whatever the runs."""
    return np.mean([_resampled(run, patients, resamples, seed)["balanced_accuracy"] for run in runs], axis=0)


def _resampled(outcomes: Outcomes, patients: Sequence[str], resamples: int, seed: int) -> dict[str, Numbers]:
    weights = patient_weights(patients, resamples, seed)
    step = max(1, CELLS_AT_ONCE // max(1, len(outcomes)))
    parts = [measure(outcomes, weights[start : start + step]) for start in range(0, resamples, step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _percentiles(value: float, drawn: Numbers) -> Interval:
    defined = drawn[np.isfinite(drawn)]
    if not len(defined):
        return Interval(value=value, low=float("nan"), high=float("nan"))
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high))


def _shares(outcomes: Outcomes) -> Numbers:
    """[n]: what each image adds to the balanced accuracy."""
    right = (outcomes.predicted == outcomes.truth).astype(np.float64)
    if outcomes.kind is TaskKind.MULTILABEL:
        columns = [_class_shares(outcomes.truth[:, i], right[:, i]) for i in range(right.shape[1])]
        return np.mean(columns, axis=0)
    return _class_shares(outcomes.truth, right)


def _class_shares(truth: Indices, right: Numbers) -> Numbers:
    _, index = np.unique(truth, return_inverse=True)
    counts: NDArray[np.int64] = np.bincount(index)
    return right / counts[index] / len(counts)
