"""Which image of finished shards goes to which new shard: the plan of a rebin or merge.

Comes in: the records of one or several datasets, bins, what has been withdrawn. Goes out: `CopyPlan`. Refuses records
that cannot be read. Images that no bin holds, withdrawn ones and second copies are left out and counted.

The order is that of a build: split and bin, then a seeded hash, so that a shard is a random sample of its bin. The hash
is over pseudonyms, which are secret hashes themselves, so that it takes no key and a shared copy can be rebinned.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radio_io.errors import DatasetError, RejectReason
from radio_io.index.records import read_record_columns
from radio_io.layout import DatasetLayout, Split, shard_id_for
from radio_io.privacy.tombstones import Tombstones
from radio_io.sharding.bins import NONE, Bins
from radio_io.sharding.write import END_OF_ARCHIVE, member_size

COLUMNS = (
    "key instance_key patient_key study_key split rows columns frame_number image_size metadata_size shard_id".split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """An image to copy: which of the datasets it lies in, its shard there and its key."""

    source: int
    shard_id: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyUnit:
    """A new shard and the images that it takes, in their order; `size_bytes` is about the size of its tar."""

    shard_id: str
    bin_height: int
    bin_width: int
    pieces: tuple[Piece, ...]
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSizes:
    """When a new shard closes: with so many bytes, but not before it has so many images."""

    size_bytes: int = 1_000_000_000
    min_images: int = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyPlan:
    """The images in their new order (`table`), with the position where each new shard begins; and what is left out."""

    table: pa.Table
    bins: Bins
    places: NDArray[np.int64]
    starts: tuple[int, ...]
    shard_ids: tuple[str, ...]
    sizes: NDArray[np.int64]
    left_out: dict[RejectReason, int]

    @property
    def num_images(self) -> int:
        """Images that are copied."""
        return self.table.num_rows

    def units(self) -> Iterator[CopyUnit]:
        """Every new shard, one after another."""
        for shard_id, start, end in zip(self.shard_ids, self.starts, (*self.starts[1:], self.num_images), strict=True):
            part = self.table.slice(start, end - start)
            rows = zip(*(part[name].to_pylist() for name in ("source", "shard_id", "key")), strict=True)
            rectangle = self.bins.rectangles[int(self.places[start])]
            yield CopyUnit(
                shard_id=shard_id,
                bin_height=rectangle.height,
                bin_width=rectangle.width,
                pieces=tuple(Piece(source=source, shard_id=old, key=key) for source, old, key in rows),
                size_bytes=int(self.sizes[start:end].sum()) + len(END_OF_ARCHIVE),
            )

    def digest(self) -> str:
        """SHA-256 over what goes where, to tell whether an interrupted copy can go on."""
        digest = hashlib.sha256()
        for unit in self.units():
            digest.update(f"{unit.shard_id}\n".encode())
            digest.update("".join(f"{piece.source} {piece.shard_id} {piece.key}\n" for piece in unit.pieces).encode())
        return digest.hexdigest()


def plan_copy(
    sources: Sequence[DatasetLayout], bins: Bins, sizes: ShardSizes, *, seed: int, withdrawn: Tombstones
) -> CopyPlan:
    """The plan; the same datasets and settings always give the same one.

    Raises:
        DatasetError: A record cannot be read.
    """
    whole = pa.concat_tables(_read_columns(layout, number) for number, layout in enumerate(sources))
    present = ~_withdrawn(whole, withdrawn)
    left_out = {RejectReason.WITHDRAWN: int((~present).sum())}
    unique = _first_of_each(whole["key"], present)
    left_out[RejectReason.DUPLICATE] = int((present & ~unique).sum())
    places = bins.assign_all(whole["rows"].to_numpy(), whole["columns"].to_numpy())
    left_out[RejectReason.TOO_LARGE] = int((unique & (places == NONE)).sum())
    chosen = np.flatnonzero(unique & (places != NONE))
    order = chosen[_order(whole.take(pa.array(chosen)), places[chosen], seed)]
    table = whole.take(pa.array(order))
    members = [table[name].to_numpy() for name in ("image_size", "metadata_size")]
    piece_sizes = np.array([member_size(image) + member_size(text) for image, text in zip(*members, strict=True)])
    starts, shard_ids = _cut(table, bins, places[order], piece_sizes, sizes)
    return CopyPlan(
        table=table,
        bins=bins,
        places=places[order],
        starts=starts,
        shard_ids=shard_ids,
        sizes=piece_sizes.astype(np.int64),
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _read_columns(layout: DatasetLayout, source: int) -> pa.Table:
    tables = [read_record_columns(path, COLUMNS) for path in layout.record_paths()]
    if not tables:
        raise DatasetError(f"{layout.root} has no finished shard; build it first with: radio shard build")
    table = pa.concat_tables(tables)
    return table.append_column("source", pa.array(np.full(table.num_rows, source, np.int32)))


def _withdrawn(table: pa.Table, withdrawn: Tombstones) -> NDArray[np.bool_]:
    if not len(withdrawn):
        return np.zeros(table.num_rows, np.bool_)
    pairs = zip(table["patient_key"].to_pylist(), table["study_key"].to_pylist(), strict=True)
    return np.fromiter((withdrawn.covers_keys(*pair) for pair in pairs), np.bool_, table.num_rows)


def _first_of_each(keys: pa.ChunkedArray, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a key occurs among those present for the first time."""
    names: Any = keys.combine_chunks().dictionary_encode()
    codes = names.indices.to_numpy()
    candidates = np.flatnonzero(present)
    _, first = np.unique(codes[candidates], return_index=True)
    chosen = np.zeros(len(codes), np.bool_)
    chosen[candidates[first]] = True
    return chosen


def _order(table: pa.Table, places: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    names: Any = table["instance_key"].combine_chunks().dictionary_encode()
    hashes = [hashlib.sha256(f"order {seed} {name}".encode()).digest()[:8] for name in names.dictionary.to_pylist()]
    instance = np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64)[names.indices.to_numpy()]
    keys = np.array(table["key"].to_pylist(), "S32")
    return np.lexsort((keys, table["frame_number"].to_numpy(), instance, places, _splits(table)))


def _splits(table: pa.Table) -> NDArray[np.int8]:
    position = {split.value: number for number, split in enumerate(Split)}
    return np.fromiter((position[split] for split in table["split"].to_pylist()), np.int8, table.num_rows)


def _cut(
    table: pa.Table, bins: Bins, places: NDArray[np.int64], piece_sizes: NDArray[np.int64], sizes: ShardSizes
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Where new shards begin, and their ids; never inside one instance, so that doubtful copies stay together."""
    splits = table["split"].to_pylist()
    instances = table["instance_key"].to_pylist()
    starts: list[int] = []
    shard_ids: list[str] = []
    group, size, count, number = ("", NONE), 0, 0, 0
    for row, place in enumerate(places.tolist()):
        full = size >= sizes.size_bytes and count >= sizes.min_images
        if (splits[row], place) != group or (full and instances[row] != instances[row - 1]):
            number = 0 if (splits[row], place) != group else number + 1
            group, size, count = (splits[row], place), 0, 0
            starts.append(row)
            rectangle = bins.rectangles[place]
            shard_ids.append(shard_id_for(Split(splits[row]), rectangle.height, rectangle.width, number))
        size += int(piece_sizes[row])
        count += 1
    return tuple(starts), tuple(shard_ids)
