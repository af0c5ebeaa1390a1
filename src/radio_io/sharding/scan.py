"""Every file of the sources, by its header: the private table that plans are made from.

Comes in: a `BuildConfig`. Goes out: Parquet files in the private folder (paths, sizes, the few header values that a
plan needs, or the reason of rejection) and `ScanSummary`. Files that are known by path, size and time of change are
not read again. Refuses nothing: what cannot be read becomes a row with its reason.
"""

import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.dicom.header import HeaderContext, HeaderRecord, header_record, read_before_pixels, unmapped_region
from radio_io.dicom.regions import UNKNOWN
from radio_io.dicom.walk import Archives, Found, ListedArchive, UnusablePath, walk_sources
from radio_io.errors import ImageRejectedError, internal_error
from radio_io.executors import Interruption, UnitFailure, graceful_interrupt, run_units
from radio_io.layout import DatasetLayout
from radio_io.progress import Progress
from radio_io.sharding.dispatch import dispatch
from radio_io.sharding.scan_table import (
    LISTED_ARCHIVE,
    SAME_AS_BEFORE,
    KnownFiles,
    ScanRow,
    ScanSummary,
    drop_rows,
    rows_of_paths,
    summarize_scan,
    write_part,
)

CHUNK_FILES = 256
FILES_A_PART = 16_384
LEAST_FRAME_BYTES = 16


def scan_sources(config: BuildConfig, context: HeaderContext, progress: Progress) -> ScanSummary:
    """Scan the sources of `config` into the private folder.

    Raises:
        UsageError: A source does not exist.
        StorageError: The private folder cannot be written.
        KeyboardInterrupt: The user has stopped it; what was scanned by then is written down.
    """
    layout = DatasetLayout(config.dataset)
    atomic.make_folder(layout.scan_dir, mode=0o700)
    atomic.make_folder(layout.archives_dir, mode=0o700)
    known = KnownFiles(layout)
    progress.start("scan", total=None, unit="files")
    archives = Archives(folder=layout.archives_dir, is_known=known.has)
    chunks = _chunks(walk_sources(config.sources, archives), known)
    with graceful_interrupt() as interruption:
        new = _scan_chunks(config, context, chunks, known, progress, interruption)
    progress.finish()
    if interruption.requested.is_set():
        raise KeyboardInterrupt  # what was scanned is written down
    summary = summarize_scan(layout)
    summary.new = new
    return summary


def _scan_chunks(
    config: BuildConfig,
    context: HeaderContext,
    chunks: Iterator[tuple[Found, ...]],
    known: KnownFiles,
    progress: Progress,
    interruption: Interruption,
) -> int:
    """Scan and write down, a part at a time; returns the number of new files."""
    layout = DatasetLayout(config.dataset)
    rows: list[ScanRow] = []
    new = 0
    timeout_s = config.file_timeout_s + CHUNK_FILES
    function = partial(scan_chunk, context)
    for outcome in dispatch(config, function, chunks, timeout_s=timeout_s, interruption=interruption):
        result = outcome.result
        if isinstance(result, UnitFailure):
            result = _one_by_one(outcome.unit, context, config)
        rows.extend(result)
        files = [row for row in result if row.reason != LISTED_ARCHIVE]
        new += len(files)
        progress.advance(len(files), size_bytes=sum(row.size_bytes for row in files))
        if len(rows) >= FILES_A_PART:
            _add(layout, rows, known)
            rows = []
    if rows:
        _add(layout, rows, known)
    return new


def scan_chunk(context: HeaderContext, chunk: tuple[Found, ...]) -> list[ScanRow]:
    """The rows of some files: a unit of work."""
    return [_scan_file(context, found) for found in chunk]


def _add(layout: DatasetLayout, rows: list[ScanRow], known: KnownFiles) -> None:
    """Write rows as a part; those of paths that were known before are settled with their earlier rows.

    A file that was touched only, and a reject that still is one for the same reason, count once. A reject that has
    become readable loses its earlier row. An image that was replaced by another one counts as a further file: what was
    built from the first lies in a shard.
    """
    changed = [row.path for row in rows if known.has_path(row.path)]
    if not changed:
        write_part(layout, rows)
        return
    before = rows_of_paths(layout, changed)
    settled: list[ScanRow] = []
    outdated: list[bytes] = []
    for row in rows:
        size, instance, reason = before.get(row.path, (None, None, None))
        known_before = row.path in before
        if known_before and (row.instance_key, row.reason) == (instance, reason) and size == row.size_bytes:
            unchanged = ScanRow(
                path=row.path, size_bytes=row.size_bytes, modified_ns=row.modified_ns, reason=SAME_AS_BEFORE
            )
            settled.append(unchanged)
            continue
        if known_before and reason is not None:
            outdated.append(os.fsencode(row.path))
        settled.append(row)
    if outdated:
        drop_rows(layout, partial(_rejects_of, frozenset(outdated)))
    write_part(layout, settled)


def _rejects_of(paths: frozenset[bytes], table: pa.Table) -> NDArray[np.bool_]:
    pairs = zip(table["path"].to_pylist(), table["reason"].to_pylist(), strict=True)
    return np.array([path in paths and reason is not None for path, reason in pairs], np.bool_)


def _number_of_images(header: HeaderRecord, context: HeaderContext, size_bytes: int) -> int:
    """One, or one a frame where all frames are taken and the file can hold so many; decoding refuses the others."""
    frames = header.number_of_frames
    return frames if context.frames == "all" and frames * LEAST_FRAME_BYTES <= size_bytes else 1


def _scan_file(context: HeaderContext, found: Found) -> ScanRow:
    place: dict[str, Any] = {"path": found.path, "size_bytes": found.size_bytes, "modified_ns": found.modified_ns}
    if isinstance(found, ListedArchive):
        return ScanRow(**place, reason=LISTED_ARCHIVE)
    if isinstance(found, UnusablePath):
        return ScanRow(**place, reason=found.reason.value, detail=found.detail)
    try:
        parsed = read_before_pixels(found.path, context.archives)
        header = header_record(parsed, context)
        unmapped = unmapped_region(parsed, context) if header.region == UNKNOWN else None
    except ImageRejectedError as error:
        return _rejected(place, error)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - one file of a hundred thousand must not end the scan
        return _rejected(place, internal_error(error))
    return ScanRow(
        **place,
        instance_key=header.instance_key,
        patient_key=header.patient_key,
        rows=header.rows,
        columns=header.columns,
        frames=_number_of_images(header, context, found.size_bytes),
        region=header.region,
        unmapped=unmapped,
        modality=header.modality,
    )


def _rejected(place: dict[str, Any], error: ImageRejectedError) -> ScanRow:
    return ScanRow(**place, reason=error.reason.value, detail=error.detail)


def _one_by_one(chunk: tuple[Found, ...], context: HeaderContext, config: BuildConfig) -> list[ScanRow]:
    """A chunk whose process died, each file in a process of its own: only the guilty one is rejected."""
    rows: list[ScanRow] = []
    units = [(found,) for found in chunk]
    for outcome in run_units(partial(scan_chunk, context), units, workers=1, timeout_s=config.file_timeout_s):
        if isinstance(outcome.result, UnitFailure):
            found = outcome.unit[0]
            failure = outcome.result
            row = ScanRow(
                path=found.path,
                size_bytes=found.size_bytes,
                modified_ns=found.modified_ns,
                reason=failure.reason.value,
                detail=failure.detail,
            )
            rows.append(row)
        else:
            rows.extend(outcome.result)
    return rows


def _chunks(paths: Iterator[Found], known: KnownFiles) -> Iterator[tuple[Found, ...]]:
    new = (found for found in paths if not _is_known(found, known))
    while chunk := tuple(islice(new, CHUNK_FILES)):
        yield chunk


def _is_known(found: Found, known: KnownFiles) -> bool:
    return known.has(found.path, found.size_bytes, found.modified_ns)
