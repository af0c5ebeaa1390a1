"""Rejected files become files that were never seen, so that the next scan and build take them up again.

Comes in: reasons of rejection. Goes out: the tables of scan and plan and the lists of rejects without those files.
Refuses reasons that a second try cannot change.

The request is written down first and taken away last, and each step between may be done twice: after an interruption
the next build goes on with it before it scans anything.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.checked_table import encode_table, read_table
from radio_io.errors import RejectReason, UsageError
from radio_io.layout import DatasetLayout
from radio_io.sharding.plan import plan_parts
from radio_io.sharding.scan_table import LISTED_ARCHIVE, drop_rows, read_parts, scan_parts

_DECIDED = {
    RejectReason.TOO_LARGE: "the bins of a dataset do not change; build another dataset with a larger bin",
    RejectReason.DUPLICATE: "its image is in the dataset already",
    RejectReason.WITHDRAWN: "it was withdrawn on request",
}


def parse_reasons(names: Iterable[str]) -> frozenset[RejectReason]:
    """Reasons from their codes.

    Raises:
        UsageError: A code is unknown, or trying again cannot help.
    """
    reasons: set[RejectReason] = set()
    for name in names:
        try:
            reason = RejectReason(name.strip().upper())
        except ValueError:
            known = ", ".join(sorted(set(RejectReason) - set(_DECIDED)))
            raise UsageError(f"--retry {name}: no such reason; expected one of {known}") from None
        if reason in _DECIDED:
            raise UsageError(f"--retry {name}: another try gives the same, for {_DECIDED[reason]}")
        reasons.add(reason)
    return frozenset(reasons)


def request_retry(layout: DatasetLayout, reasons: frozenset[RejectReason]) -> None:
    """Write down that files rejected for these reasons are to be tried again; `finish_retry` does it."""
    if reasons:
        atomic.make_folder(layout.private, mode=0o700)
        atomic.write_file(_request_path(layout), json.dumps(sorted(reasons)).encode(), mode=0o600)


def finish_retry(layout: DatasetLayout) -> int:
    """Carry out what `request_retry` wrote down, if anything; returns how many files will be scanned again."""
    request = _request_path(layout)
    if not request.exists():
        return 0
    reasons = frozenset(json.loads(request.read_bytes()))
    found = {path: _paths_rejected_for(path, reasons) for path in layout.shard_rejects_paths()}
    lists = [path for path, files in found.items() if files]
    rejected = frozenset(file for files in found.values() for file in files)
    paths = rejected - _with_several_frames(layout, rejected)

    # Archives are listed again: their members among the files are found by nothing else.
    again = reasons | {LISTED_ARCHIVE, RejectReason.BAD_ARCHIVE}

    def is_tried_again(table: pa.Table) -> NDArray[np.bool_]:
        pairs = zip(table["path"].to_pylist(), table["reason"].to_pylist(), strict=True)
        return np.array([path in paths or reason in again for path, reason in pairs], np.bool_)

    dropped = drop_rows(layout, is_tried_again)
    for table in (*(layout.plan_dir / name for name in plan_parts(layout)), *lists):
        _rewrite_without(table, paths)
    request.unlink()
    atomic.sync_folder(request.parent)
    return dropped


def _request_path(layout: DatasetLayout) -> Path:
    return layout.private / "retry.json"


def _paths_rejected_for(path: Path, reasons: frozenset[str]) -> list[bytes]:
    table = read_table(path, ["path", "reason"])
    pairs = zip(table["path"].to_pylist(), table["reason"].to_pylist(), strict=True)
    return [file for file, reason in pairs if reason in reasons]


def _with_several_frames(layout: DatasetLayout, paths: frozenset[bytes]) -> frozenset[bytes]:
    """Those whose other frames may be images of a shard already: they stay as they are."""
    found: set[bytes] = set()
    for table in read_parts(layout, scan_parts(layout), ["path", "frames"]):
        pairs = zip(table["path"].to_pylist(), table["frames"].to_pylist(), strict=True)
        found.update(path for path, frames in pairs if frames > 1 and path in paths)
    return frozenset(found)


def _rewrite_without(path: Path, files: frozenset[bytes]) -> None:
    """Take the rows of files out of a table; its metadata stays."""
    table = read_table(path)
    kept = np.array([file not in files for file in table["path"].to_pylist()], np.bool_)
    if kept.all():
        return
    if not kept.any() and (table.schema.metadata or {}).get(b"num_images") == b"0":
        path.unlink()  # the list of a shard of which nothing is left: its number is free again
        return
    atomic.write_file(path, encode_table(table.filter(pa.array(kept)), compression="zstd"), mode=0o600)
