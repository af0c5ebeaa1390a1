"""The unit of work of a build: one shard, from its files to its record.

Comes in: a `ShardPlan`. Goes out: the shard, the list of its rejected files in the private folder, a `ShardReceipt`.
Running it again is harmless. Where the process of a unit died, `build_shard_apart` decodes each file in a process of
its own, so that only the guilty one is rejected.
"""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from radio_io import atomic
from radio_io.checked_table import encode_table, read_metadata
from radio_io.config import BuildConfig
from radio_io.dicom.parse import ParsedFile, read_file
from radio_io.errors import ImageRejectedError, RadioError, RejectReason, internal_error
from radio_io.executors import UnitFailure, run_units, time_limit
from radio_io.layout import DatasetLayout
from radio_io.remote_dataset import move_to_store
from radio_io.sharding.file_ahead import FilesAhead, files_ahead
from radio_io.sharding.journal import Journal, NotedReject, Progress, open_journal, read_progress
from radio_io.sharding.plan import GuiltyFile, PlannedFile, ShardPlan
from radio_io.sharding.sample import Sample, SampleContext, make_sample
from radio_io.sharding.write import WrittenShard, write_shard

REJECT_SCHEMA = pa.schema([("path", pa.binary()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True, kw_only=True, slots=True)
class FileReject:
    """A file that did not become an image."""

    path: str
    reason: RejectReason
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReceipt:
    """What became of a shard: what was written (None: no image at all), and how many files were rejected why.

    `slowest_file_s` is the longest time that one file took, from reading to encoding.
    """

    shard_id: str
    written: WrittenShard | None
    rejects: dict[str, int]
    source_bytes: int
    slowest_file_s: float


def build_shard(root: str, context: SampleContext, plan: ShardPlan) -> ShardReceipt:
    """Build one shard: a unit of work.

    Where guilty files are known, an earlier process died of them: what it had finished is taken over.
    """
    layout = DatasetLayout(Path(root))
    progress = read_progress(layout, plan.shard_id) if plan.guilty else None
    with open_journal(layout, plan.shard_id) as journal:
        return _write(layout, context, plan, _results(context, plan, journal, progress), journal)


def build_shard_apart(config: BuildConfig, context: SampleContext, plan: ShardPlan) -> ShardReceipt:
    """Build one shard whose process died before, each of its files in a disposable process."""
    return _write(DatasetLayout(config.dataset), context, plan, _samples_apart(config, context, plan.files))


def _results(
    context: SampleContext, plan: ShardPlan, journal: Journal, progress: Progress | None
) -> Iterator[Sample | FileReject]:
    """What becomes of each file, from what was finished before and from the files that are left."""
    finished = 0
    for result in progress.results() if progress else ():
        path = plan.files[finished].path
        finished += 1
        yield _rejected(path, result) if isinstance(result, NotedReject) else result
    guilty = {file.position: file for file in plan.guilty}
    yield from _samples(context, plan.files, journal.at, guilty, finished)


def _rejected(path: str, noted: NotedReject) -> FileReject:
    return FileReject(path=path, reason=noted.reason, detail=noted.detail)


def _samples(
    context: SampleContext,
    files: Sequence[PlannedFile],
    note: Callable[[int], None] = lambda position: None,
    guilty: Mapping[int, GuiltyFile] = MappingProxyType({}),
    first: int = 0,
) -> Iterator[Sample | FileReject]:
    left = [(position, file) for position, file in enumerate(files) if position >= first]
    paths = [file.path for position, file in left if position not in guilty]
    with files_ahead(paths, context.header.archives) as ahead:
        frames = _Frames(ahead)
        for position, file in left:
            if position in guilty:
                death = guilty[position]
                yield FileReject(path=file.path, reason=RejectReason(death.reason), detail=death.detail)
            else:
                note(position)
                yield _sample_or_reject(context, frames, file)


class _Frames:
    """The file that was parsed last: its frames come one after another."""

    __slots__ = ("_ahead", "_parsed", "_path")

    def __init__(self, ahead: FilesAhead) -> None:
        self._ahead = ahead
        self._path: str | None = None
        self._parsed: ParsedFile | None = None

    def file(self, path: str) -> ParsedFile:
        if self._parsed is None or self._path != path:
            self._path, self._parsed = path, None  # the last file goes before the next one comes
            self._parsed = read_file(self._ahead.take(path))
        return self._parsed


def _sample_or_reject(context: SampleContext, frames: _Frames, file: PlannedFile) -> Sample | FileReject:
    try:
        with time_limit(context.file_timeout_s):
            return make_sample(frames.file(file.path), context, frame=file.frame)
    except ImageRejectedError as error:
        return FileReject(path=file.path, reason=error.reason, detail=error.detail)
    except MemoryError:
        raise
    except RadioError as error:
        return FileReject(path=file.path, reason=RejectReason.CORRUPT_PIXELS, detail=type(error).__name__)
    except Exception as error:  # noqa: BLE001 - one file of a hundred thousand must not end the build
        rejected = internal_error(error)
        return FileReject(path=file.path, reason=rejected.reason, detail=rejected.detail)


def _samples_apart(
    config: BuildConfig, context: SampleContext, files: tuple[PlannedFile, ...]
) -> Iterator[Sample | FileReject]:
    """Each file in a process of its own, so that only the guilty one is rejected."""
    outcomes = run_units(
        partial(one_sample, context),
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


def one_sample(context: SampleContext, file: PlannedFile) -> Sample | FileReject:
    """The sample of one file: a unit of work, whose time its caller limits."""
    unlimited = dataclasses.replace(context, file_timeout_s=2 * context.file_timeout_s)
    return next(_samples(unlimited, (file,)))


def _write(
    layout: DatasetLayout,
    context: SampleContext,
    plan: ShardPlan,
    results: Iterator[Sample | FileReject],
    journal: Journal | None = None,
) -> ShardReceipt:
    rejects: list[FileReject] = []
    files = iter(plan.files)
    slowest_s = 0.0

    def unique() -> Iterator[Sample]:
        nonlocal slowest_s
        keys = set(plan.taken)
        for result, elapsed_s in _timed(results):
            slowest_s = max(slowest_s, elapsed_s)
            reject = _why_not(result, next(files), plan, keys)
            if reject is not None:
                rejects.append(reject)
                if journal is not None:
                    journal.rejected(reject.reason, reject.detail)
            elif isinstance(result, Sample):
                keys.add(result.key)
                yield result
                if journal is not None:
                    journal.written(result)  # the writer asks for the next one once this one lies in the tar

    written = write_shard(layout, plan.shard_id, context.codec, unique())
    if written is not None:
        move_to_store(layout, plan.shard_id)
    write_rejects(layout, plan.shard_id, rejects, num_images=written.num_images if written else 0)
    return ShardReceipt(
        shard_id=plan.shard_id,
        written=written,
        rejects=dict(Counter(reject.reason.value for reject in rejects)),
        source_bytes=sum(file.size_bytes for file in plan.files),
        slowest_file_s=slowest_s,
    )


def _why_not(result: Sample | FileReject, file: PlannedFile, plan: ShardPlan, keys: set[str]) -> FileReject | None:
    """Why a result is no image of this shard, which holds those of `keys`; None where it is one."""
    if isinstance(result, FileReject):
        return result
    if result.key in keys:
        detail = "same SOPInstanceUID and pixels as another file"
        return FileReject(path=file.path, reason=RejectReason.DUPLICATE, detail=detail)
    if not plan.shard_id.startswith(_place(result)):
        detail = "patient or size are not those of the scan any more"
        return FileReject(path=file.path, reason=RejectReason.CHANGED_WHILE_READING, detail=detail)
    return None


def _timed(results: Iterator[Sample | FileReject]) -> Iterator[tuple[Sample | FileReject, float]]:
    """Each result with the seconds that it took."""
    while True:
        started_s = time.monotonic()
        result = next(results, None)
        if result is None:
            return
        yield result, time.monotonic() - started_s


def _place(sample: Sample) -> str:
    """The beginning of the ids of all shards where the sample may lie."""
    return f"{sample.row.split}/h{sample.row.bin_height}w{sample.row.bin_width}/"


def write_rejects(layout: DatasetLayout, shard_id: str, rejects: list[FileReject], *, num_images: int) -> None:
    """Write the rejected files of a shard into the private folder; its presence says that the shard is done."""
    path = layout.shard_rejects_path(shard_id)
    for folder in (layout.rejects_dir, path.parent.parent, path.parent):
        atomic.make_folder(folder, mode=0o700)  # a parent that it makes on the way would be open to others
    columns = {
        "path": [os.fsencode(reject.path) for reject in rejects],
        "reason": [reject.reason.value for reject in rejects],
        "detail": [reject.detail for reject in rejects],
    }
    table = pa.table(columns, schema=REJECT_SCHEMA.with_metadata({"num_images": str(num_images)}))
    atomic.write_file(path, encode_table(table), mode=0o600)


def is_done(layout: DatasetLayout, shard_id: str) -> bool:
    """Whether all files of a shard are there; one without any image has only its rejects."""
    rejects = layout.shard_rejects_path(shard_id)
    if not rejects.exists():
        return False
    if all(path.exists() for path in layout.kept_paths(shard_id)):
        return True
    return read_metadata(rejects).get(b"num_images") == b"0"
