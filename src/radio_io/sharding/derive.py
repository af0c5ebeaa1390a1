"""New datasets from finished shards: other bins, or several datasets in one. Nothing is decoded, no DICOM is read.

Comes in: folders of datasets of one key. Goes out: a dataset whose encoded images are, byte for byte, those of theirs,
and `DeriveSummary`. Refuses: datasets that do not fit together, unfinished or damaged ones, a folder that holds
something else, a full disk.

A new shard exists when its record exists; after an interruption the same command makes those that are missing. The
sources are held by a shared lock where they have their private folder, so that nothing changes under the copy.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from radio_io import atomic
from radio_io.dataset_file import MERGE, REBIN, DatasetFile, derived_dataset, read_dataset_file, write_dataset_file
from radio_io.errors import DatasetError, KeyFileError, StorageError, UsageError
from radio_io.executors import UnitFailure, graceful_interrupt, run_units
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.privacy.tombstones import Tombstones, read_tombstones, write_tombstones
from radio_io.progress import Progress
from radio_io.remote_dataset import (
    RemoteDataset,
    attach,
    origin_of,
    place_of,
    publish_to_store,
    require_attached,
    sync_records,
)
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import publish_index, reject_counts
from radio_io.sharding.derive_plan import CopyPlan, CopyUnit, ShardSizes, plan_copy
from radio_io.sharding.derive_shard import copy_shard
from radio_io.sharding.locking import locked
from radio_io.sharding.merge_rules import UnitedLabels, require_mergeable, unite_labels, unite_tombstones, write_labels
from radio_io.sharding.origin import Origin, read_origin, write_origin
from radio_io.sharding.waves import find_missing

SHARD_TIMEOUT_S = 4 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DeriveConfig:
    """What to copy and whereto; `workers` 0 stays in this process.

    `sources` and `out` are folders. `out_url` says that the new dataset goes to an object store, and `out` is the
    staging folder for it; for a source at a URL see `places.source_root`.
    """

    sources: tuple[Path, ...]
    out: Path
    out_url: str | None = None
    sizes: ShardSizes = field(default_factory=ShardSizes)
    workers: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BinTotals:
    """What a bin of the new dataset holds."""

    bin: str
    images: int
    shards: int
    size_bytes: int


@dataclass(kw_only=True, slots=True)
class DeriveSummary:
    """The new dataset, and what this call did.

    `left_out` are images of the sources that the new one has not, by reason; `rejects` counts them too. `conflicts` are
    labels of one image and task that differ between the sources: that of the first source counts.
    """

    images: int
    shards: int
    size_bytes: int
    bins: tuple[BinTotals, ...]
    left_out: dict[str, int]
    rejects: dict[str, int]
    labels: dict[str, int]
    conflicts: tuple[str, ...]
    new_images: int = 0
    new_shards: int = 0
    missing_shards: int = 0
    interrupted: bool = False
    elapsed_s: float = field(default=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Derivation:
    """Everything that is known before the first byte is copied."""

    sources: tuple[DatasetLayout, ...]
    content: DatasetFile
    plan: CopyPlan
    tombstones: Tombstones
    labels: UnitedLabels
    origin: Origin


def rebin_dataset(config: DeriveConfig, bins: Bins, progress: Progress, *, dry_run: bool = False) -> DeriveSummary:
    """The images of one dataset in shards of other bins.

    Raises:
        RadioError: See the module; what is finished stays, and the same call goes on from there.
    """
    assert len(config.sources) == 1
    content = read_dataset_file(config.sources[0])
    return _derive(config, derived_dataset(content, str(bins), REBIN), bins, progress, dry_run=dry_run)


def merge_datasets(config: DeriveConfig, progress: Progress, *, dry_run: bool = False) -> DeriveSummary:
    """The images of several datasets in one, each image once.

    Raises:
        RadioError: See the module; what is finished stays, and the same call goes on from there.
    """
    contents = [read_dataset_file(source) for source in config.sources]
    require_mergeable(config.sources, contents)
    bins = Bins.parse(contents[0].bins)
    return _derive(config, derived_dataset(contents[0], str(bins), MERGE), bins, progress, dry_run=dry_run)


def _derive(
    config: DeriveConfig, content: DatasetFile, bins: Bins, progress: Progress, *, dry_run: bool
) -> DeriveSummary:
    started_s = time.monotonic()
    out = DatasetLayout(config.out)
    sources = tuple(DatasetLayout(source) for source in config.sources)
    _require_apart(sources, out, config.out_url)
    with _held(sources):
        derivation = _prepare(config, sources, out, content, bins)
        _require_same_copy(out, config.out_url, derivation)
        summary = _planned_summary(derivation)
        if dry_run:
            return summary
        with locked(out):
            if config.out_url is not None:
                attach(config.out_url, out)
                _require_same_copy(out, config.out_url, derivation)
            _begin(out, derivation)
            _copy_missing(config, derivation, out, summary, progress)
            if not summary.missing_shards:
                write_labels(out, derivation.labels)
                publish_index(out, derivation.content)
    summary.elapsed_s = time.monotonic() - started_s
    return summary


def _require_apart(sources: tuple[DatasetLayout, ...], out: DatasetLayout, out_url: str | None) -> None:
    target = out.root.resolve()
    if out_url is not None:
        require_attached(out_url, out)
        urls = [f"{remote.url}/" for source in sources if (remote := origin_of(source.root)) is not None]
        new = f"{RemoteDataset(out_url).url}/"
        if any(new.startswith(url) or url.startswith(new) for url in urls):
            raise UsageError(f"--out {out_url} lies in a source or holds it; name a URL beside it")
    for source in sources:
        folder = source.root.resolve()
        if target == folder or target in folder.parents or folder in target.parents:
            raise UsageError(f"--out {out.root} lies in {source.root} or holds it; name a folder beside it")


@contextlib.contextmanager
def _held(sources: tuple[DatasetLayout, ...]) -> Generator[None, None, None]:
    """Nobody changes the sources meanwhile; several copies may be made at once."""
    with contextlib.ExitStack() as stack:
        for source in sources:
            if source.private.exists():
                stack.enter_context(locked(source, shared=True))
        yield


def _prepare(
    config: DeriveConfig, sources: tuple[DatasetLayout, ...], out: DatasetLayout, content: DatasetFile, bins: Bins
) -> _Derivation:
    for source in sources:
        _require_finished(source)
    # Also whoever was withdrawn from the new dataset since it was begun must not come back.
    tombstones = unite_tombstones([read_tombstones(layout) for layout in (*sources, out)])
    plan = plan_copy(sources, bins, config.sizes, seed=content.seed, withdrawn=tombstones)
    stages = {"TOO_LARGE": "plan"}
    rejects: Counter[tuple[str, str]] = Counter()
    for source in sources:
        for reason, stage, count in reject_counts(source):
            rejects[reason, stage] += count
    for reason, count in plan.left_out.items():
        rejects[reason.value, stages.get(reason.value, content.origin)] += count
    rows = tuple((reason, stage, count) for (reason, stage), count in sorted(rejects.items()))
    return _Derivation(
        sources=sources,
        content=content,
        plan=plan,
        tombstones=tombstones,
        labels=unite_labels(sources, frozenset(plan.table["key"].to_pylist())),
        origin=Origin(command=content.origin, plan=plan.digest(), rejects=rows),
    )


def _require_finished(source: DatasetLayout) -> None:
    if read_tombstones(source).pending is not None:
        raise DatasetError(f"a withdrawal from {place_of(source.root)} is not complete; complete it with: radio forget")
    missing = len(find_missing(source).waves) if source.plan_dir.exists() else 0
    if missing:
        raise DatasetError(
            f"{missing} shards of {place_of(source.root)} are not built yet; complete them with: radio shard build"
        )


def _require_same_copy(out: DatasetLayout, out_url: str | None, derivation: _Derivation) -> None:
    """Refuse a folder, or a URL, that holds something else than the beginning of the very same copy."""
    origin = read_origin(out)
    again = f"remove it and {out.private}, or name another --out"
    place = out_url or out.root
    if origin is None:
        if out.dataset_json.exists() or out.record_paths() or (out_url and RemoteDataset(out_url).names()):
            raise DatasetError(f"{place} holds another dataset; name another --out")
        return
    same_settings = not out.dataset_json.exists() or _settings(read_dataset_file(out.root)) == _settings(
        derivation.content
    )
    if (origin.command, origin.plan) != (derivation.content.origin, derivation.origin.plan) or not same_settings:
        raise DatasetError(
            f"{place} was begun from other sources, bins or sizes, or the sources have changed since; {again}"
        )


def _settings(content: DatasetFile) -> DatasetFile:
    return replace(content, num_images=0, num_shards=0, index_sha256=None)


def _planned_summary(derivation: _Derivation) -> DeriveSummary:
    totals: dict[str, BinTotals] = {}
    for unit in derivation.plan.units():
        name = f"{unit.bin_height}x{unit.bin_width}"
        before = totals.get(name, BinTotals(bin=name, images=0, shards=0, size_bytes=0))
        totals[name] = BinTotals(
            bin=name,
            images=before.images + len(unit.pieces),
            shards=before.shards + 1,
            size_bytes=before.size_bytes + unit.size_bytes,
        )
    rejects: Counter[str] = Counter()
    for reason, _, count in derivation.origin.rejects:
        rejects[reason] += count
    return DeriveSummary(
        images=derivation.plan.num_images,
        shards=len(derivation.plan.shard_ids),
        size_bytes=sum(total.size_bytes for total in totals.values()),
        bins=tuple(totals[str(each)] for each in derivation.plan.bins.rectangles if str(each) in totals),
        left_out={reason.value: count for reason, count in derivation.plan.left_out.items()},
        rejects=dict(sorted(rejects.items())),
        labels={task: len(labels) for task, labels in derivation.labels.tasks.items()},
        conflicts=derivation.labels.conflicts,
    )


def _begin(out: DatasetLayout, derivation: _Derivation) -> None:
    """Everything but the shards; repeated after a crash it changes nothing."""
    sync_records(out)
    atomic.make_folder(out.root)
    write_origin(out, derivation.origin)
    if len(derivation.tombstones):
        write_tombstones(out, derivation.tombstones)
    key_file = next((source.key_file for source in derivation.sources if source.key_file.exists()), None)
    if key_file is not None and not out.key_file.exists():
        _copy_key(key_file, out, derivation.content.key_id)
    if not out.dataset_json.exists():
        write_dataset_file(out, derivation.content)
        publish_to_store(out, out.dataset_json)


def _copy_key(key_file: Path, out: DatasetLayout, key_id: str) -> None:
    found = Pseudonymizer.from_file(key_file).key_id
    if found != key_id:
        raise KeyFileError(f"{key_file} is the key {found}, the dataset was built with {key_id}; restore its key")
    with atomic.storage_errors(key_file):
        key = key_file.read_bytes()
    atomic.write_file(out.key_file, key, mode=0o600)


def _copy_missing(
    config: DeriveConfig, derivation: _Derivation, out: DatasetLayout, summary: DeriveSummary, progress: Progress
) -> None:
    """Make the shards whose files are not all there."""

    def missing_units() -> Iterator[CopyUnit]:
        return (unit for unit in derivation.plan.units() if unit.shard_id in missing)

    missing = {
        shard_id for shard_id in derivation.plan.shard_ids if not all(map(Path.exists, out.kept_paths(shard_id)))
    }
    sizes = sorted((unit.size_bytes for unit in missing_units()), reverse=True)
    # A shard that goes to a store leaves as soon as it is finished.
    atomic.require_free_space(out.root, sum(sizes[: max(config.workers, 1)] if out.is_staging else sizes))
    progress.start(derivation.content.origin, total=sum(len(unit.pieces) for unit in missing_units()), unit="images")
    folders = tuple(str(source.root) for source in derivation.sources)
    copy = partial(copy_shard, str(out.root), folders, derivation.content.codec)
    with graceful_interrupt() as interruption:
        outcomes = run_units(
            copy, missing_units(), workers=config.workers, timeout_s=SHARD_TIMEOUT_S, interruption=interruption
        )
        for outcome in outcomes:
            written = outcome.result
            if isinstance(written, UnitFailure):
                raise StorageError(
                    f"the shard {outcome.unit.shard_id} could not be made: {written.detail}; run the same command again"
                )
            summary.new_shards += 1
            summary.new_images += written.num_images
            progress.advance(written.num_images, size_bytes=written.size_bytes)
        summary.interrupted = interruption.requested.is_set()
    summary.missing_shards = len(missing) - summary.new_shards
    progress.finish()
