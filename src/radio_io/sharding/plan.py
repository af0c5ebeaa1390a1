"""Which file goes to which shard: made once from the scan, then frozen.

Comes in: the parts of the scan that no plan covers yet. Goes out: a new part of the plan in the private folder, and
`ShardPlan`s. Refuses damaged parts; images above the largest bin become rejects `TOO_LARGE` of the plan.

Images are ordered by split and bin, then by a keyed hash, so that a shard is a random sample of its bin; files of one
SOPInstanceUID stay together, so that duplicates meet in one shard. New files make a new part with new shards; finished
shards are never touched.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.checked_file import CheckedFile
from radio_io.checked_table import read_batches, read_metadata, read_table, table_writer
from radio_io.config import BuildConfig
from radio_io.errors import RejectReason
from radio_io.layout import DatasetLayout, Split, shard_id_for
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.sharding.plan_order import PlanOrder, instances_of_several_shards, plan_order, remove_sorting
from radio_io.sharding.sample import too_large
from radio_io.sharding.scan_table import parts_in, read_parts, scan_parts

# Encoded bytes of a pixel: 16 bits at the ratio of about 3 that htj2k reaches on radiographs.
ENCODED_BYTES_PER_PIXEL = 2 / 3
ROWS_AT_ONCE = 16_384
MOST_SHARD_IMAGES = 10_000
"""A shard closes here at the latest: its rows are in memory while it is built."""
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
class GuiltyFile:
    """A file, by its position in a shard, that ends the process that decodes it."""

    position: int
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPlan:
    """A shard to build: its id and its files, in the order in which they will lie in the tar.

    `taken` are keys of images in earlier shards that have an instance in common with this one; `guilty` files are not
    opened but rejected.
    """

    shard_id: str
    files: tuple[PlannedFile, ...]
    taken: frozenset[str] = frozenset()
    guilty: tuple[GuiltyFile, ...] = ()


def extend_plan(config: BuildConfig, pseudonyms: Pseudonymizer) -> None:
    """Freeze a new part of the plan for everything that was scanned since the last one.

    Raises:
        StorageError: The private folder cannot be written.
    """
    layout = DatasetLayout(config.dataset)
    atomic.make_folder(layout.plan_dir, mode=0o700)
    remove_sorting(layout.plan_dir)
    covered = _covered_parts(layout)
    new = [name for name in scan_parts(layout) if name not in covered]
    if not new:
        return
    with plan_order(layout.plan_dir) as order:
        for table in _candidates(layout, new):
            order.add(_sortable(table, config, pseudonyms))
        name = f"part-{len(plan_parts(layout)):03}.parquet"
        metadata = {b"radio": json.dumps({"format_version": 1, "scan_parts": new}).encode()}
        batches = chain(_placed_rows(order, config, _last_numbers(layout)), _left_out_rows(order, config))
        _write_part(layout.plan_dir / name, PLAN_SCHEMA.with_metadata(metadata), batches)


def plan_parts(layout: DatasetLayout) -> list[str]:
    """The names of the frozen parts, in their order."""
    return parts_in(layout.plan_dir)


def planned_shards(layout: DatasetLayout) -> Iterator[ShardPlan]:
    """Every planned shard, finished or not, in the order of the plan; one of them is in memory at a time."""
    columns = ["shard_id", "path", "frame", "instance_key", "size_bytes"]
    shard_id: str | None = None
    files: list[PlannedFile] = []
    for name in plan_parts(layout):
        for batch in read_batches(layout.plan_dir / name, columns, rows=ROWS_AT_ONCE):
            rows = zip(*(batch.column(column).to_pylist() for column in columns), strict=True)
            for here, path, frame, instance_key, size_bytes in rows:
                if here != shard_id:
                    if shard_id is not None:
                        yield ShardPlan(shard_id=shard_id, files=tuple(files))
                    shard_id, files = here, []
                if here is not None:
                    path = os.fsdecode(path)
                    files.append(PlannedFile(path=path, frame=frame, instance_key=instance_key, size_bytes=size_bytes))
    if shard_id is not None:
        yield ShardPlan(shard_id=shard_id, files=tuple(files))


def repeated_instances(layout: DatasetLayout) -> frozenset[str]:
    """The instances that more than one shard holds: copies in a later source, or under another patient or size."""
    return instances_of_several_shards(layout.plan_dir, plan_parts(layout))


def plan_rejects(layout: DatasetLayout) -> dict[str, int]:
    """How many files the plan rejected, by reason."""
    counts: dict[str, int] = {}
    for name in plan_parts(layout):
        table = read_table(layout.plan_dir / name, ["reason"])
        for reason in table["reason"].drop_null().to_pylist():
            counts[reason] = counts.get(reason, 0) + 1
    return counts


def _covered_parts(layout: DatasetLayout) -> set[str]:
    covered: set[str] = set()
    for name in plan_parts(layout):
        metadata = read_metadata(layout.plan_dir / name)
        covered.update(json.loads(metadata[b"radio"])["scan_parts"])
    return covered


def _candidates(layout: DatasetLayout, parts: list[str]) -> Iterator[pa.Table]:
    """The images of new parts of the scan, a row a frame."""
    columns = ["path", "size_bytes", "reason", "instance_key", "patient_key", "rows", "columns", "frames"]
    for table in read_parts(layout, parts, columns):
        yield _one_row_a_frame(table.filter(table["reason"].is_null()))


def _one_row_a_frame(table: pa.Table) -> pa.Table:
    """Repeats the rows of files that give several images; `frame` counts them, `size_bytes` is shared out."""
    frames = table["frames"].to_numpy()
    files = np.repeat(np.arange(len(frames)), frames)
    first = np.repeat(np.cumsum(frames) - frames, frames)
    share = (table["size_bytes"].to_numpy() // frames)[files]
    repeated = table.take(pa.array(files)).append_column("frame", pa.array(np.arange(len(files)) - first, pa.int32()))
    return repeated.set_column(repeated.schema.get_field_index("size_bytes"), "size_bytes", pa.array(share, pa.int64()))


def _sortable(table: pa.Table, config: BuildConfig, pseudonyms: Pseudonymizer) -> pa.Table:
    """The rows with the columns that they are ordered by."""
    names = table["instance_key"].to_pylist()
    seed = str(config.seed)
    hashes = b"".join(pseudonyms.keyed_hash("order", seed, name) for name in names)
    high, low = np.frombuffer(hashes, ">u8").astype(np.uint64).reshape(-1, 2).T
    bins = config.bins.assign_all(table["rows"].to_numpy(), table["columns"].to_numpy())
    columns = {
        "split": pa.array(_splits(table["patient_key"], config, pseudonyms), pa.int8()),
        "bin": pa.array(bins, pa.int64()),
        "high": pa.array(high),
        "low": pa.array(low),
    }
    for name in ("path", "frame", "instance_key", "size_bytes", "rows", "columns"):
        columns[name] = table[name]
    return pa.table(columns)


def _placed_rows(order: PlanOrder, config: BuildConfig, numbers: dict[str, int]) -> Iterator[pa.RecordBatch]:
    """The rows of shards, in the order of split and bin."""
    shards = _Shards(config, numbers)
    for batch in order.placed():
        columns = (batch.column(name).to_pylist() for name in ("split", "bin", "instance_key", "rows", "columns"))
        ids = [
            shards.next(split, place, key, rows * width)
            for split, place, key, rows, width in zip(*columns, strict=True)
        ]
        nothing = pa.nulls(len(batch), pa.string())
        yield _plan_rows(batch, pa.array(ids, pa.string()), nothing, nothing)


def _left_out_rows(order: PlanOrder, config: BuildConfig) -> Iterator[pa.RecordBatch]:
    """The rows of what is too large, in the order of paths."""
    for batch in order.left_out():
        sizes = zip(batch.column("rows").to_pylist(), batch.column("columns").to_pylist(), strict=True)
        details = [too_large(rows, columns, config.bins).detail for rows, columns in sizes]
        reasons = [RejectReason.TOO_LARGE.value] * len(batch)
        ids = pa.nulls(len(batch), pa.string())
        yield _plan_rows(batch, ids, pa.array(reasons, pa.string()), pa.array(details, pa.string()))


def _plan_rows(batch: pa.RecordBatch, shard_ids: pa.Array, reasons: pa.Array, details: pa.Array) -> pa.RecordBatch:
    same = (batch.column(name) for name in ("path", "frame", "instance_key", "size_bytes"))
    return pa.RecordBatch.from_arrays([shard_ids, *same, reasons, details], schema=PLAN_SCHEMA)


def _write_part(path: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    """Write a part of the plan, a few rows at a time; it is there whole or not at all."""
    temp = atomic.temporary_path(path)
    try:
        with atomic.storage_errors(path), CheckedFile(temp, mode=0o600) as file:
            with table_writer(file.write, schema, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.finish()
        atomic.publish(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def _splits(patient_keys: pa.ChunkedArray, config: BuildConfig, pseudonyms: Pseudonymizer) -> NDArray[np.int8]:
    """The position of each image's split in `Split`."""
    patients = patient_keys.combine_chunks().dictionary_encode()
    places = {split: place for place, split in enumerate(Split)}
    of_patient = [
        places[config.splits.split_of(pseudonyms.split_fraction(key))] for key in patients.dictionary.to_pylist()
    ]
    return np.array(of_patient, np.int8)[patients.indices.to_numpy()]


class _Shards:
    """Numbers shards: one closes at its size and least number of images, or the greatest; never inside an instance."""

    __slots__ = ("_config", "_count", "_group", "_most", "_numbers", "_previous", "_shard_id", "_size")

    def __init__(self, config: BuildConfig, numbers: dict[str, int]) -> None:
        self._config, self._numbers = config, numbers
        self._most = max(MOST_SHARD_IMAGES, config.min_shard_images)
        self._group, self._previous, self._shard_id = (-1, -1), "", ""
        self._size, self._count = 0.0, 0

    def next(self, split: int, place: int, instance: str, area: int) -> str:
        """The shard of the next image, `area` pixels large."""
        large = self._size >= self._config.shard_size_bytes and self._count >= self._config.min_shard_images
        full = large or self._count >= self._most
        if (split, place) != self._group or (full and instance != self._previous):
            self._begin(split, place)
        self._size += ENCODED_BYTES_PER_PIXEL * area
        self._count, self._previous = self._count + 1, instance
        return self._shard_id

    def _begin(self, split: int, place: int) -> None:
        name, rectangle = list(Split)[split], self._config.bins.rectangles[place]
        folder = f"{name}/h{rectangle.height}w{rectangle.width}"
        self._numbers[folder] = self._numbers.get(folder, -1) + 1
        self._shard_id = shard_id_for(name, rectangle.height, rectangle.width, self._numbers[folder])
        self._group, self._size, self._count = (split, place), 0.0, 0


def _last_numbers(layout: DatasetLayout) -> dict[str, int]:
    """The last number used in each split and bin, by the shard id without its number."""
    numbers: dict[str, int] = {}
    for name in plan_parts(layout):
        column = read_table(layout.plan_dir / name, ["shard_id"])["shard_id"]
        for shard_id in column.unique().drop_null().to_pylist():
            group, _, number = shard_id.rpartition("/")
            numbers[group] = max(numbers.get(group, -1), int(number))
    return numbers
