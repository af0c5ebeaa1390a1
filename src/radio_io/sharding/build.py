"""Sources to dataset: scan, plan, shards, index; a re-run does what is missing.

Comes in: a `BuildConfig`. Goes out: the dataset and a `BuildSummary`: images and rejects add up to the files found.
Refuses: a dataset built with other settings or another key, a full disk, sources that do not exist.

Units of work are shards, see `shard_unit`. One that has an instance in common with an earlier shard, as when a later
source holds copies, is built in a later wave than that one, so that duplicates are found across shards too.
"""

import dataclasses
import fcntl
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pyarrow.parquet as pq

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.dataset_file import DatasetFile, describe_dataset, read_dataset_file, require_same, write_dataset_file
from radio_io.errors import RejectReason, StorageError
from radio_io.executors import Interruption, UnitFailure, graceful_interrupt, run_units
from radio_io.index.catalog import build_index, indexed_rejects
from radio_io.index.records import ShardMetadata, read_record_metadata
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.progress import Progress
from radio_io.sharding.plan import ShardPlan, extend_plan, plan_rejects, planned_shards
from radio_io.sharding.retry import finish_retry, request_retry
from radio_io.sharding.sample import SampleContext, header_context, sample_context
from radio_io.sharding.scan import scan_sources
from radio_io.sharding.scan_table import ScanSummary, summarize_scan
from radio_io.sharding.shard_unit import ShardReceipt, build_shard, build_shard_apart, is_done

FILE_SECONDS = 5.0
FREE_SPACE_SHARE = 0.7  # encoded bytes a source byte, at worst about the source's own size for compressed sources


@dataclass(kw_only=True, slots=True)
class BuildSummary:
    """The whole dataset after a build, and what this build did.

    Images and rejects add up to `found` files and `extra_frames`, the frames beyond the first where all are taken.
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
    atomic.make_folder(layout.private, mode=0o700)
    layout.private.chmod(0o700)
    if not layout.key_file.exists() and not layout.dataset_json.exists():
        return Pseudonymizer.create_file(layout.key_file, layout.root)
    return Pseudonymizer.from_file(layout.key_file, layout.root)


def scan(config: BuildConfig, progress: Progress) -> ScanSummary:
    """Only the scan: headers into the private folder."""
    pseudonyms = open_key(config)
    layout = DatasetLayout(config.dataset)
    with locked(layout):
        finish_retry(layout)
        return scan_sources(config, header_context(config, pseudonyms), progress)


def build_dataset(
    config: BuildConfig, progress: Progress, *, retry: frozenset[RejectReason] = frozenset()
) -> BuildSummary:
    """Scan, plan and build what is missing, then publish the index.

    Files that were rejected for a reason in `retry` are taken up again.

    Raises:
        RadioError: See the module; what is finished stays, and the next build goes on from there.
    """
    started_s = time.monotonic()
    layout = DatasetLayout(config.dataset)
    pseudonyms = open_key(config)
    with locked(layout):
        request_retry(layout, retry)
        finish_retry(layout)
        summary = _build(config, layout, pseudonyms, progress)
    summary.elapsed_s = time.monotonic() - started_s
    return summary


@contextmanager
def locked(layout: DatasetLayout) -> Generator[None, None, None]:
    """Hold the dataset for this process alone; the lock goes with the process, however it ends.

    Raises:
        StorageError: Another process holds it.
    """
    with layout.lock_file.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another radio is changing {layout.root}; wait until it has ended, or name another --dataset"
            ) from None
        yield


def _build(config: BuildConfig, layout: DatasetLayout, pseudonyms: Pseudonymizer, progress: Progress) -> BuildSummary:
    wanted = describe_dataset(config, pseudonyms.key_id)
    if layout.dataset_json.exists():
        require_same(read_dataset_file(layout.root), wanted)
    context = sample_context(config, pseudonyms)
    scan_sources(config, context.header, progress)
    extend_plan(config, pseudonyms)
    atomic.make_folder(layout.root)
    atomic.remove_leftovers(layout.root)
    if not layout.dataset_json.exists():
        write_dataset_file(layout, wanted)
    summary = BuildSummary()
    _build_missing(config, context, layout, summary, progress)
    published = publish_index(layout, wanted)
    scanned = summarize_scan(layout)
    summary.found, summary.extra_frames = scanned.found, scanned.extra_frames
    _add_totals(summary, published)
    return summary


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What the published index was made from."""

    shards: tuple[ShardMetadata, ...]
    rejects: tuple[tuple[str, str, int], ...]


def publish_index(layout: DatasetLayout, content: DatasetFile) -> Published:
    """Build `index.duckdb` from what is finished and write its checksum and counts to `dataset.json`."""
    shards = tuple(read_record_metadata(path) for path in layout.record_paths())
    # A copy of the dataset alone has no lists of rejected files: the counts of its index are all there is.
    rejects = tuple(_reject_rows(layout) if layout.scan_dir.exists() else indexed_rejects(layout.root))
    digest = build_index(layout, rejects)
    images = sum(shard.num_images for shard in shards)
    final = dataclasses.replace(content, num_images=images, num_shards=len(shards), index_sha256=digest)
    write_dataset_file(layout, final)
    return Published(shards=shards, rejects=rejects)


def _build_missing(
    config: BuildConfig, context: SampleContext, layout: DatasetLayout, summary: BuildSummary, progress: Progress
) -> None:
    waves = _waves(layout)
    files = [file for wave in waves for plan in wave for file in plan.files]
    atomic.require_free_space(layout.root, int(FREE_SPACE_SHARE * sum(file.size_bytes for file in files)))
    progress.start("build", total=len(files), unit="files")
    with graceful_interrupt() as interruption:
        for wave in waves:
            if not interruption.requested.is_set():
                ready = [_with_taken(layout, plan) for plan in wave]
                _build_shards(config, context, ready, summary, progress, interruption)
        summary.interrupted = interruption.requested.is_set()
    progress.finish()


def _waves(layout: DatasetLayout) -> list[list[ShardPlan]]:
    """The missing shards, each in a wave after all earlier ones that have an instance in common with it."""
    holders: dict[str, tuple[str, ...]] = {}
    wave_of: dict[str, int] = {}
    waves: list[list[ShardPlan]] = []
    for plan in planned_shards(layout):
        instances = {file.instance_key for file in plan.files}
        earlier = frozenset(shard_id for key in instances for shard_id in holders.get(key, ()))
        for key in instances:
            holders[key] = (*holders.get(key, ()), plan.shard_id)
        if is_done(layout, plan.shard_id):
            continue
        wave = max((wave_of[shard_id] + 1 for shard_id in earlier if shard_id in wave_of), default=0)
        wave_of[plan.shard_id] = wave
        waves.extend([] for _ in range(wave + 1 - len(waves)))
        waves[wave].append(dataclasses.replace(plan, earlier=earlier))
    return waves


def _with_taken(layout: DatasetLayout, plan: ShardPlan) -> ShardPlan:
    """The plan with the keys that earlier shards hold of its instances."""
    instances = frozenset(file.instance_key for file in plan.files)
    taken = (key for shard_id in plan.earlier for key in _keys_of(layout, shard_id, instances))
    return dataclasses.replace(plan, taken=frozenset(taken))


def _keys_of(layout: DatasetLayout, shard_id: str, instances: frozenset[str]) -> set[str]:
    path = layout.record_path(shard_id)
    if not path.exists():
        return set()
    columns = pq.read_table(path, columns=["key", "instance_key"]).to_pydict()
    pairs = zip(columns["key"], columns["instance_key"], strict=True)
    return {str(key) for key, instance in pairs if instance in instances}


def _build_shards(
    config: BuildConfig,
    context: SampleContext,
    plans: list[ShardPlan],
    summary: BuildSummary,
    progress: Progress,
    interruption: Interruption,
) -> None:
    longest = max(len(plan.files) for plan in plans)
    outcomes = run_units(
        partial(build_shard, str(config.dataset), context),
        plans,
        workers=min(config.workers, len(plans)),
        timeout_s=config.file_timeout_s + FILE_SECONDS * longest,
        memory_bytes=config.worker_memory_bytes,
        interruption=interruption,
    )
    for outcome in outcomes:
        receipt = outcome.result
        if isinstance(receipt, UnitFailure):
            receipt = build_shard_apart(config, context, outcome.unit)
        _count(summary, receipt)
        progress.advance(len(outcome.unit.files), size_bytes=receipt.source_bytes)


def _count(summary: BuildSummary, receipt: ShardReceipt) -> None:
    summary.source_bytes += receipt.source_bytes
    summary.slowest_file_s = max(summary.slowest_file_s, receipt.slowest_file_s)
    if receipt.written is not None:
        summary.new_shards += 1
        summary.new_images += receipt.written.num_images
        summary.encoded_bytes += receipt.written.encoded_bytes
        summary.pixel_bytes += receipt.written.pixel_bytes


def _reject_rows(layout: DatasetLayout) -> list[tuple[str, str, int]]:
    """(reason, stage, number of files) over scan, plan and finished shards."""
    scanned = [(reason, "scan", count) for reason, count in summarize_scan(layout).rejects.items()]
    planned = [(reason, "plan", count) for reason, count in plan_rejects(layout).items()]
    built: Counter[str] = Counter()
    for path in sorted(layout.rejects_dir.glob("*/*/*.parquet")):
        built.update(pq.read_table(path, columns=["reason"])["reason"].to_pylist())
    return [*scanned, *planned, *((reason, "build", count) for reason, count in built.items())]


def _add_totals(summary: BuildSummary, published: Published) -> None:
    summary.images = sum(shard.num_images for shard in published.shards)
    summary.shards = len(published.shards)
    summary.size_bytes = sum(shard.size_bytes for shard in published.shards)
    totals: Counter[str] = Counter()
    for reason, _, count in published.rejects:
        totals[reason] += count
    summary.rejects = dict(sorted(totals.items()))
    if not summary.interrupted:
        assert summary.images + sum(totals.values()) == summary.found + summary.extra_frames, (
            "every file, or frame, is an image or a reject"
        )
