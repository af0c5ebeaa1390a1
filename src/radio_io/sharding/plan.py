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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.errors import RejectReason
from radio_io.layout import DatasetLayout, Split, shard_id_for
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.sharding.sample import too_large
from radio_io.sharding.scan_table import read_parts, scan_parts

# Encoded bytes of a pixel: 16 bits at the ratio of about 3 that htj2k reaches on radiographs.
ENCODED_BYTES_PER_PIXEL = 2 / 3
ROWS_AT_ONCE = 16_384
MOST_SHARD_IMAGES = 10_000
"""A shard closes here at the latest: its rows are in memory while it is built."""
_KEY = "S32"
_compute: Any = pyarrow.compute  # its functions are made at import: no types
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
    atomic.remove_leftovers(layout.plan_dir)
    covered = _covered_parts(layout)
    new = [name for name in scan_parts(layout) if name not in covered]
    if not new:
        return
    candidates = _candidates(layout, new)
    table = _place(candidates, config, pseudonyms, _last_numbers(layout))
    metadata = {b"radio": json.dumps({"format_version": 1, "scan_parts": new}).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    name = f"part-{len(plan_parts(layout)):03}.parquet"
    atomic.write_file(layout.plan_dir / name, sink.getvalue().to_pybytes(), mode=0o600)


def plan_parts(layout: DatasetLayout) -> list[str]:
    """The names of the frozen parts, in their order."""
    return sorted(path.name for path in layout.plan_dir.glob("part-*.parquet"))


def planned_shards(layout: DatasetLayout) -> Iterator[ShardPlan]:
    """Every planned shard, finished or not, in the order of the plan; one of them is in memory at a time."""
    columns = ["shard_id", "path", "frame", "instance_key", "size_bytes"]
    shard_id: str | None = None
    files: list[PlannedFile] = []
    for name in plan_parts(layout):
        for batch in pq.ParquetFile(layout.plan_dir / name).iter_batches(ROWS_AT_ONCE, columns=columns):
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
    seen = np.empty(0, _KEY)
    repeated: set[str] = set()
    for name in plan_parts(layout):
        whole = pq.read_table(layout.plan_dir / name, columns=["shard_id", "instance_key"])
        placed = whole.filter(whole["shard_id"].is_valid())
        shards = placed.group_by("instance_key").aggregate([("shard_id", "count_distinct")])
        repeated.update(
            shards.filter(_compute.greater(shards["shard_id_count_distinct"], 1))["instance_key"].to_pylist()
        )
        keys = np.sort(shards["instance_key"].to_numpy().astype(_KEY))
        repeated.update(key.decode() for key in np.intersect1d(seen, keys, assume_unique=True))
        seen = np.union1d(seen, keys)
    return frozenset(repeated)


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


def _candidates(layout: DatasetLayout, parts: list[str]) -> pa.Table:
    """The images of new parts of the scan, a row a frame."""
    columns = ["path", "size_bytes", "reason", "instance_key", "patient_key", "rows", "columns", "frames"]
    tables = [table.filter(table["reason"].is_null()) for table in read_parts(layout, parts, columns)]
    return _one_row_a_frame(pa.concat_tables(tables))


def _one_row_a_frame(table: pa.Table) -> pa.Table:
    """Repeats the rows of files that give several images; `frame` counts them, `size_bytes` is shared out."""
    frames = table["frames"].to_numpy()
    files = np.repeat(np.arange(len(frames)), frames)
    first = np.repeat(np.cumsum(frames) - frames, frames)
    share = (table["size_bytes"].to_numpy() // frames)[files]
    repeated = table.take(pa.array(files)).append_column("frame", pa.array(np.arange(len(files)) - first, pa.int32()))
    return repeated.set_column(repeated.schema.get_field_index("size_bytes"), "size_bytes", pa.array(share, pa.int64()))


def _place(table: pa.Table, config: BuildConfig, pseudonyms: Pseudonymizer, numbers: dict[str, int]) -> pa.Table:
    """The rows of a part: shards in the order of split and bin, then what is too large in the order of paths."""
    rows, columns = table["rows"].to_numpy(), table["columns"].to_numpy()
    bins = config.bins.assign_all(rows, columns)
    splits = _splits(table["patient_key"], config, pseudonyms)
    instances = table["instance_key"].combine_chunks().dictionary_encode()
    names, codes = instances.dictionary.to_pylist(), instances.indices.to_numpy()
    seed = str(config.seed)
    hashes = b"".join(pseudonyms.keyed_hash("order", seed, name) for name in names)
    high, low = np.frombuffer(hashes, ">u8").astype(np.uint64).reshape(-1, 2).T
    by_path = np.empty(len(bins), np.int64)
    by_path[_compute.sort_indices(table["path"]).to_numpy()] = np.arange(len(bins))
    order = np.lexsort((table["frame"].to_numpy(), by_path, low[codes], high[codes], bins, splits))
    placed, left_out = order[bins[order] >= 0], np.flatnonzero(bins < 0)
    left_out = left_out[np.argsort(by_path[left_out], kind="stable")]
    pixels = rows.astype(np.int64) * columns
    shard_ids = list(_shard_ids(splits[placed], bins[placed], codes[placed], pixels[placed], config, numbers))
    details = [too_large(int(rows[i]), int(columns[i]), config.bins).detail for i in left_out]
    chosen = table.take(pa.array(np.concatenate([placed, left_out])))
    nothing, rejected = [None] * len(placed), [RejectReason.TOO_LARGE.value] * len(left_out)
    return pa.table(
        {
            "shard_id": pa.array([*shard_ids, *([None] * len(left_out))], pa.string()),
            "path": chosen["path"],
            "frame": chosen["frame"],
            "instance_key": chosen["instance_key"],
            "size_bytes": chosen["size_bytes"],
            "reason": pa.array([*nothing, *rejected], pa.string()),
            "detail": pa.array([*nothing, *details], pa.string()),
        },
        schema=PLAN_SCHEMA,
    )


def _splits(patient_keys: pa.ChunkedArray, config: BuildConfig, pseudonyms: Pseudonymizer) -> NDArray[np.int8]:
    """The position of each image's split in `Split`."""
    patients = patient_keys.combine_chunks().dictionary_encode()
    places = {split: place for place, split in enumerate(Split)}
    of_patient = [
        places[config.splits.split_of(pseudonyms.split_fraction(key))] for key in patients.dictionary.to_pylist()
    ]
    return np.array(of_patient, np.int8)[patients.indices.to_numpy()]


def _shard_ids(
    splits: NDArray[np.int8],
    bins: NDArray[np.int64],
    instances: NDArray[np.int32],
    pixels: NDArray[np.int64],
    config: BuildConfig,
    numbers: dict[str, int],
) -> Iterator[str]:
    """A shard closes when it has its size and its least number of images, or the greatest; never inside an instance."""
    names = list(Split)
    group, size, count, previous, shard_id = (-1, -1), 0.0, 0, -1, ""
    for split, place, instance, area in zip(
        splits.tolist(), bins.tolist(), instances.tolist(), pixels.tolist(), strict=True
    ):
        large = size >= config.shard_size_bytes and count >= config.min_shard_images
        full = large or count >= max(MOST_SHARD_IMAGES, config.min_shard_images)
        if (split, place) != group or (full and instance != previous):
            rectangle = config.bins.rectangles[place]
            folder = f"{names[split]}/h{rectangle.height}w{rectangle.width}"
            numbers[folder] = numbers.get(folder, -1) + 1
            shard_id = shard_id_for(names[split], rectangle.height, rectangle.width, numbers[folder])
            group, size, count = (split, place), 0.0, 0
        yield shard_id
        size += ENCODED_BYTES_PER_PIXEL * area
        count, previous = count + 1, instance


def _last_numbers(layout: DatasetLayout) -> dict[str, int]:
    """The last number used in each split and bin, by the shard id without its number."""
    numbers: dict[str, int] = {}
    for name in plan_parts(layout):
        column = pq.read_table(layout.plan_dir / name, columns=["shard_id"])["shard_id"]
        for shard_id in column.unique().drop_null().to_pylist():
            group, _, number = shard_id.rpartition("/")
            numbers[group] = max(numbers.get(group, -1), int(number))
    return numbers
