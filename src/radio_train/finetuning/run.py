"""A run of fine-tuning: several seeds, several shares of the labels, perhaps a sweep of learning rates first.

Comes in: a `FinetuneConfig`, a dataset, a run folder. Goes out: `config.json`, a folder a training
(`fraction-0.1/seed-2`), `sweep.json`, `summary.json`. Finished trainings are taken over, so the same command goes on
after a kill. Refuses a folder of another configuration.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from radio_io import atomic
from radio_io.errors import TrainingError, UsageError
from radio_train.evaluation.bootstrap import Interval, run_intervals
from radio_train.evaluation.plain import json_bytes
from radio_train.evaluation.predictions import Predictions, read_predictions
from radio_train.finetuning.config import FinetuneConfig, Mode
from radio_train.finetuning.encoders import encoder_sizes
from radio_train.finetuning.linear import VectorStore
from radio_train.finetuning.member import PREDICTIONS, Member, PreparedTask, Report, train_member
from radio_train.finetuning.splits import TEST, dataset_splits, describe_splits, label_subset, stratified_splits
from radio_train.finetuning.tasks import load_task

SWEEP_EPOCHS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlan:
    """What is trained: `seeds` trainings for each share of the labels; `sweep` rates are tried first."""

    seeds: int = 1
    fractions: tuple[float, ...] = (1.0,)
    sweep: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SweptRate:
    """A learning rate and the best balanced validation accuracy it reached within a few epochs."""

    rate: float
    balanced_accuracy: float
    best_epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FractionResult:
    """What came out with a share of the labels; metrics of the test images over all seeds."""

    fraction: float
    training_images: int
    seeds: tuple[int, ...]
    balanced_accuracies: tuple[float, ...]
    metrics: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneSummary:
    """What came of a run; `left_out` counts labelled images that were not used, by reason."""

    run: str
    task: str
    kind: str
    classes: tuple[str, ...]
    rate: float
    images: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, int]
    sweep: tuple[SweptRate, ...]
    results: tuple[FractionResult, ...]


def prepare_task(config: FinetuneConfig, dataset: Path) -> PreparedTask:
    """The task with its splits.

    Raises:
        UsageError, DatasetError: See `load_task` and `stratified_splits`.
    """
    task = load_task(dataset, config.task)
    if config.splits == "dataset":
        splits = dataset_splits(task)
    else:
        splits = stratified_splits(task, shares=config.shares, seed=config.split_seed)
    return PreparedTask(dataset=dataset, task=task, splits=splits)


def run_finetune(
    config: FinetuneConfig,
    dataset: Path,
    run: Path,
    plan: RunPlan | None = None,
    *,
    report: Report = lambda member, metrics: None,
    store: VectorStore | None = None,
) -> FinetuneSummary:
    """Train all members of a run and sum up; probes compute vectors that are not yet in the store.

    Raises:
        UsageError, DatasetError, TrainingError: See the module.
    """
    chosen, vectors = plan or RunPlan(), store or VectorStore()
    if chosen.seeds < 1 or not chosen.fractions:
        raise UsageError(f"found {chosen.seeds} seeds, {len(chosen.fractions)} fractions; expected at least one each")
    encoder_sizes(config.init, config.preset)  # refuses wrong weights before anything is written
    prepared = prepare_task(config, dataset)
    for fraction in chosen.fractions:
        label_subset(prepared.task, prepared.splits, fraction, 0)
    _prepare_folder(config, dataset, run)
    swept = _sweep(config, prepared, run, chosen, report)
    rate = max(swept, key=lambda each: each.balanced_accuracy).rate if swept else config.training.base_rate
    results: list[FractionResult] = []
    for fraction in chosen.fractions:
        members = _members(run, fraction, chosen, rate)
        found = [train_member(config, prepared, member, report, vectors) for member in members]
        results.append(_fraction_result(run, fraction, found))
    summary = FinetuneSummary(
        run=str(run),
        task=prepared.task.name,
        kind=prepared.task.kind.value,
        classes=prepared.task.classes,
        rate=rate,
        images=describe_splits(prepared.task, prepared.splits),
        left_out=prepared.task.left_out,
        sweep=tuple(swept),
        results=tuple(results),
    )
    atomic.write_file(run / "summary.json", json_bytes(summary))
    return summary


def member_folder(run: Path, fraction: float, seed: int) -> Path:
    """Where a training of a run lies."""
    return run / f"fraction-{fraction:g}" / f"seed-{seed}"


def member_folders(run: Path) -> list[Path]:
    """All finished trainings of a run, by falling share of the labels, then seed.

    Raises:
        TrainingError: There is none.
    """
    found = [path.parent for path in run.glob(f"fraction-*/seed-*/{PREDICTIONS}")]
    if not found:
        raise TrainingError(f"{run} has no finished training; run: radio train finetune --run {run}")

    def order(folder: Path) -> tuple[float, int]:
        return -float(folder.parent.name.removeprefix("fraction-")), int(folder.name.removeprefix("seed-"))

    return sorted(found, key=order)


def predictions_of_seeds(run: Path, fraction: float, seeds: Sequence[int], split: str = TEST) -> list[Predictions]:
    """The predictions of a split by each seed's classifier."""
    return [read_predictions(member_folder(run, fraction, seed) / PREDICTIONS).of_split(split) for seed in seeds]


def _members(run: Path, fraction: float, plan: RunPlan, rate: float) -> list[Member]:
    return [
        Member(folder=member_folder(run, fraction, seed), fraction=fraction, seed=seed, rate=rate)
        for seed in range(plan.seeds)
    ]


def _sweep(config: FinetuneConfig, prepared: PreparedTask, run: Path, plan: RunPlan, report: Report) -> list[SweptRate]:
    """A short training a rate, on the largest share of the labels; the rate is then the same for all."""
    if not plan.sweep or config.mode is Mode.PROBE:
        return []
    epochs = min(SWEEP_EPOCHS, config.training.epochs)
    short = replace(config, training=replace(config.training, epochs=epochs, warmup_epochs=min(1, epochs - 1)))
    swept: list[SweptRate] = []
    for rate in plan.sweep:
        folder = run / "sweep" / f"rate-{rate:g}"
        member = Member(folder=folder, fraction=max(plan.fractions), seed=0, rate=rate)
        result = train_member(short, prepared, member, report)
        swept.append(
            SweptRate(
                rate=rate,
                balanced_accuracy=result["validation_balanced_accuracy"],
                best_epoch=result["best_epoch"],
            )
        )
    return swept


def _fraction_result(run: Path, fraction: float, results: Sequence[Mapping[str, Any]]) -> FractionResult:
    seeds = [int(result["seed"]) for result in results]
    predictions = predictions_of_seeds(run, fraction, seeds)
    metrics = run_intervals([each.outcomes for each in predictions], [each.patients for each in predictions])
    return FractionResult(
        fraction=fraction,
        training_images=round(float(np.mean([result["training_images"] for result in results]))),
        seeds=tuple(seeds),
        balanced_accuracies=tuple(float(result["test"]["balanced_accuracy"]) for result in results),
        metrics=metrics,
    )


def _prepare_folder(config: FinetuneConfig, dataset: Path, run: Path) -> None:
    """Write what the run is, or check that it is the same one."""
    values = json.loads(json.dumps({**asdict(config), "dataset": str(dataset.absolute())}, default=str))
    path = run / "config.json"
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise TrainingError(f"{path} is damaged; name another folder with --run") from None
        different = sorted(name for name in values if found.get(name) != values[name])
        if different:
            raise TrainingError(
                f"{run} was begun with another {', '.join(different)}; use the same command to go on, or name another "
                "folder with --run"
            )
        return
    atomic.make_folder(run)
    atomic.write_file(path, (json.dumps(values, indent=2, sort_keys=True) + "\n").encode())
