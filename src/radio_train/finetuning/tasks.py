"""What is to be learned: images of a dataset with their labels.

Comes in: a dataset folder and a `TaskSpec`. Goes out: a `Task`. Refuses tasks without labels, labels of unknown images,
several labels of an image where one is expected, and tasks with a single class.

The task `region` needs no labels: the 14 regions of the thesis are its classes. All others are in the `labels` table of
the index, or in a file with the columns `key` and `label`.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import DatasetError, UsageError
from radio_io.index.catalog import open_index
from radio_io.index.gate import checked_predicate
from radio_io.privacy.pseudonyms import person_of
from radio_train.evaluation.outcomes import Indices, TaskKind
from radio_train.finetuning.label_rows import LabelRow, rows_from_file, rows_from_index

REGION = "region"
REGIONS = (
    "Ankle",
    "Cervical spine",
    "Clavicle",
    "Elbow",
    "Foot",
    "Hand",
    "Knee",
    "Lumbar spine",
    "Ribs",
    "Scapula",
    "Shoulder",
    "Skull",
    "Thoracic spine",
    "Wrist",
)
"""Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), Table 3.1."""
POSITIVE = frozenset(("1", "present", "yes", "true", "positive", "pos", "ja", "vorhanden"))
NO_LABEL = "none"
MIN_PATIENTS = 3
"""A class of fewer patients cannot be in all three splits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """Which task: `kind` None is binary or multiclass by the labels, `positive` None guesses by its name."""

    name: str
    kind: TaskKind | None = None
    where: str | None = None
    labels_file: Path | None = None
    positive: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Labelled images, sorted by key.

    Attributes:
        name: Of the task.
        kind: What a label says.
        classes: Names of C classes; of a binary task the second is the positive one.
        keys, patients: Of n images.
        dataset_splits: [n], in which split of the dataset each image is.
        targets: [n] int64, the class; [n, C] 0 or 1 where several labels are possible.
        left_out: Images that had a label and were left out, by reason.
    """

    name: str
    kind: TaskKind
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    patients: tuple[str, ...]
    dataset_splits: tuple[str, ...]
    targets: Indices
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def memberships(self) -> Indices:
        """[n, C] 0 or 1: the classes of each image, whatever the kind of task."""
        if self.kind is TaskKind.MULTILABEL:
            return self.targets
        return np.eye(len(self.classes), dtype=np.int64)[self.targets]

    def digest(self) -> str:
        """Equal for equal images and labels."""
        text = "\n".join([self.name, self.kind, *self.classes, *self.keys, *self.patients])
        return hashlib.sha256(text.encode() + np.ascontiguousarray(self.targets).tobytes()).hexdigest()[:16]


def load_task(dataset: Path, spec: TaskSpec) -> Task:
    """The images of a task with their labels.

    Raises:
        UsageError: The task is unknown, the label file cannot be read, or the labels do not fit the kind.
        DatasetError: There is no index, a label is of an unknown image, or only one class is left.
    """
    images = _images(dataset, spec.where)
    if spec.name == REGION and spec.labels_file is None:
        rows = [LabelRow(key=key, label=image.region) for key, image in images.items() if image.region in REGIONS]
        left_out = Counter({"other or unknown region": len(images) - len(rows)})
    else:
        rows, left_out = _label_rows(dataset, spec, images)
    labels = _by_key(rows, spec)
    kind = spec.kind or (TaskKind.BINARY if len({row.label for row in rows}) == 2 else TaskKind.MULTICLASS)
    labels, rare = _without_rare(labels, images, kind)
    left_out.update(rare)
    classes = _classes(labels, kind, spec)
    keys = sorted(labels)
    return Task(
        name=spec.name,
        kind=kind,
        classes=classes,
        keys=tuple(keys),
        patients=tuple(images[key].patient for key in keys),
        dataset_splits=tuple(images[key].split for key in keys),
        targets=_targets([labels[key] for key in keys], classes, kind),
        left_out={reason: count for reason, count in left_out.items() if count},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Image:
    patient: str
    split: str
    region: str


def _images(dataset: Path, where: str | None) -> dict[str, _Image]:
    with open_index(dataset) as connection:
        condition = checked_predicate(connection, where) if where else "true"
        found = connection.execute(
            f"SELECT key, patient_key, split, region FROM images WHERE ({condition})"  # noqa: S608 - checked
        ).fetchall()
    if not found:
        chosen = f" that {where!r} selects" if where else ""
        raise DatasetError(f"the dataset has no image{chosen}; widen the selection or build shards")
    # Images of one person may lie under several issuers of the ID: the person decides where they go.
    return {key: _Image(patient=person_of(who), split=split, region=region) for key, who, split, region in found}


def _label_rows(dataset: Path, spec: TaskSpec, images: Mapping[str, _Image]) -> tuple[list[LabelRow], Counter[str]]:
    """Labels of known images. Labels of withdrawn images stay behind in the index; a file must fit."""
    if spec.labels_file is None:
        rows = rows_from_index(dataset, spec.name)
        known = [row for row in rows if row.key in images]
        if not known:
            raise DatasetError(f"none of the {len(rows):,} labels of task {spec.name!r} is of a selected image")
        return known, Counter({"label of an image that is not selected or withdrawn": len(rows) - len(known)})
    rows = rows_from_file(spec.labels_file)
    everything = _images(dataset, None) if spec.where else images
    unknown = sum(row.key not in everything for row in rows)
    if unknown:
        raise DatasetError(
            f"{unknown:,} of {len(rows):,} labels in {spec.labels_file.name} are of images that this dataset does not "
            "have; keys are those of `radio query --keys`; labels by original identifiers are imported with "
            "`radio labels import`"
        )
    known = [row for row in rows if row.key in images]
    if not known:
        raise DatasetError(f"none of the labels in {spec.labels_file.name} is of a selected image; widen --where")
    return known, Counter({"label of an image that is not selected": len(rows) - len(known)})


def _by_key(rows: Sequence[LabelRow], spec: TaskSpec) -> dict[str, frozenset[str]]:
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(row.key, set()).add(row.label)
    several = sum(len(each) > 1 for each in labels.values())
    if several and spec.kind is not TaskKind.MULTILABEL:
        raise UsageError(
            f"{several:,} images have several labels of task {spec.name!r}; correct them, or say --kind multilabel"
        )
    if spec.kind is TaskKind.MULTILABEL:
        return {key: frozenset(each - {NO_LABEL}) for key, each in labels.items()}
    return {key: frozenset(each) for key, each in labels.items()}


def _without_rare(
    labels: Mapping[str, frozenset[str]], images: Mapping[str, _Image], kind: TaskKind
) -> tuple[dict[str, frozenset[str]], Counter[str]]:
    """Without the classes that too few patients have; images of several labels only lose the rare one."""
    patients: dict[str, set[str]] = {}
    for key, names in labels.items():
        for name in names:
            patients.setdefault(name, set()).add(images[key].patient)
    rare = {name for name, who in patients.items() if len(who) < MIN_PATIENTS}
    if kind is TaskKind.MULTILABEL:
        count = sum(bool(names & rare) for names in labels.values())
        return {key: names - rare for key, names in labels.items()}, Counter({_rare_reason(rare): count})
    kept = {key: names for key, names in labels.items() if not names & rare}
    return kept, Counter({_rare_reason(rare): len(labels) - len(kept)})


def _rare_reason(rare: set[str]) -> str:
    return f"class of fewer than {MIN_PATIENTS} patients: {', '.join(sorted(rare))}"


def _classes(labels: Mapping[str, frozenset[str]], kind: TaskKind, spec: TaskSpec) -> tuple[str, ...]:
    names = sorted({name for each in labels.values() for name in each}, key=_natural)
    if kind is TaskKind.MULTILABEL and names:
        return tuple(names)
    if len(names) < 2:
        only = f"only the class {names[0]!r}" if names else "no class"
        raise DatasetError(
            f"task {spec.name!r} has {only} with at least {MIN_PATIENTS} patients ({len(labels):,} images); a "
            "classifier needs two: widen --where or import more labels"
        )
    if kind is TaskKind.ORDINAL and not all(_is_number(name) for name in names):
        raise UsageError(f"task {spec.name!r} has labels such as {names[0]!r}; an ordinal task needs numbers")
    if kind is not TaskKind.BINARY:
        return tuple(names)
    if len(names) != 2:
        raise UsageError(f"task {spec.name!r} has {len(names)} classes, a binary task has two; say --kind multiclass")
    return _binary_order(names, spec)


def _binary_order(names: Sequence[str], spec: TaskSpec) -> tuple[str, str]:
    """The negative class, then the positive one."""
    first, second = names
    if spec.positive is not None:
        if spec.positive not in names:
            raise UsageError(f"--positive {spec.positive!r}; task {spec.name!r} has the classes {first!r}, {second!r}")
        return (first, second) if spec.positive == second else (second, first)
    turned = first.casefold() in POSITIVE and second.casefold() not in POSITIVE
    return (second, first) if turned else (first, second)


def _targets(labels: Sequence[frozenset[str]], classes: tuple[str, ...], kind: TaskKind) -> Indices:
    if kind is TaskKind.MULTILABEL:
        return np.array([[name in each for name in classes] for each in labels], np.int64)
    place = {name: index for index, name in enumerate(classes)}
    found: NDArray[np.int64] = np.array([place[next(iter(each))] for each in labels], np.int64)
    return found


def _natural(name: str) -> tuple[bool, float, str]:
    """Numbers by value, before texts."""
    return (False, float(name), name) if _is_number(name) else (True, 0.0, name)


def _is_number(name: str) -> bool:
    try:
        return float(name) == float(name)
    except ValueError:
        return False
