"""Sources to dataset: scan, plan, shards, index; a re-run does what is missing.

Comes in: a `BuildConfig`. Goes out: the dataset and a `BuildSummary`: images and rejects add up to the files found.
Refuses: a dataset built with other settings or another key, a full disk, sources that do not exist.

Units of work are shards, see `shard_unit`; which of them are missing, and in which order they come, says `waves`.
"""

import dataclasses
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from radio_io import atomic
from radio_io.checked_table import read_table
from radio_io.config import BuildConfig
from radio_io.dataset_file import (
    DatasetFile,
    describe_dataset,
    read_dataset_file,
    require_built,
    require_same,
    write_dataset_file,
)
from radio_io.errors import RejectReason, UsageError
from radio_io.executors import UnitFailure, graceful_interrupt
from radio_io.freed_memory import give_back_memory, use_system_memory
from radio_io.index.catalog import build_index, indexed_rejects
from radio_io.index.records import ShardMetadata
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.privacy.tombstones import read_tombstones
from radio_io.progress import Progress
from radio_io.remote_dataset import attach, publish_to_store, require_attached, sync_records
from radio_io.sharding.dispatch import dispatch
from radio_io.sharding.locking import held_together, locked
from radio_io.sharding.origin import read_origin
from radio_io.sharding.plan import extend_plan, plan_parts, plan_rejects, planned_shards
from radio_io.sharding.retry import finish_retry, request_retry
from radio_io.sharding.sample import SampleContext, header_context, sample_context
from radio_io.sharding.scan import scan_sources
from radio_io.sharding.scan_table import ScanSummary, summarize_scan
from radio_io.sharding.shard_unit import ShardReceipt, build_shard
from radio_io.sharding.suspects import recover_shard
from radio_io.sharding.waves import find_missing, plans_of_wave
from radio_io.sources.archives import remove_unpacked, unpack_compressed

FREE_SPACE_SHARE = 0.7  # encoded bytes a source byte, at worst about the source's own size for compressed sources


@dataclass(kw_only=True, slots=True)
class BuildSummary:
    """The whole dataset after a build, and what this build did.

    Images and rejects add up to `found` files and `extra_frames`, the frames beyond the first where all are taken, once
    no shard is missing: after an interruption, or where other tasks have not finished theirs, some are.
    """

    found: int = 0
    extra_frames: int = 0
    images: int = 0
    rejects: dict[str, int] = field(default_factory=dict[str, int])
    shards: int = 0
    size_bytes: int = 0
    new_shards: int = 0
    new_images: int = 0
    source_bytes: int = 0
    encoded_bytes: int = 0
    pixel_bytes: int = 0
    elapsed_s: float = 0.0
    slowest_file_s: float = 0.0
    interrupted: bool = False
    missing_shards: int = 0

    @property
    def reject_rate(self) -> float:
        """Rejected files of all files."""
        return sum(self.rejects.values()) / (self.found + self.extra_frames) if self.found else 0.0


def open_key(config: BuildConfig) -> Pseudonymizer:
    """The dataset's key; made at first use.

    Raises:
        KeyFileError: The key cannot be used, or a dataset exists and its key is gone.
    """
    layout = DatasetLayout(config.dataset)
    atomic.make_private_folder(layout.private)
    if config.dataset_url is not None:
        attach(config.dataset_url, layout)
    if not layout.key_file.exists() and not layout.dataset_json.exists():
        return Pseudonymizer.create_file(layout.key_file, layout.root)
    return Pseudonymizer.from_file(layout.key_file, layout.root)


def scan(config: BuildConfig, progress: Progress) -> ScanSummary:
    """Only the scan: headers into the private folder."""
    layout = DatasetLayout(config.dataset)
    with locked(layout):
        pseudonyms = open_key(config)
        if layout.dataset_json.exists():
            require_built(read_dataset_file(layout.root))
        finish_retry(layout)
        summary = scan_sources(config, header_context(config, pseudonyms), progress)
        remove_unpacked(layout.archives_dir)
        return summary


def build_dataset(
    config: BuildConfig, progress: Progress, *, retry: frozenset[RejectReason] = frozenset()
) -> BuildSummary:
    """Scan, plan and build what is missing, then publish the index.

    Files that were rejected for a reason in `retry` are taken up again, which a task cannot do: it changes the plan.

    Raises:
        RadioError: See the module; what is finished stays, and the next build goes on from there.
    """
    if config.task is not None and retry:
        raise UsageError("--retry changes the plan that all tasks share: run it once without --task when none is left")
    started_s = time.monotonic()
    use_system_memory()
    layout = DatasetLayout(config.dataset)
    if config.task is not None:
        summary = _build_share(config, layout, progress)
    else:
        with locked(layout):
            pseudonyms = open_key(config)
            _finish_withdrawal(layout)
            request_retry(layout, retry)
            finish_retry(layout)
            prepared = _prepare(config, layout, pseudonyms, progress)
            summary = BuildSummary()
            _build_missing(config, prepared.context, layout, summary, progress)
            _publish(layout, prepared.facts, summary)
    summary.elapsed_s = time.monotonic() - started_s
    return summary


def _build_share(config: BuildConfig, layout: DatasetLayout, progress: Progress) -> BuildSummary:
    """One of several processes, on any machines that share the folders, each with its share of the shards.

    The first one scans and plans while the others wait; who finds no shard missing at its end publishes the index.
    """
    summary = BuildSummary()
    with held_together(layout, partial(_is_prepared, layout)) as held:
        if held.alone:
            pseudonyms = open_key(config)
            _finish_withdrawal(layout)
            prepared = _prepare(config, layout, pseudonyms, progress, scan=not plan_parts(layout))
            held.share()
        else:
            prepared = _joined(config, layout)
        _build_missing(config, prepared.context, layout, summary, progress)
    summary.missing_shards = len(find_missing(layout).waves)
    if not summary.missing_shards:
        with locked(layout, wait=True):
            summary.missing_shards = len(find_missing(layout).waves)
            if not summary.missing_shards:
                _publish(layout, prepared.facts, summary)
    return summary


def _is_prepared(layout: DatasetLayout) -> bool:
    """Whether a share of a build can begin while others are at work."""
    return layout.dataset_json.exists() and bool(plan_parts(layout)) and read_tombstones(layout).pending is None


def _joined(config: BuildConfig, layout: DatasetLayout) -> "_Prepared":
    """What others have prepared; nothing is written."""
    if config.dataset_url is not None:
        require_attached(config.dataset_url, layout)
    pseudonyms = Pseudonymizer.from_file(layout.key_file, layout.root)
    facts = describe_dataset(config, pseudonyms.key_id)
    require_same(read_dataset_file(layout.root), facts)
    return _Prepared(facts=facts, context=sample_context(config, pseudonyms))


def _finish_withdrawal(layout: DatasetLayout) -> None:
    if read_tombstones(layout).pending is not None:
        from radio_io.sharding.forget import finish_forget  # it publishes the index by this module

        finish_forget(layout)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Prepared:
    """A dataset whose plan is frozen."""

    facts: DatasetFile
    context: SampleContext


def _prepare(
    config: BuildConfig, layout: DatasetLayout, pseudonyms: Pseudonymizer, progress: Progress, *, scan: bool = True
) -> _Prepared:
    """Check the settings, scan and plan; nobody else is at work."""
    facts = describe_dataset(config, pseudonyms.key_id)
    if layout.dataset_json.exists():
        require_same(read_dataset_file(layout.root), facts)
    context = sample_context(config, pseudonyms)
    sync_records(layout)
    if scan:
        scan_sources(config, context.header, progress)
        extend_plan(config, pseudonyms)
        give_back_memory()
    atomic.make_folder(layout.root)
    if not layout.dataset_json.exists():
        write_dataset_file(layout, facts)
        publish_to_store(layout, layout.dataset_json)
    return _Prepared(facts=facts, context=context)


def _publish(layout: DatasetLayout, facts: DatasetFile, summary: BuildSummary) -> None:
    """Publish the index of what is finished, and sum it up."""
    give_back_memory()
    published = publish_index(layout, facts)
    if not summary.missing_shards:
        remove_unpacked(layout.archives_dir)
    scanned = summarize_scan(layout)
    summary.found, summary.extra_frames = scanned.found, scanned.extra_frames
    _add_totals(summary, published)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What the published index was made from."""

    shards: tuple[ShardMetadata, ...]
    rejects: tuple[tuple[str, str, int], ...]


def publish_index(layout: DatasetLayout, content: DatasetFile) -> Published:
    """Build `index.duckdb` from what is finished and write its checksum and counts to `dataset.json`."""
    rejects = tuple(reject_counts(layout))
    digest, shards = build_index(layout, rejects)
    images = sum(shard.num_images for shard in shards)
    final = dataclasses.replace(content, num_images=images, num_shards=len(shards), index_sha256=digest)
    write_dataset_file(layout, final)
    publish_to_store(layout, layout.index, layout.dataset_json)
    return Published(shards=shards, rejects=rejects)


def _build_missing(
    config: BuildConfig, context: SampleContext, layout: DatasetLayout, summary: BuildSummary, progress: Progress
) -> None:
    missing = find_missing(layout, config.task)
    give_back_memory()
    needed = int(FREE_SPACE_SHARE * missing.size_bytes)
    if layout.is_staging:  # a shard leaves as soon as it is finished
        needed = min(needed, 2 * max(config.workers, 1) * config.shard_size_bytes)
    atomic.require_free_space(layout.root, needed)
    planned = (plan for plan in planned_shards(layout) if plan.shard_id in missing.waves)
    unpack_compressed((file.path for plan in planned for file in plan.files), layout.archives_dir)
    progress.start("build", total=missing.files, unit="files")
    built = 0
    with graceful_interrupt() as interruption:
        for wave in missing.wave_numbers:
            outcomes = dispatch(
                config,
                partial(build_shard, str(config.dataset), context),
                plans_of_wave(layout, missing, wave),
                timeout_s=config.shard_timeout_s(missing.longest),
                memory_bytes=config.worker_memory_bytes,
                interruption=interruption,
                recover=partial(recover_shard, config, context),
            )
            for outcome in outcomes:
                receipt = outcome.result
                assert not isinstance(receipt, UnitFailure), "a recovery ends with a receipt"
                _count(summary, receipt)
                built += 1
                progress.advance(len(outcome.unit.files), size_bytes=receipt.source_bytes)
        summary.interrupted = interruption.requested.is_set()
    summary.missing_shards = missing.of_others + len(missing.waves) - built
    progress.finish()


def _count(summary: BuildSummary, receipt: ShardReceipt) -> None:
    summary.source_bytes += receipt.source_bytes
    summary.slowest_file_s = max(summary.slowest_file_s, receipt.slowest_file_s)
    if receipt.written is not None:
        summary.new_shards += 1
        summary.new_images += receipt.written.num_images
        summary.encoded_bytes += receipt.written.encoded_bytes
        summary.pixel_bytes += receipt.written.pixel_bytes


def reject_counts(layout: DatasetLayout) -> list[tuple[str, str, int]]:
    """(reason, stage, number of files) over scan, plan and finished shards, or as they were carried over."""
    origin = read_origin(layout)
    if origin is not None:
        return list(origin.rejects)
    if not layout.scan_dir.exists():  # a copy of the dataset alone: the counts of its index are all there is
        return indexed_rejects(layout.root)
    scanned = [(reason, "scan", count) for reason, count in summarize_scan(layout).rejects.items()]
    planned = [(reason, "plan", count) for reason, count in plan_rejects(layout).items()]
    built: Counter[str] = Counter()
    for path in layout.shard_rejects_paths():
        built.update(read_table(path, ["reason"])["reason"].to_pylist())
    return [*scanned, *planned, *((reason, "build", count) for reason, count in built.items())]


def _add_totals(summary: BuildSummary, published: Published) -> None:
    summary.images = sum(shard.num_images for shard in published.shards)
    summary.shards = len(published.shards)
    summary.size_bytes = sum(shard.size_bytes for shard in published.shards)
    totals: Counter[str] = Counter()
    for reason, _, count in published.rejects:
        totals[reason] += count
    summary.rejects = dict(sorted(totals.items()))
    if not summary.missing_shards:
        assert summary.images + sum(totals.values()) == summary.found + summary.extra_frames, (
            "every file, or frame, is an image or a reject"
        )
