"""A finished run judged: metrics with intervals, by class, by region and by device, with figures.

Comes in: a run folder of fine-tuning; optionally another dataset, whose images are then predicted anew. Goes out:
`evaluation/` in the run folder (`evaluation.json`, `predictions.parquet`, SVG figures) and an `Evaluation`. Refuses
runs without a finished training, and splits without predictions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from radio_io import atomic
from radio_io.errors import UsageError
from radio_io.index.catalog import open_index
from radio_train.evaluation.bootstrap import RESAMPLES, Interval, run_intervals
from radio_train.evaluation.figures import figures
from radio_train.evaluation.metrics import ClassMetrics, confusion, per_class
from radio_train.evaluation.outcomes import Outcomes
from radio_train.evaluation.plain import json_bytes
from radio_train.evaluation.predictions import Predictions, read_predictions, write_predictions
from radio_train.finetuning.classifier import ImageSource, predict_logits
from radio_train.finetuning.config import TrainingConfig
from radio_train.finetuning.member import PREDICTIONS, PreparedTask, predictions_of
from radio_train.finetuning.member_files import load_classifier
from radio_train.finetuning.run import member_folders
from radio_train.finetuning.splits import TEST
from radio_train.finetuning.tasks import Task, TaskSpec, load_task

SUBGROUPS = {
    "region": "region",
    "device": "coalesce(manufacturer, '') || ' ' || coalesce(model, '')",
    "sex": "patient_sex",
}
"""Names of subgroups, and what in the index they are."""
LEAST_IMAGES = 10
"""A smaller subgroup says nothing about a metric, and something about its patients."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subgroup:
    """The metrics of some of the images."""

    by: str
    name: str
    images: int
    patients: int
    metrics: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How good the classifiers of a run are on a split, with one share of the labels.

    Metrics, classes and subgroups are of all seeds: metrics and subgroups averaged, with intervals over patients and
    seeds; classes and `confusion` of the first seed.
    """

    run: str
    task: str
    kind: str
    split: str
    fraction: float
    seeds: tuple[int, ...]
    images: int
    patients: int
    metrics: Mapping[str, Interval]
    classes: tuple[ClassMetrics, ...]
    confusion: list[list[int]]
    subgroups: tuple[Subgroup, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """What is judged: the split, the share of the labels (None: the largest), which subgroups, how many resamples.

    `dataset` predicts all labelled images of another dataset instead; `labels_file` is for those labels.
    """

    split: str = TEST
    fraction: float | None = None
    by: tuple[str, ...] = ("region", "device")
    resamples: int = RESAMPLES
    dataset: Path | None = None
    labels_file: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        unknown = [name for name in self.by if name not in SUBGROUPS]
        if unknown or self.resamples < 1:
            raise UsageError(f"found by={', '.join(self.by)}, {self.resamples} resamples; by is {', '.join(SUBGROUPS)}")


def run_evaluate(run: Path, config: EvaluateConfig | None = None) -> Evaluation:
    """Judge a run and write `evaluation/`.

    Raises:
        UsageError, TrainingError, DatasetError: See the module.
    """
    chosen = config or EvaluateConfig()
    folders = _folders(run, chosen.fraction)
    dataset = chosen.dataset or trained_on(run)
    if chosen.dataset is None:
        found = [read_predictions(folder / PREDICTIONS).of_split(chosen.split) for folder in folders]
    else:
        found = [predict_dataset(folder, chosen.dataset, chosen.labels_file) for folder in folders]
    first = found[0]
    runs, patients = [each.outcomes for each in found], [each.patients for each in found]
    evaluation = Evaluation(
        run=str(run),
        task=first.task,
        kind=first.outcomes.kind.value,
        split=chosen.split if chosen.dataset is None else "all",
        fraction=float(folders[0].parent.name.removeprefix("fraction-")),
        seeds=tuple(int(folder.name.removeprefix("seed-")) for folder in folders),
        images=len(first.keys),
        patients=len(set(first.patients)),
        metrics=run_intervals(runs, patients, resamples=chosen.resamples),
        classes=tuple(per_class(first.outcomes)),
        confusion=confusion(first.outcomes).tolist(),
        subgroups=_subgroups(dataset, found, chosen),
    )
    _write(run / "evaluation", evaluation, first)
    return evaluation


def predict_dataset(folder: Path, dataset: Path, labels_file: Path | None = None) -> Predictions:
    """What a finished training says of all labelled images of a dataset.

    Raises:
        UsageError: The labels there are of other classes.
    """
    model, facts = load_classifier(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spec = TaskSpec(name=facts.task, kind=facts.kind, labels_file=labels_file)
    task = _with_classes(load_task(dataset, spec), facts.classes)
    training = TrainingConfig(resolution=facts.resolution, scale=facts.scale)
    source = ImageSource(dataset=dataset, sizes=facts.sizes, training=training, device=device)
    prepared = PreparedTask(dataset=dataset, task=task, splits=np.array(["all"] * len(task)))
    return predictions_of(prepared, predict_logits(model.to(device), source, source.table(task.keys)))


def trained_on(run: Path) -> Path:
    """The dataset of a run.

    Raises:
        UsageError: It is no run of fine-tuning.
    """
    try:
        return Path(json.loads((run / "config.json").read_text(encoding="utf-8"))["dataset"])
    except (OSError, ValueError, KeyError):
        raise UsageError(f"{run} is no run of fine-tuning; give the --run of: radio train finetune") from None


def _folders(run: Path, fraction: float | None) -> list[Path]:
    trained_on(run)
    folders = member_folders(run)
    names = list(dict.fromkeys(folder.parent.name for folder in folders))
    wanted = names[0] if fraction is None else f"fraction-{fraction:g}"
    if wanted not in names:
        known = ", ".join(name.removeprefix("fraction-") for name in names)
        raise UsageError(f"{run} has no training with the label fraction {fraction:g}; there are {known}")
    return [folder for folder in folders if folder.parent.name == wanted]


def _with_classes(task: Task, classes: tuple[str, ...]) -> Task:
    """The task with the classes in the order of the classifier."""
    unknown = sorted(set(task.classes) - set(classes))
    if unknown:
        raise UsageError(f"the labels have classes that the classifier does not know: {', '.join(unknown)}")
    place = np.array([classes.index(name) for name in task.classes], np.int64)
    if task.targets.ndim == 2:
        targets = np.zeros((len(task), len(classes)), np.int64)
        targets[:, place] = task.targets
    else:
        targets = place[task.targets]
    return replace(task, classes=classes, targets=targets)


def _subgroups(dataset: Path, found: Sequence[Predictions], config: EvaluateConfig) -> tuple[Subgroup, ...]:
    """Metrics of each subgroup that is large enough, largest first."""
    made: list[Subgroup] = []
    for by in config.by:
        names = _names_by_key(dataset, SUBGROUPS[by])
        groups = np.array([names.get(key, "") for key in found[0].keys])
        values, counts = np.unique(groups, return_counts=True)
        for index in np.lexsort((values, -counts)):
            if counts[index] < LEAST_IMAGES:
                continue
            chosen = groups == values[index]
            members = [each.select(chosen) for each in found]
            outcomes: list[Outcomes] = [each.outcomes for each in members]
            patients = [each.patients for each in members]
            made.append(
                Subgroup(
                    by=by,
                    name=str(values[index]).strip() or "unknown",
                    images=int(counts[index]),
                    patients=len(set(members[0].patients)),
                    metrics=run_intervals(outcomes, patients, resamples=config.resamples),
                )
            )
    return tuple(made)


def _names_by_key(dataset: Path, expression: str) -> dict[str, str]:
    with open_index(dataset) as connection:
        rows = connection.execute(f"SELECT key, coalesce({expression}, '') FROM images").fetchall()  # noqa: S608 - ours
    return {key: str(name) for key, name in rows}


def _write(folder: Path, evaluation: Evaluation, predictions: Predictions) -> None:
    atomic.make_folder(folder)
    atomic.write_file(folder / "evaluation.json", json_bytes(evaluation))
    write_predictions(folder / "predictions.parquet", predictions)
    for name, drawing in figures(predictions.outcomes).items():
        atomic.write_file(folder / name, drawing.encode())
