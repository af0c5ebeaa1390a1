"""Imports labels that name images by original identifiers; only pseudonyms are written.

Comes in: CSV files, the identifier they use, a task. Goes out: the task's labels in the dataset folder, the index with
them, and `LabelImport`: what became of each line. Refuses another key than the dataset's, a task that is there already
(unless it may be replaced), and labels that are no short list of words.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, UsageError
from radio_io.labels.csv_file import LabelLine, read_label_lines
from radio_io.labels.identifiers import IdColumn, ImageLookup, image_lookup, open_dataset_key
from radio_io.labels.store import check_labels, read_task, task_path, write_task
from radio_io.layout import DatasetLayout
from radio_io.remote_dataset import publish_to_store
from radio_io.remote_removal import remove_from_store
from radio_io.sharding.build import publish_index
from radio_io.sharding.locking import locked

UNSURE = frozenset({"unsure"})


@dataclass(kw_only=True, slots=True)
class LabelImport:
    """What became of the lines of an import: `lines` is the sum of the next six.

    `conflicting` lines give an image another label than other lines do; such images get none. `ambiguous` lines name
    an accession number that several patients have. `images` have a label now; `labels` counts them by label.
    """

    task: str
    lines: int = 0
    used: int = 0
    unmatched: int = 0
    ambiguous: int = 0
    conflicting: int = 0
    unsure: int = 0
    empty: int = 0
    images: int = 0
    conflicting_images: int = 0
    labels: dict[str, int] = field(default_factory=dict[str, int])


def import_labels(
    root: Path,
    files: Iterable[Path],
    *,
    id_column: IdColumn,
    label_column: str,
    task: str,
    unsure: frozenset[str] = UNSURE,
    replace: bool = False,
    dry_run: bool = False,
) -> LabelImport:
    """Import the labels of `files` as those of `task`; labels in `unsure` (in any case) count as none.

    Raises:
        UsageError: A column is missing, the task is there already, or the labels are refused.
        KeyFileError: The key is missing or not the dataset's.
        DatasetError: There is no dataset.
    """
    lookup = image_lookup(root, open_dataset_key(root), id_column)
    lines = (line for file in files for line in read_label_lines(file, id_column.value, label_column))
    summary, labels = match_labels(task, lines, lookup, unsure)
    check_labels(labels)
    if not dry_run:
        store_labels(root, task, labels, replace=replace)
    return summary


def match_labels(
    task: str, lines: Iterable[LabelLine], lookup: ImageLookup, unsure: frozenset[str] = UNSURE
) -> tuple[LabelImport, dict[str, str]]:
    """What becomes of each line, and the label of each image."""
    summary = LabelImport(task=task)
    found: dict[str, set[str]] = {}
    used: list[tuple[tuple[str, ...], str]] = []
    folded = {word.casefold() for word in unsure}
    for line in lines:
        summary.lines += 1
        keys = lookup.images_of(line.identifier)
        if not line.label:
            summary.empty += 1
        elif line.label.casefold() in folded:
            summary.unsure += 1
        elif not keys:
            summary.unmatched += 1
        elif lookup.is_ambiguous(line.identifier):
            summary.ambiguous += 1
        else:
            used.append((keys, line.label))
            for key in keys:
                found.setdefault(key, set()).add(line.label)
    conflicting = {key for key, given in found.items() if len(given) > 1}
    summary.conflicting = sum(not conflicting.isdisjoint(keys) for keys, _ in used)
    summary.used = len(used) - summary.conflicting
    labels = {key: next(iter(given)) for key, given in found.items() if key not in conflicting}
    summary.images, summary.conflicting_images = len(labels), len(conflicting)
    for label in labels.values():
        summary.labels[label] = summary.labels.get(label, 0) + 1
    summary.labels = dict(sorted(summary.labels.items()))
    return summary, labels


def store_labels(root: Path, task: str, labels: dict[str, str], *, replace: bool = False) -> None:
    """Write the labels of a task and publish the index with them.

    Raises:
        UsageError: There is nothing to store, or the task has other labels already and `replace` is not given.
        StorageError: Another process changes the dataset, or the disk refuses.
    """
    layout = DatasetLayout(root)
    path = task_path(layout, task)
    if not labels:
        raise UsageError(
            f"no label of task {task} matches an image; check --id-column and that the key is the right one"
        )
    with locked(layout):
        if path.exists() and not replace and read_task(path) != labels:
            raise UsageError(f"task {task} has labels already; give another --task, or --replace")
        write_task(layout, task, labels)
        publish_to_store(layout, path)
        publish_index(layout, read_dataset_file(root))


def remove_task(root: Path, task: str) -> int:
    """Take the labels of a task out of the dataset; returns of how many images.

    Raises:
        DatasetError: There is no such dataset or task.
        StorageError: Another process changes the dataset, or the disk refuses.
    """
    layout = DatasetLayout(root)
    path = task_path(layout, task)
    read_dataset_file(root)
    with locked(layout):
        if not path.exists():
            raise DatasetError(f"the dataset has no labels of a task {task!r}; list them with: radio labels list")
        count = len(read_task(path))
        path.unlink()
        publish_index(layout, read_dataset_file(root))
        remove_from_store(layout, path)  # until here the same command finds it again
    return count
