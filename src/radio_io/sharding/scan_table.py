"""The private table of every file that was scanned: Parquet parts that are only added to.

Comes in: rows of the scan. Goes out: parts, `KnownFiles` (which files need not be read again) and `ScanSummary`.
Refuses damaged parts. Paths and texts of headers stay in these files; they lie in the private folder.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.checked_table import encode_table, read_table
from radio_io.layout import DatasetLayout

_compute: Any = pyarrow.compute  # its functions are made at import: no types
SAME_AS_BEFORE = "SAME_AS_BEFORE"
"""Marks the row of a file that was touched, not changed: its earlier row counts, this one says that it is known."""
LISTED_ARCHIVE = "LISTED_ARCHIVE"
"""Marks the row of an archive all of whose members have rows: it is no file, and need not be listed again."""
NO_FILES = frozenset({SAME_AS_BEFORE, LISTED_ARCHIVE})
"""Reasons of rows that do not count."""
LEAST_PATIENTS = 10
"""A text of a header is shown only where at least this many patients have it, so that it cannot be a name."""
SHOWN_TEXTS = 30
_DIGEST_BYTES = 16
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
        ("frames", pa.int32()),
        ("region", pa.string()),
        ("unmapped", pa.string()),
        ("modality", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanRow:
    """One file as the scan found it; either `reason` or the header values are there.

    `frames` is the number of images that the file gives. `unmapped` is what the header calls a region that the rules
    do not know.
    """

    path: str
    size_bytes: int
    modified_ns: int
    reason: str | None = None
    detail: str | None = None
    instance_key: str | None = None
    patient_key: str | None = None
    rows: int | None = None
    columns: int | None = None
    frames: int = 1
    region: str | None = None
    unmapped: str | None = None
    modality: str | None = None


@dataclass(kw_only=True, slots=True)
class ScanSummary:
    """What a scan found: files in all, of these new, images, rejects by reason, regions.

    `extra_frames` is how many images more than one a file the files with several frames give. `unmapped_regions` are
    the most frequent texts that named no known region, with their numbers of images.
    """

    found: int = 0
    new: int = 0
    images: int = 0
    extra_frames: int = 0
    rejects: dict[str, int] = field(default_factory=dict[str, int])
    regions: dict[str, int] = field(default_factory=dict[str, int])
    unmapped_regions: dict[str, int] = field(default_factory=dict[str, int])


def scan_parts(layout: DatasetLayout) -> list[str]:
    """The names of the finished parts of the scan, in their order."""
    return parts_in(layout.scan_dir)


def parts_in(folder: Path) -> list[str]:
    """The names of numbered parts, in the order of their numbers: part-1000 comes behind part-999."""
    return sorted((path.name for path in folder.glob("part-*.parquet")), key=part_number)


def part_number(name: str) -> int:
    """The number of a part.

    Example:
        >>> part_number("part-00012.parquet")
        12
    """
    return int(name.removeprefix("part-").removesuffix(".parquet"))


def read_parts(layout: DatasetLayout, names: list[str], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The tables of parts, one after another."""
    for name in names:
        yield read_table(layout.scan_dir / name, columns)


def write_part(layout: DatasetLayout, rows: list[ScanRow]) -> None:
    """Add a part with these rows."""
    ordered = sorted(rows, key=lambda row: row.path)
    columns = {name: [getattr(row, name) for row in ordered] for name in SCAN_SCHEMA.names}
    columns["path"] = [os.fsencode(row.path) for row in ordered]
    parts = scan_parts(layout)
    number = part_number(parts[-1]) + 1 if parts else 0
    _write(layout, f"part-{number:05}.parquet", pa.table(columns, schema=SCAN_SCHEMA))


def drop_rows(layout: DatasetLayout, drop: Callable[[pa.Table], NDArray[np.bool_]]) -> int:
    """Take the rows out for which `drop` says so, part by part; returns how many. Dropped files are scanned again."""
    dropped = 0
    for name in scan_parts(layout):
        table = read_table(layout.scan_dir / name)
        gone = drop(table)
        if gone.any():
            _write(layout, name, table.filter(pa.array(~gone)))
            dropped += int(gone.sum())
    return dropped


def rows_of_paths(layout: DatasetLayout, paths: list[str]) -> dict[str, tuple[int, str | None, str | None]]:
    """(size, instance key, reason) of the last row that counts, by path."""
    wanted = pa.array([os.fsencode(path) for path in paths], pa.binary())
    found: dict[str, tuple[int, str | None, str | None]] = {}
    for table in read_parts(layout, scan_parts(layout), ["path", "size_bytes", "instance_key", "reason"]):
        rows = table.filter(_compute.is_in(table["path"], value_set=wanted)).to_pylist()
        for row in rows:
            if row["reason"] not in NO_FILES:
                found[os.fsdecode(row["path"])] = (row["size_bytes"], row["instance_key"], row["reason"])
    return found


class KnownFiles:
    """Which files were scanned before, by digests: 32 bytes a file whatever the length of its path."""

    def __init__(self, layout: DatasetLayout) -> None:
        identities: list[NDArray[np.bytes_]] = []
        paths: list[NDArray[np.bytes_]] = []
        for table in read_parts(layout, scan_parts(layout), ["path", "size_bytes", "modified_ns"]):
            columns = [table[name].to_pylist() for name in ("path", "size_bytes", "modified_ns")]
            identities.append(_digests(_identity(*row) for row in zip(*columns, strict=True)))
            paths.append(_digests(iter(columns[0])))
        self._identities = _sorted(identities)
        self._paths = _sorted(paths)

    def has(self, path: str, size_bytes: int, modified_ns: int) -> bool:
        """Whether the file was scanned with this size and time of change."""
        return _contains(self._identities, _identity(os.fsencode(path), size_bytes, modified_ns))

    def has_path(self, path: str) -> bool:
        """Whether a file was scanned under this path, whatever it was then."""
        return _contains(self._paths, os.fsencode(path))


def summarize_scan(layout: DatasetLayout) -> ScanSummary:
    """Counts over all parts; `new` is for the scan to say."""
    summary = ScanSummary()
    unmapped = _UnmappedTexts()
    wanted = ["reason", "region", "frames", "unmapped", "patient_key"]
    for whole in read_parts(layout, scan_parts(layout), wanted):
        table = whole.filter(_compute.invert(_compute.is_in(whole["reason"], value_set=pa.array(sorted(NO_FILES)))))
        images = table.filter(table["reason"].is_null())
        summary.found += table.num_rows
        summary.images += images.num_rows
        summary.extra_frames += (_compute.sum(images["frames"]).as_py() or 0) - images.num_rows
        _add_counts(summary.rejects, table["reason"].drop_null())
        _add_counts(summary.regions, images["region"])
        unmapped.add(images.filter(images["unmapped"].is_valid()))
    summary.unmapped_regions = unmapped.frequent()
    return summary


class _UnmappedTexts:
    """Counts texts of headers, and at most `LEAST_PATIENTS` patients of each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._patients: dict[str, set[str]] = {}

    def add(self, table: pa.Table) -> None:
        for text, patient in zip(table["unmapped"].to_pylist(), table["patient_key"].to_pylist(), strict=True):
            self._counts[text] = self._counts.get(text, 0) + 1
            seen = self._patients.setdefault(text, set())
            if len(seen) < LEAST_PATIENTS:
                seen.add(patient)

    def frequent(self) -> dict[str, int]:
        shown = [text for text, seen in self._patients.items() if len(seen) >= LEAST_PATIENTS]
        shown.sort(key=lambda text: (-self._counts[text], text))
        return {text: self._counts[text] for text in shown[:SHOWN_TEXTS]}


def _add_counts(counts: dict[str, int], values: pa.ChunkedArray) -> None:
    for entry in values.value_counts().to_pylist():
        counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]


def _identity(path: bytes, size_bytes: int, modified_ns: int) -> bytes:
    return f"{size_bytes} {modified_ns} ".encode() + path


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _digests(contents: Iterator[bytes]) -> NDArray[np.bytes_]:
    return np.array([_digest(content) for content in contents], f"S{_DIGEST_BYTES}")


def _sorted(arrays: list[NDArray[np.bytes_]]) -> NDArray[np.bytes_]:
    return np.sort(np.concatenate(arrays)) if arrays else np.empty(0, f"S{_DIGEST_BYTES}")


def _contains(digests: NDArray[np.bytes_], content: bytes) -> bool:
    wanted = np.bytes_(_digest(content).rstrip(b"\0"))
    position = int(np.searchsorted(digests, wanted))
    return position < len(digests) and bool(digests[position] == wanted)


def _write(layout: DatasetLayout, name: str, table: pa.Table) -> None:
    atomic.write_file(layout.scan_dir / name, encode_table(table, compression="zstd"), mode=0o600)
