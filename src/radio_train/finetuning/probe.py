"""What vectors are worth, in seconds: nearest neighbours and a linear layer on a file of `radio train embed`.

Comes in: a Parquet file of vectors, a dataset, a task. Goes out: `ProbeResult`s with intervals by patient, a picture of
the vectors, coloured by class. Refuses files that hold no vectors, and fewer vectors than a
split needs.

Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018 (weighted
neighbours).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from radio_io import atomic
from radio_io.errors import DatasetError, UsageError
from radio_train.evaluation.bootstrap import Interval, intervals
from radio_train.evaluation.figures import scatter_figure
from radio_train.evaluation.outcomes import Indices, Numbers, Outcomes
from radio_train.evaluation.weighted import Flags
from radio_train.finetuning.linear import Vectors, fit_linear
from radio_train.finetuning.objective import probabilities
from radio_train.finetuning.projection import Projection, project, require_umap_extra
from radio_train.finetuning.splits import TEST, VAL, Names, label_subset, stratified_splits
from radio_train.finetuning.tasks import Task, TaskSpec, load_task

NEIGHBOURS = 20
TEMPERATURE = 0.07
COLUMNS = ("cls", "mean")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """How vectors are judged: `column` is cls or mean; `fraction` of the training labels, chosen by `seed`.

    `projection` makes places of them for the picture.
    """

    column: str = "mean"
    neighbours: int = NEIGHBOURS
    fraction: float = 1.0
    split_seed: int = 0
    seed: int = 0
    projection: Projection = Projection.PCA

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.column not in COLUMNS or self.neighbours < 1:
            raise UsageError(
                f"found column={self.column!r}, {self.neighbours} neighbours; expected one of {', '.join(COLUMNS)} "
                "and at least one neighbour"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeResult:
    """What one way of judging found on the test images."""

    method: str
    training_images: int
    test_images: int
    metrics: Mapping[str, Interval]


def run_probe(
    vectors: Path, dataset: Path, spec: TaskSpec, config: ProbeConfig | None = None, picture: Path | None = None
) -> list[ProbeResult]:
    """Judge the vectors by nearest neighbours and by a linear layer.

    Raises:
        UsageError, DatasetError: See the module and `load_task`.
    """
    chosen = config or ProbeConfig()
    if picture is not None and chosen.projection is Projection.UMAP:
        require_umap_extra()  # before minutes of work
    keys, values = read_vectors(vectors, chosen.column)
    task, rows = _with_vectors(load_task(dataset, spec), keys)
    values = values[rows]
    splits = stratified_splits(task, seed=chosen.split_seed)
    train = label_subset(task, splits, chosen.fraction, chosen.seed)
    test = splits == TEST
    if picture is not None:
        atomic.make_folder(picture.absolute().parent)
        atomic.write_file(picture.absolute(), _picture(task, values, chosen.projection).encode())
    patients = [task.patients[row] for row in np.flatnonzero(test)]
    found = {
        f"{chosen.neighbours} nearest neighbours": nearest_neighbours(
            values[train], task.memberships[train], values[test], chosen.neighbours
        ),
        "linear layer": _linear(task, values, splits, train),
    }
    return [
        ProbeResult(
            method=method,
            training_images=int(train.sum()),
            test_images=int(test.sum()),
            metrics=intervals(_outcomes(task, test, scores), patients),
        )
        for method, scores in found.items()
    ]


def read_vectors(path: Path, column: str) -> tuple[list[str], Numbers]:
    """Keys and vectors [n, width] of a file.

    Raises:
        UsageError: It holds none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise UsageError(f"{path} does not exist; write vectors with: radio train embed RUN --out {path.name}")
    try:
        table = pq.read_table(path, columns=["key", column])
        keys: list[str] = table["key"].to_pylist()
        flat = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    except (OSError, pa.ArrowException, AttributeError, KeyError):
        raise UsageError(
            f"{path} holds no vectors in a column {column}; write some with: radio train embed RUN --out {path.name}"
        ) from None
    return keys, np.asarray(flat, np.float64).reshape(len(keys), -1)


def nearest_neighbours(train: Numbers, memberships: Indices, test: Numbers, count: int) -> Numbers:
    """[n, C]: shares of the classes among the most similar training images, the more similar ones weighing more."""
    similarity = _unit(test) @ _unit(train).T  # [n, training images]
    count = min(count, train.shape[0])
    nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    close = np.take_along_axis(similarity, nearest, axis=1)
    weights = np.exp((close - close.max(1, keepdims=True)) / TEMPERATURE)  # [n, count]
    return np.einsum("nk,nkc->nc", weights / weights.sum(1, keepdims=True), memberships[nearest].astype(np.float64))


def _with_vectors(task: Task, keys: list[str]) -> tuple[Task, Indices]:
    """The task's images that have a vector, and the rows of their vectors."""
    place = {key: row for row, key in enumerate(keys)}
    kept = [row for row, key in enumerate(task.keys) if key in place]
    if not kept:
        raise DatasetError(f"none of the {len(keys):,} vectors is of an image of task {task.name!r}; embed again")
    chosen = replace(
        task,
        keys=tuple(task.keys[row] for row in kept),
        patients=tuple(task.patients[row] for row in kept),
        dataset_splits=tuple(task.dataset_splits[row] for row in kept),
        targets=task.targets[kept],
    )
    return chosen, np.array([place[key] for key in chosen.keys], np.int64)


def _linear(task: Task, values: Numbers, splits: Names, train: Flags) -> Numbers:
    val, test = splits == VAL, splits == TEST
    layer = fit_linear(
        Vectors(values=values[train], targets=task.targets[train]),
        Vectors(values=values[val], targets=task.targets[val]),
        task.kind,
        task.classes,
    )
    return probabilities(torch.from_numpy(layer.logits(values[test])), task.kind).numpy()


def _outcomes(task: Task, test: Flags, scores: Numbers) -> Outcomes:
    return Outcomes(kind=task.kind, classes=task.classes, truth=task.targets[test], scores=scores.clip(0, 1))


def _picture(task: Task, values: Numbers, projection: Projection) -> str:
    places = project(values, projection)
    groups = [(name, places[task.memberships[:, index] == 1]) for index, name in enumerate(task.classes)]
    how = {Projection.PCA: "two main directions", Projection.UMAP: "UMAP by angle"}[projection]
    return scatter_figure(f"Vectors of task {task.name}, {how}", groups)


def _unit(values: Numbers) -> Numbers:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
