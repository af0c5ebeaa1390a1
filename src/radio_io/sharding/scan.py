"""Every file of the sources, by its header: the private table that plans are made from.

Comes in: a `BuildConfig`. Goes out: Parquet files in the private folder (paths, sizes, the few header values that a
plan needs, or the reason of rejection) and `ScanSummary`. Files that are known by path, size and time of change are
not read again. Refuses nothing: what cannot be read becomes a row with its reason.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.dicom.header import HeaderContext, read_header
from radio_io.dicom.walk import FoundFile, UnusablePath, walk_sources
from radio_io.errors import ImageRejectedError
from radio_io.executors import UnitFailure, run_units
from radio_io.layout import DatasetLayout
from radio_io.progress import Progress

CHUNK_FILES = 256
FILES_A_PART = 65_536
SCAN_SCHEMA = pa.schema(
    [
        ("path", pa.binary()),
        ("size_bytes", pa.int64()),
        ("modified_ns", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("instance_key", pa.string()),
        ("patient_key", pa.string()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
        ("region", pa.string()),
        ("modality", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanRow:
    """One file as the scan found it; either `reason` or the header values are there."""

    path: str
    size_bytes: int
    modified_ns: int
    reason: str | None = None
    detail: str | None = None
    instance_key: str | None = None
    patient_key: str | None = None
    rows: int | None = None
    columns: int | None = None
    region: str | None = None
    modality: str | None = None


@dataclass(kw_only=True, slots=True)
class ScanSummary:
    """What a scan found: files in all, of these new, images, and rejects by reason."""

    found: int = 0
    new: int = 0
    images: int = 0
    rejects: dict[str, int] = field(default_factory=dict[str, int])
    regions: dict[str, int] = field(default_factory=dict[str, int])


def scan_sources(config: BuildConfig, context: HeaderContext, progress: Progress) -> ScanSummary:
    """Scan the sources of `config` into the private folder.

    Raises:
        UsageError: A source does not exist.
        StorageError: The private folder cannot be written.
    """
    layout = DatasetLayout(config.dataset)
    atomic.make_folder(layout.scan_dir, mode=0o700)
    atomic.remove_leftovers(layout.scan_dir)
    known = _known_files(layout)
    rows: list[ScanRow] = []
    new = 0
    progress.start("scan", total=None, unit="files")
    chunks = _chunks(walk_sources(config.sources), known)
    function = partial(scan_chunk, context)
    timeout_s = config.file_timeout_s + CHUNK_FILES
    for outcome in run_units(function, chunks, workers=config.workers, timeout_s=timeout_s):
        result = outcome.result
        if isinstance(result, UnitFailure):
            result = _one_by_one(outcome.unit, context, config)
        rows.extend(result)
        new += len(result)
        progress.advance(len(result), size_bytes=sum(row.size_bytes for row in result))
        if len(rows) >= FILES_A_PART:
            _write_part(layout, rows)
            rows = []
    if rows:
        _write_part(layout, rows)
    progress.finish()
    summary = summarize_scan(layout)
    summary.new = new
    return summary


def scan_chunk(context: HeaderContext, chunk: tuple[FoundFile | UnusablePath, ...]) -> list[ScanRow]:
    """The rows of some files: a unit of work."""
    return [_scan_file(context, found) for found in chunk]


def scan_parts(layout: DatasetLayout) -> list[str]:
    """The names of the finished parts of the scan, in their order."""
    return sorted(path.name for path in layout.scan_dir.glob("part-*.parquet"))


def read_parts(layout: DatasetLayout, names: list[str], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The tables of parts, one after another."""
    for name in names:
        yield pq.read_table(layout.scan_dir / name, columns=columns)


def summarize_scan(layout: DatasetLayout) -> ScanSummary:
    """Counts over all parts; `new` is for the scan to say."""
    summary = ScanSummary()
    for table in read_parts(layout, scan_parts(layout), ["reason", "region"]):
        summary.found += table.num_rows
        for reason, region in zip(table["reason"].to_pylist(), table["region"].to_pylist(), strict=True):
            if reason is None:
                summary.images += 1
                summary.regions[region] = summary.regions.get(region, 0) + 1
            else:
                summary.rejects[reason] = summary.rejects.get(reason, 0) + 1
    return summary


def _scan_file(context: HeaderContext, found: FoundFile | UnusablePath) -> ScanRow:
    if isinstance(found, UnusablePath):
        return ScanRow(path=found.path, size_bytes=0, modified_ns=0, reason=found.reason.value, detail=found.detail)
    place = {"path": found.path, "size_bytes": found.size_bytes, "modified_ns": found.modified_ns}
    try:
        header = read_header(found.path, context)
    except ImageRejectedError as error:
        return ScanRow(**place, reason=error.reason.value, detail=error.detail)  # pyright: ignore[reportArgumentType]
    return ScanRow(
        **place,  # pyright: ignore[reportArgumentType]
        instance_key=header.instance_key,
        patient_key=header.patient_key,
        rows=header.rows,
        columns=header.columns,
        region=header.region,
        modality=header.modality,
    )


def _one_by_one(
    chunk: tuple[FoundFile | UnusablePath, ...], context: HeaderContext, config: BuildConfig
) -> list[ScanRow]:
    """A chunk whose process died, each file in a process of its own: only the guilty one is rejected."""
    rows: list[ScanRow] = []
    units = [(found,) for found in chunk]
    for outcome in run_units(partial(scan_chunk, context), units, workers=1, timeout_s=config.file_timeout_s):
        if isinstance(outcome.result, UnitFailure):
            found = outcome.unit[0]
            size = found.size_bytes if isinstance(found, FoundFile) else 0
            changed = found.modified_ns if isinstance(found, FoundFile) else 0
            failure = outcome.result
            row = ScanRow(
                path=found.path,
                size_bytes=size,
                modified_ns=changed,
                reason=failure.reason.value,
                detail=failure.detail,
            )
            rows.append(row)
        else:
            rows.extend(outcome.result)
    return rows


def _chunks(
    paths: Iterator[FoundFile | UnusablePath], known: set[bytes]
) -> Iterator[tuple[FoundFile | UnusablePath, ...]]:
    new = (found for found in paths if _identity(found) not in known)
    while chunk := tuple(islice(new, CHUNK_FILES)):
        yield chunk


def _identity(found: FoundFile | UnusablePath) -> bytes:
    if isinstance(found, UnusablePath):
        return _digest(found.path, 0, 0)
    return _digest(found.path, found.size_bytes, found.modified_ns)


def _digest(path: str, size_bytes: int, modified_ns: int) -> bytes:
    text = f"{size_bytes} {modified_ns} ".encode() + os.fsencode(path)
    return hashlib.blake2b(text, digest_size=16).digest()


def _known_files(layout: DatasetLayout) -> set[bytes]:
    """16 bytes for each file already scanned."""
    known: set[bytes] = set()
    for table in read_parts(layout, scan_parts(layout), ["path", "size_bytes", "modified_ns"]):
        columns = (table[name].to_pylist() for name in ("path", "size_bytes", "modified_ns"))
        known.update(_digest(os.fsdecode(path), size, changed) for path, size, changed in zip(*columns, strict=True))
    return known


def _write_part(layout: DatasetLayout, rows: list[ScanRow]) -> None:
    ordered = sorted(rows, key=lambda row: row.path)
    columns = {name: [getattr(row, name) for row in ordered] for name in SCAN_SCHEMA.names}
    columns["path"] = [os.fsencode(row.path) for row in ordered]
    table = pa.table(columns, schema=SCAN_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    name = f"part-{len(scan_parts(layout)):05}.parquet"
    atomic.write_file(layout.scan_dir / name, sink.getvalue().to_pybytes(), mode=0o600)
