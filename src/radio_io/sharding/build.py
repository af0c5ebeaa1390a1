"""Sources to dataset: scan, plan, shards, index; a re-run does what is missing.

Comes in: a `BuildConfig`. Goes out: the dataset and a `BuildSummary`: images and rejects add up to the files found.
Refuses: a dataset built with other settings or another key, a full disk, sources that do not exist.

A unit of work is one shard: `build_shard` writes its own output and can be repeated harmlessly.
"""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.dataset_file import DatasetFile, describe_dataset, read_dataset_file, require_same, write_dataset_file
from radio_io.errors import ImageRejectedError, RadioError, RejectReason
from radio_io.executors import UnitFailure, graceful_interrupt, run_units
from radio_io.index.catalog import build_index
from radio_io.index.records import read_record_metadata
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.progress import Progress
from radio_io.sharding.plan import PlannedFile, ShardPlan, extend_plan, plan_parts, plan_rejects, planned_shards
from radio_io.sharding.sample import Sample, SampleContext, header_context, make_sample, sample_context
from radio_io.sharding.scan import ScanSummary, scan_sources, summarize_scan
from radio_io.sharding.write import WrittenShard, write_shard

FILE_SECONDS = 5.0
FREE_SPACE_SHARE = 0.7  # encoded bytes a source byte, at worst about the source's own size for compressed sources
REJECT_SCHEMA = pa.schema([("path", pa.binary()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True, kw_only=True, slots=True)
class FileReject:
    """A file that did not become an image."""

    path: str
    reason: RejectReason
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReceipt:
    """What became of a shard: what was written (None: no image at all), and how many files were rejected why."""

    shard_id: str
    written: WrittenShard | None
    rejects: dict[str, int]
    source_bytes: int


@dataclass(kw_only=True, slots=True)
class BuildSummary:
    """The whole dataset after a build, and what this build did."""

    found: int = 0
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
    interrupted: bool = False

    @property
    def reject_rate(self) -> float:
        """Rejected files of all files."""
        return sum(self.rejects.values()) / self.found if self.found else 0.0


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
    return scan_sources(config, header_context(config, open_key(config)), progress)


def build_dataset(config: BuildConfig, progress: Progress) -> BuildSummary:
    """Scan, plan and build what is missing, then publish the index.

    Raises:
        RadioError: See the module; what is finished stays, and the next build goes on from there.
    """
    started_s = time.monotonic()
    layout = DatasetLayout(config.dataset)
    pseudonyms = open_key(config)
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
    publish_index(layout, wanted)
    _add_totals(layout, summary)
    summary.elapsed_s = time.monotonic() - started_s
    return summary


def publish_index(layout: DatasetLayout, content: DatasetFile) -> None:
    """Build `index.duckdb` from what is finished and write its checksum and counts to `dataset.json`."""
    digest = build_index(layout, _reject_rows(layout))
    facts = [read_record_metadata(path) for path in layout.record_paths()]
    images = sum(each.num_images for each in facts)
    final = dataclasses.replace(content, num_images=images, num_shards=len(facts), index_sha256=digest)
    write_dataset_file(layout, final)


def build_shard(root: str, context: SampleContext, plan: ShardPlan) -> ShardReceipt:
    """Build one shard: a unit of work."""
    layout = DatasetLayout(Path(root))
    return _write(layout, context, plan, _samples(context, plan.files))


def _build_missing(
    config: BuildConfig, context: SampleContext, layout: DatasetLayout, summary: BuildSummary, progress: Progress
) -> None:
    missing = [plan for plan in planned_shards(layout) if not _is_done(layout, plan.shard_id)]
    atomic.require_free_space(layout.root, int(FREE_SPACE_SHARE * sum(f.size_bytes for p in missing for f in p.files)))
    progress.start("build", total=sum(len(plan.files) for plan in missing), unit="files")
    longest = max((len(plan.files) for plan in missing), default=0)
    function = partial(build_shard, str(layout.root), context)
    with graceful_interrupt() as interruption:
        outcomes = run_units(
            function,
            missing,
            workers=config.workers,
            timeout_s=config.file_timeout_s + FILE_SECONDS * longest,
            memory_bytes=config.worker_memory_bytes,
            interruption=interruption,
        )
        for outcome in outcomes:
            receipt = outcome.result
            if isinstance(receipt, UnitFailure):
                receipt = _write(layout, context, outcome.unit, _samples_apart(config, context, outcome.unit.files))
            _count(summary, receipt)
            progress.advance(len(outcome.unit.files), size_bytes=receipt.source_bytes)
        summary.interrupted = interruption.requested.is_set()
    progress.finish()


def _samples(context: SampleContext, files: tuple[PlannedFile, ...]) -> Iterator[Sample | FileReject]:
    for file in files:
        try:
            yield make_sample(file.path, context)
        except ImageRejectedError as error:
            yield FileReject(path=file.path, reason=error.reason, detail=error.detail)
        except MemoryError:
            raise
        except RadioError as error:
            yield FileReject(path=file.path, reason=RejectReason.CORRUPT_PIXELS, detail=type(error).__name__)


def _samples_apart(
    config: BuildConfig, context: SampleContext, files: tuple[PlannedFile, ...]
) -> Iterator[Sample | FileReject]:
    """Each file in a process of its own, so that only the guilty one is rejected."""
    outcomes = run_units(
        partial(_one_sample, context),
        files,
        workers=1,
        timeout_s=config.file_timeout_s,
        memory_bytes=config.worker_memory_bytes,
    )
    for outcome in outcomes:
        result = outcome.result
        if isinstance(result, UnitFailure):
            yield FileReject(path=outcome.unit.path, reason=result.reason, detail=result.detail)
        else:
            yield result


def _one_sample(context: SampleContext, file: PlannedFile) -> Sample | FileReject:
    return next(_samples(context, (file,)))


def _write(
    layout: DatasetLayout, context: SampleContext, plan: ShardPlan, results: Iterator[Sample | FileReject]
) -> ShardReceipt:
    rejects: list[FileReject] = []
    files = iter(plan.files)

    def unique() -> Iterator[Sample]:
        keys: set[str] = set()
        for result in results:
            file = next(files)
            if isinstance(result, FileReject):
                rejects.append(result)
            elif result.key in keys:
                detail = "same SOPInstanceUID and pixels as another file"
                rejects.append(FileReject(path=file.path, reason=RejectReason.DUPLICATE, detail=detail))
            else:
                keys.add(result.key)
                yield result

    written = write_shard(layout, plan.shard_id, context.codec, unique())
    write_rejects(layout, plan.shard_id, rejects, num_images=written.num_images if written else 0)
    return ShardReceipt(
        shard_id=plan.shard_id,
        written=written,
        rejects=dict(Counter(reject.reason.value for reject in rejects)),
        source_bytes=sum(file.size_bytes for file in plan.files),
    )


def write_rejects(layout: DatasetLayout, shard_id: str, rejects: list[FileReject], *, num_images: int) -> None:
    """Write the rejected files of a shard into the private folder; its presence says that the shard is done."""
    path = layout.shard_rejects_path(shard_id)
    atomic.make_folder(path.parent, mode=0o700)
    columns = {
        "path": [os.fsencode(reject.path) for reject in rejects],
        "reason": [reject.reason.value for reject in rejects],
        "detail": [reject.detail for reject in rejects],
    }
    table = pa.table(columns, schema=REJECT_SCHEMA.with_metadata({"num_images": str(num_images)}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    atomic.write_file(path, sink.getvalue().to_pybytes(), mode=0o600)


def _is_done(layout: DatasetLayout, shard_id: str) -> bool:
    """Both the record and the rejects are there; a shard without any image has only rejects."""
    rejects = layout.shard_rejects_path(shard_id)
    if not rejects.exists():
        return False
    if layout.record_path(shard_id).exists():
        return True
    return (pq.read_schema(rejects).metadata or {}).get(b"num_images") == b"0"


def _count(summary: BuildSummary, receipt: ShardReceipt) -> None:
    summary.source_bytes += receipt.source_bytes
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


def _add_totals(layout: DatasetLayout, summary: BuildSummary) -> None:
    assert plan_parts(layout) or not summary.new_shards
    facts = [read_record_metadata(path) for path in layout.record_paths()]
    summary.found = summarize_scan(layout).found
    summary.images = sum(each.num_images for each in facts)
    summary.shards = len(facts)
    summary.size_bytes = sum(each.size_bytes for each in facts)
    totals: Counter[str] = Counter()
    for reason, _, count in _reject_rows(layout):
        totals[reason] += count
    summary.rejects = dict(sorted(totals.items()))
    if not summary.interrupted:
        assert summary.images + sum(totals.values()) == summary.found, "every file is an image or a reject"
