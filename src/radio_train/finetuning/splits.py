"""Which images of a task are for training, validation and testing, and which few labels of them are used.

Comes in: a `Task`, shares, a seed. Goes out: the split of each image; a subset of the training images. Patients stay
whole and the shares of the classes are kept; everything is a function of the seed and the patients' keys. Refuses
splits in which only one class is left.

Source: Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-label Data, ECML 2011 (rarest class first).
"""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import DatasetError, UsageError
from radio_io.layout import Split
from radio_train.evaluation.outcomes import Indices, Numbers
from radio_train.finetuning.tasks import Task

SHARES = (0.75, 0.10, 0.15)
SPLITS = tuple(split.value for split in Split)
TRAIN, VAL, TEST = SPLITS
Names = NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Patients:
    """Patients in a seeded order: images by class [p, C or C + 1], their number [p], patient of each image [n]."""

    classes: Numbers
    sizes: Numbers
    of_image: Indices


def stratified_splits(task: Task, *, shares: tuple[float, float, float] = SHARES, seed: int = 0) -> Names:
    """[n]: train, val or test by patient and class.

    Raises:
        UsageError: The shares are not positive or do not add up to 1.
        DatasetError: A split has one class only.
    """
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise UsageError(f"found split shares {shares}; expected three positive numbers that add up to 1")
    patients = _patients(task, seed)
    wanted = np.outer(shares, patients.classes.sum(0))  # [3, C], images still to come
    wanted_sizes = np.array(shares) * patients.sizes.sum()
    owners = (patients.classes > 0).sum(0)
    rarity = np.array([_rarest(row, owners) for row in patients.classes])
    assigned = np.zeros(len(patients.sizes), np.int64)
    left = owners.copy()
    for patient in np.lexsort((np.arange(len(rarity)), -patients.sizes, owners[rarity])):
        held = patients.classes[patient]
        split = _choose(wanted, wanted_sizes, int(rarity[patient]), patients, assigned, left)
        assigned[patient] = split + 1  # 0 is not assigned yet
        wanted[split] -= held
        wanted_sizes[split] -= patients.sizes[patient]
        left -= held > 0
    splits = np.array(SPLITS)[assigned[patients.of_image] - 1]
    check_splits(task, splits)
    return splits


def dataset_splits(task: Task) -> Names:
    """[n]: the splits that the dataset itself has.

    Raises:
        DatasetError: A split has one class only.
    """
    splits = np.array(task.dataset_splits)
    check_splits(task, splits)
    return splits


def check_splits(task: Task, splits: Names) -> None:
    """Refuse splits with which nothing can be learned or measured.

    Raises:
        DatasetError: A split has fewer than two classes, or the training split lacks a class.
    """
    present = {split: task.memberships[splits == split].sum(0) for split in SPLITS}
    for split, counts in present.items():
        single = int((counts > 0).sum()) < min(2, len(task.classes))
        lacking = [name for name, count in zip(task.classes, counts, strict=True) if not count]
        if single or (split == TRAIN and lacking):
            found = ", ".join(f"{name} {count}" for name, count in zip(task.classes, counts, strict=True) if count)
            raise DatasetError(
                f"split {split} of task {task.name!r} has {found or 'no image'} and lacks {', '.join(lacking)}; use "
                "--splits stratified, another --split-seed, or more labelled patients"
            )


def label_subset(task: Task, splits: Names, fraction: float, seed: int) -> NDArray[np.bool_]:
    """[n]: the training images whose labels are used; larger fractions contain smaller ones.

    Whole patients are taken, the class that is furthest behind next, until the fraction of the images is reached and
    every class is there.

    Raises:
        UsageError: The fraction is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise UsageError(f"found label fraction {fraction}; expected more than 0 and at most 1")
    train = splits == TRAIN
    if fraction == 1:
        return train
    patients = _patients(task, seed)
    is_train = np.zeros(len(patients.sizes), np.bool_)
    is_train[patients.of_image[train]] = True
    totals = patients.classes[is_train].sum(0)
    taken, images = np.zeros(len(is_train), np.bool_), np.zeros(len(totals))
    while ((images == 0) & (totals > 0)).any() or patients.sizes[taken].sum() < fraction * patients.sizes[
        is_train
    ].sum():
        candidates = is_train & ~taken
        behind = np.where((patients.classes[candidates] > 0).any(0), images / np.maximum(totals, 1), np.inf)
        order = np.lexsort((totals, behind))
        patient = int(np.flatnonzero(candidates & (patients.classes[:, order[0]] > 0))[0])
        taken[patient] = True
        images += patients.classes[patient]
    return train & taken[patients.of_image]


def describe_splits(task: Task, splits: Names) -> dict[str, dict[str, int]]:
    """Images of each class in each split."""
    counts = {split: task.memberships[splits == split].sum(0) for split in SPLITS}
    return {split: {name: int(n) for name, n in zip(task.classes, row, strict=True)} for split, row in counts.items()}


def _patients(task: Task, seed: int) -> _Patients:
    """The patients in an order that depends on the seed and their keys alone."""
    names = sorted(
        set(task.patients), key=lambda name: hashlib.sha256(f"radio-split-v1 {seed} {name}".encode()).digest()
    )
    place = {name: index for index, name in enumerate(names)}
    of_image = np.array([place[name] for name in task.patients], np.int64)
    unlabelled = task.memberships.sum(1, keepdims=True) == 0  # a class of its own where several labels are possible
    held = np.concatenate([task.memberships, unlabelled], axis=1) if unlabelled.any() else task.memberships
    classes = np.zeros((len(names), held.shape[1]))
    np.add.at(classes, of_image, held)
    counts = Counter(task.patients)
    return _Patients(classes=classes, sizes=np.array([counts[name] for name in names], np.float64), of_image=of_image)


def _rarest(held: Numbers, owners: Indices) -> int:
    """The class of a patient that fewest patients have."""
    return int(np.where(held > 0, owners, np.inf).argmin())


def _choose(
    wanted: Numbers, wanted_sizes: Numbers, label: int, patients: _Patients, assigned: Indices, left: Indices
) -> int:
    """The split that lacks most images of the class; one that would stay without the class comes first."""
    has_class = patients.classes[:, label] > 0
    empty = [split for split in range(len(wanted)) if not (has_class & (assigned == split + 1)).any()]
    open_splits = empty if empty and left[label] <= len(empty) else list(range(len(wanted)))
    return max(open_splits, key=lambda split: (wanted[split, label], wanted_sizes[split]))
