"""Withdraws patients and studies from a dataset: shards, records, labels, index; and keeps them from coming back.

Comes in: a dataset and tombstones (pseudonyms). Goes out: shards without these images, all others byte for byte as they
were, and `ForgetSummary`. Refuses a damaged shard before it is touched.

The tombstones are written first, with what is to be done; the work is repeatable at every step; the note of it is taken
away last. Whatever moment a process dies, the next call of `forget`, or the next build, completes it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from radio_io import atomic
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError
from radio_io.index.catalog import open_index
from radio_io.index.records import read_record_columns
from radio_io.labels.store import read_task, write_task
from radio_io.layout import DatasetLayout
from radio_io.loading.background_file import forget_counts
from radio_io.privacy.tombstones import Tombstones, Withdrawal, read_tombstones, write_tombstones
from radio_io.progress import NoProgress, Progress
from radio_io.remote_dataset import publish_to_store, sync_records
from radio_io.remote_removal import remove_from_store
from radio_io.sharding.build import publish_index
from radio_io.sharding.forget_caches import forget_in_caches
from radio_io.sharding.forget_store import remove_traces, require_no_strays, shard_faults, withdraw_from_shard
from radio_io.sharding.locking import locked

FindRuns = Callable[[frozenset[str]], list[dict[str, Any]]]
"""Gives the training runs that saw some of these images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetSummary:
    """What a withdrawal did; `runs` are the training runs that saw some of the images.

    `cached` entries of the loader's caches were removed: of the folders named and of those that these runs used.
    """

    images: int
    shards: int
    labels: int
    cached: int
    tombstones: int
    runs: tuple[dict[str, Any], ...]


def forget(
    root: Path,
    withdrawn: Tombstones,
    progress: Progress,
    *,
    find_runs: FindRuns | None = None,
    caches: tuple[Path, ...] = (),
    dry_run: bool = False,
) -> ForgetSummary:
    """Withdraw `withdrawn`, and complete what an interrupted call left.

    Raises:
        DatasetError: There is no dataset, or a shard is damaged.
        StorageError: Another process changes the dataset, or the disk refuses.
    """
    layout = DatasetLayout(root)
    read_dataset_file(root)
    if dry_run:
        planned, _ = _planned(layout, withdrawn.joined(read_tombstones(layout)), find_runs)
        return _summary(planned)
    with locked(layout):
        interrupted = read_tombstones(layout).pending
        finish_forget(layout, progress)
        require_no_strays(layout)
        known = read_tombstones(layout)
        planned, keys = _planned(layout, withdrawn.joined(known), find_runs)
        cached = _forget_caches(planned, keys, caches)  # first: afterwards nobody knows the keys
        write_tombstones(layout, planned)
        finish_forget(layout, progress)
    # Also an interrupted one is part of the answer: its runs are told nowhere else.
    return _summary(planned, earlier=interrupted, cached=cached)


def finish_forget(layout: DatasetLayout, progress: Progress | None = None) -> None:
    """Do what the tombstones say is pending, if anything; the caller holds the lock.

    Raises:
        DatasetError: A shard is damaged, or something of the images is left.
        StorageError: The disk or the store refuses.
    """
    tombstones = read_tombstones(layout)
    if tombstones.pending is None:
        return
    progress = progress or NoProgress()
    sync_records(layout)
    for path in layout.root.rglob("*.tar") if layout.is_staging else ():  # of a build that was killed
        path.unlink()
    progress.start("forget", total=len(tombstones.pending.shards), unit="shards")
    for shard_id in tombstones.pending.shards:
        withdraw_from_shard(layout, shard_id, tombstones)
        progress.advance()
    progress.finish()
    _forget_labels(layout)
    forget_counts(layout.root, _present_keys(layout))
    # Texts of reports whose patients are not known any more: all go, reading the reports again makes new ones.
    for path in sorted(layout.report_samples.glob("*")):
        path.unlink()
    # Damaged files that good ones have replaced: nobody knows whose images they hold.
    for path in sorted(layout.quarantine.rglob("*")):
        if not path.is_dir():
            path.unlink()
    publish_index(layout, read_dataset_file(layout.root))
    remove_traces(layout, tombstones.pending.shards)
    _require_gone(layout, tombstones)
    write_tombstones(layout, replace(tombstones, pending=None, done=(*tombstones.done, tombstones.pending)))


def _planned(
    layout: DatasetLayout, tombstones: Tombstones, find_runs: FindRuns | None
) -> tuple[Tombstones, frozenset[str]]:
    """The tombstones with the work to do and the keys, from the records; runs are looked up in the index as it is."""
    shards: list[str] = []
    keys: set[str] = set()
    for path in layout.record_paths():
        columns = read_record_columns(path, ["key", "patient_key", "study_key"]).to_pydict()
        rows = zip(*columns.values(), strict=True)
        found = [str(key) for key, patient, study in rows if tombstones.covers_keys(patient, study)]
        if found:
            shards.append(layout.shard_id_of(path))
            keys.update(found)
    pending = Withdrawal(
        shards=tuple(shards),
        images=len(keys),
        labels=sum(key in keys for path in layout.label_paths() for key in read_task(path)),
        runs=tuple(find_runs(frozenset(keys))) if find_runs is not None and keys else (),
    )
    return replace(tombstones, pending=pending), frozenset(keys)


def _forget_caches(tombstones: Tombstones, keys: frozenset[str], caches: tuple[Path, ...]) -> int:
    assert tombstones.pending is not None
    used = [Path(run["cache"]) for run in tombstones.pending.runs if run.get("cache")]
    return forget_in_caches([*caches, *used], keys)


def _summary(tombstones: Tombstones, *, earlier: Withdrawal | None = None, cached: int = 0) -> ForgetSummary:
    parts = [part for part in (earlier, tombstones.pending) if part is not None]
    return ForgetSummary(
        images=sum(part.images for part in parts),
        shards=len({shard_id for part in parts for shard_id in part.shards}),
        labels=sum(part.labels for part in parts),
        cached=cached,
        tombstones=len(tombstones),
        runs=tuple(run for part in parts for run in part.runs),
    )


def _forget_labels(layout: DatasetLayout) -> None:
    """Take out labels of images that no record has any more."""
    files = layout.label_paths()
    if not files:
        return
    present = _present_keys(layout)
    for path in files:
        labels = read_task(path)
        kept = {key: label for key, label in labels.items() if key in present}
        if not kept:
            path.unlink()
            atomic.sync_folder(path.parent)
            remove_from_store(layout, path)
        elif len(kept) < len(labels):
            write_task(layout, path.stem, kept)
            publish_to_store(layout, path)


def _present_keys(layout: DatasetLayout) -> set[str]:
    """Of all images that still have a record."""
    paths = layout.record_paths()
    return {str(key) for path in paths for key in read_record_columns(path, ["key"])["key"].to_pylist()}


def _require_gone(layout: DatasetLayout, tombstones: Tombstones) -> None:
    """Read what was written: whole shards, and nothing of the images in records, tars or index."""
    assert tombstones.pending is not None
    for shard_id in tombstones.pending.shards:
        faults = shard_faults(layout, shard_id)
        if faults:
            raise DatasetError(f"the withdrawal is not complete: {faults[0]}")
    with open_index(layout.root) as connection:
        rows = connection.execute("SELECT DISTINCT patient_key, study_key FROM images").fetchall()
    if any(tombstones.covers_keys(str(patient), str(study)) for patient, study in rows):
        raise DatasetError("the withdrawal is not complete: the index still has the images; run: radio forget")
