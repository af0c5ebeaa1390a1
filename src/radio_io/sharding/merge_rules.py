"""What may be merged, and how labels and withdrawals of several datasets are united.

Comes in: datasets. Goes out: labels by task, tombstones. Refuses datasets that differ in what their images and shards
depend on, naming each difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from radio_io.dataset_file import FIXED, DatasetFile
from radio_io.errors import DatasetError, UsageError
from radio_io.labels.store import read_task, task_path, write_task
from radio_io.layout import DatasetLayout
from radio_io.privacy.tombstones import Tombstones
from radio_io.remote_dataset import place_of, publish_to_store

# The seed orders images within their bin and nothing else: that of the first dataset counts.
MUST_AGREE = ("format_version", "key_id", *(name for name in FIXED if name != "seed"))
_ADVICE = {
    "key_id": "pseudonyms under other keys cannot be united: build all datasets with one key",
    "bins": "rebin first: radio shard rebin --bins ... --out ...",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitedLabels:
    """Labels by task and key, and a line for each task in which sources contradict each other."""

    tasks: dict[str, dict[str, str]]
    conflicts: tuple[str, ...]


def require_mergeable(roots: Sequence[Path], contents: Sequence[DatasetFile]) -> None:
    """Refuse datasets that do not fit together.

    Raises:
        UsageError: There are fewer than two, or one is named twice.
        DatasetError: They differ; the message names what, in which dataset, and what to do.
    """
    if len({root.resolve() for root in roots}) < max(2, len(roots)):
        raise UsageError("merge needs at least two different datasets; name each once")
    differing: dict[str, None] = {}
    lines: list[str] = []
    for root, content in zip(roots[1:], contents[1:], strict=True):
        for name in MUST_AGREE:
            first, other = getattr(contents[0], name), getattr(content, name)
            if first != other:
                differing[name] = None
                lines.append(f"{name} is {other} in {place_of(root)}, {first} in {place_of(roots[0])}")
    if lines:
        advice = [_ADVICE.get(name, f"build again with the same {name}") for name in differing]
        raise DatasetError(f"these datasets cannot be merged: {'; '.join(lines)}. {'; '.join(advice)}")


def unite_tombstones(parts: Sequence[Tombstones]) -> Tombstones:
    """Whoever was withdrawn from one is withdrawn; of what was done the shards are forgotten, they are not these."""
    done = tuple(replace(each, shards=()) for part in parts for each in part.done)
    return replace(reduce(Tombstones.joined, parts), pending=None, done=done)


def unite_labels(sources: Sequence[DatasetLayout], keys: frozenset[str]) -> UnitedLabels:
    """The labels of these images; where sources contradict each other, that of the first counts.

    Raises:
        DatasetError: A file of labels is damaged.
    """
    tasks: dict[str, dict[str, str]] = {}
    conflicts: dict[str, list[str]] = {}
    for source in sources:
        for path in source.label_paths():
            united = tasks.setdefault(path.stem, {})
            for key, label in read_task(path).items():
                if key in keys and united.setdefault(key, label) != label:
                    conflicts.setdefault(path.stem, []).append(f"{key} is {united[key]} and {label}")
    lines = [f"{task}: {len(each):,} images, such as {each[0]}" for task, each in sorted(conflicts.items())]
    return UnitedLabels(
        tasks={task: labels for task, labels in sorted(tasks.items()) if labels}, conflicts=tuple(lines)
    )


def write_labels(layout: DatasetLayout, labels: UnitedLabels) -> None:
    """Write a file for each task.

    Raises:
        UsageError: Together they have too many different words.
        StorageError: They cannot be written.
    """
    for task, values in labels.tasks.items():
        write_task(layout, task, values)
        publish_to_store(layout, task_path(layout, task))
