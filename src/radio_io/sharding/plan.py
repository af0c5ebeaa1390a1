"""Which file goes to which shard: made once from the scan, then frozen.

Comes in: the parts of the scan that no plan covers yet. Goes out: a new part of the plan in the private folder, and
`ShardPlan`s. Refuses nothing; images above the largest bin become rejects `TOO_LARGE` of the plan.

Images are ordered by split and bin, then by a keyed hash, so that a shard is a random sample of its bin; files of one
SOPInstanceUID stay together, so that duplicates meet in one shard. New files make a new part with new shards; finished
shards are never touched.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.errors import RejectReason
from radio_io.layout import DatasetLayout, Split, shard_id_for
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.sharding.sample import too_large
from radio_io.sharding.scan_table import read_parts, scan_parts

# Encoded bytes of a pixel: 16 bits at the ratio of about 3 that htj2k reaches on radiographs.
ENCODED_BYTES_PER_PIXEL = 2 / 3
PLAN_SCHEMA = pa.schema(
    [
        ("shard_id", pa.string()),
        ("path", pa.binary()),
        ("frame", pa.int32()),
        ("instance_key", pa.string()),
        ("size_bytes", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFile:
    """A file of a shard, or one frame of it; `frame` counts from 0, `size_bytes` is the frame's share."""

    path: str
    frame: int
    instance_key: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPlan:
    """A shard to build: its id and its files, in the order in which they will lie in the tar.

    `earlier` are shards before it in the plan that have an instance in common with it, `taken` the keys of such
    images there.
    """

    shard_id: str
    files: tuple[PlannedFile, ...]
    earlier: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidates:
    """The images that a new part has to place, as columns of equal length."""

    paths: list[bytes]
    frames: list[int]
    instance_keys: list[str]
    sizes: list[int]
    splits: list[str]
    rows: np.ndarray
    columns: np.ndarray
    order: list[bytes]


def extend_plan(config: BuildConfig, pseudonyms: Pseudonymizer) -> None:
    """Freeze a new part of the plan for everything that was scanned since the last one.

    Raises:
        StorageError: The private folder cannot be written.
    """
    layout = DatasetLayout(config.dataset)
    atomic.make_folder(layout.plan_dir, mode=0o700)
    atomic.remove_leftovers(layout.plan_dir)
    covered = _covered_parts(layout)
    new = [name for name in scan_parts(layout) if name not in covered]
    if not new:
        return
    candidates = _candidates(layout, new, config, pseudonyms)
    table = _place(candidates, config, _last_numbers(layout))
    metadata = {b"radio": json.dumps({"format_version": 1, "scan_parts": new}).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    name = f"part-{len(plan_parts(layout)):03}.parquet"
    atomic.write_file(layout.plan_dir / name, sink.getvalue().to_pybytes(), mode=0o600)


def plan_parts(layout: DatasetLayout) -> list[str]:
    """The names of the frozen parts, in their order."""
    return sorted(path.name for path in layout.plan_dir.glob("part-*.parquet"))


def planned_shards(layout: DatasetLayout) -> Iterator[ShardPlan]:
    """Every planned shard, finished or not, in the order of the plan."""
    columns = ("path", "frame", "instance_key", "size_bytes")
    for name in plan_parts(layout):
        table = pq.read_table(layout.plan_dir / name, columns=["shard_id", *columns])
        table = table.filter(table["shard_id"].is_valid())
        shard_ids = table["shard_id"].to_pylist()
        starts = [i for i, each in enumerate(shard_ids) if i == 0 or shard_ids[i - 1] != each]
        for start, end in zip(starts, [*starts[1:], len(shard_ids)][: len(starts)], strict=True):
            part = table.slice(start, end - start)
            files = tuple(
                PlannedFile(path=os.fsdecode(path), frame=frame, instance_key=key, size_bytes=size)
                for path, frame, key, size in zip(*(part[column].to_pylist() for column in columns), strict=True)
            )
            yield ShardPlan(shard_id=shard_ids[start], files=files)


def plan_rejects(layout: DatasetLayout) -> dict[str, int]:
    """How many files the plan rejected, by reason."""
    counts: dict[str, int] = {}
    for name in plan_parts(layout):
        for reason in pq.read_table(layout.plan_dir / name, columns=["reason"])["reason"].drop_null().to_pylist():
            counts[reason] = counts.get(reason, 0) + 1
    return counts


def _covered_parts(layout: DatasetLayout) -> set[str]:
    covered: set[str] = set()
    for name in plan_parts(layout):
        metadata = pq.read_schema(layout.plan_dir / name).metadata or {}
        covered.update(json.loads(metadata[b"radio"])["scan_parts"])
    return covered


def _candidates(layout: DatasetLayout, parts: list[str], config: BuildConfig, pseudonyms: Pseudonymizer) -> _Candidates:
    tables = [table.filter(table["reason"].is_null()) for table in read_parts(layout, parts)]
    table = _one_row_a_frame(pa.concat_tables(tables))
    patients = table["patient_key"].to_pylist()
    instance_keys = table["instance_key"].to_pylist()
    seed = str(config.seed)
    return _Candidates(
        paths=table["path"].to_pylist(),
        frames=table["frame"].to_pylist(),
        instance_keys=instance_keys,
        sizes=table["size_bytes"].to_pylist(),
        splits=[config.splits.split_of(pseudonyms.split_fraction(patient)).value for patient in patients],
        rows=table["rows"].to_numpy(),
        columns=table["columns"].to_numpy(),
        order=[pseudonyms.keyed_hash("order", seed, key) for key in instance_keys],
    )


def _one_row_a_frame(table: pa.Table) -> pa.Table:
    """Repeats the rows of files that give several images; `frame` counts them, `size_bytes` is shared out."""
    frames = table["frames"].to_numpy()
    files = np.repeat(np.arange(len(frames)), frames)
    first = np.repeat(np.cumsum(frames) - frames, frames)
    share = (table["size_bytes"].to_numpy() // frames)[files]
    repeated = table.take(pa.array(files)).append_column("frame", pa.array(np.arange(len(files)) - first, pa.int32()))
    return repeated.set_column(repeated.schema.get_field_index("size_bytes"), "size_bytes", pa.array(share, pa.int64()))


def _place(candidates: _Candidates, config: BuildConfig, numbers: dict[str, int]) -> pa.Table:
    """The rows of a part: shards in the order of split and bin, then what is too large."""
    bins = config.bins.assign_all(candidates.rows, candidates.columns)
    split_order = {split.value: position for position, split in enumerate(Split)}
    order = sorted(
        range(len(bins)),
        key=lambda i: (
            split_order[candidates.splits[i]],
            int(bins[i]),
            candidates.order[i],
            candidates.paths[i],
            candidates.frames[i],
        ),
    )
    placed = [i for i in order if bins[i] >= 0]
    shard_ids = list(_shard_ids(placed, candidates, bins, config, numbers))
    left_out = sorted((i for i in order if bins[i] < 0), key=lambda i: candidates.paths[i])
    details = [too_large(int(candidates.rows[i]), int(candidates.columns[i]), config.bins).detail for i in left_out]
    everything = [*placed, *left_out]
    return pa.table(
        {
            "shard_id": [*shard_ids, *([None] * len(left_out))],
            "path": [candidates.paths[i] for i in everything],
            "frame": [candidates.frames[i] for i in everything],
            "instance_key": [candidates.instance_keys[i] for i in everything],
            "size_bytes": [candidates.sizes[i] for i in everything],
            "reason": [*([None] * len(placed)), *([RejectReason.TOO_LARGE.value] * len(left_out))],
            "detail": [*([None] * len(placed)), *details],
        },
        schema=PLAN_SCHEMA,
    )


def _shard_ids(
    placed: list[int],
    candidates: _Candidates,
    bins: np.ndarray,
    config: BuildConfig,
    numbers: dict[str, int],
) -> Iterator[str]:
    """A shard closes when it has its size and its least number of images, but never inside one instance."""
    group: tuple[str, int] | None = None
    size, count, previous, shard_id = 0.0, 0, "", ""
    for i in placed:
        here = (candidates.splits[i], int(bins[i]))
        full = size >= config.shard_size_bytes and count >= config.min_shard_images
        if here != group or (full and candidates.instance_keys[i] != previous):
            rectangle = config.bins.rectangles[here[1]]
            folder = f"{here[0]}/h{rectangle.height}w{rectangle.width}"
            numbers[folder] = numbers.get(folder, -1) + 1
            shard_id = shard_id_for(Split(here[0]), rectangle.height, rectangle.width, numbers[folder])
            group, size, count = here, 0.0, 0
        yield shard_id
        size += ENCODED_BYTES_PER_PIXEL * float(candidates.rows[i]) * float(candidates.columns[i])
        count, previous = count + 1, candidates.instance_keys[i]


def _last_numbers(layout: DatasetLayout) -> dict[str, int]:
    """The last number used in each split and bin, by the shard id without its number."""
    numbers: dict[str, int] = {}
    for name in plan_parts(layout):
        for shard_id in set(pq.read_table(layout.plan_dir / name, columns=["shard_id"])["shard_id"].to_pylist()) - {
            None
        }:
            group, _, number = shard_id.rpartition("/")
            numbers[group] = max(numbers.get(group, -1), int(number))
    return numbers
