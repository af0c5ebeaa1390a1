"""What can still be known of a damaged shard, and how sure that is.

Comes in: a shard id. Goes out: `ShardRecord`s made from the record on disk, from the rows of the index, or from the tar
alone. Refuses (None) whatever contradicts itself: a record from the index must have the SHA-256 that the index gives
for it, a tar must be, byte for byte, what its own JSON members describe, every image with the pixels they name.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from radio_io.checksum import crc32_of
from radio_io.codecs.registry import get_codec
from radio_io.errors import DatasetError, RadioError
from radio_io.index.catalog import read_index
from radio_io.index.records import (
    PlacedRow,
    ShardRecord,
    encode_record,
    image_row,
    read_record,
    record_schema,
    record_table,
)
from radio_io.index.row import ImageLocation
from radio_io.layout import DatasetLayout
from radio_io.privacy.tombstones import Tombstones
from radio_io.sharding.sample import encode_metadata, pixel_hash
from radio_io.sharding.write import BLOCK, END_OF_ARCHIVE, member_size, shard_metadata, tar_member


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexedShard:
    """What the index says of a shard."""

    codec: str
    num_images: int
    size_bytes: int
    tar_sha256: str
    record_sha256: str


def indexed_shards(layout: DatasetLayout) -> dict[str, IndexedShard]:
    """The shards that the index knows; none where it cannot be read."""
    names = ("codec", "num_images", "size_bytes", "sha256", "record_sha256")
    try:
        rows = read_index(layout.root, f"SELECT shard_id, {', '.join(names)} FROM shards")  # noqa: S608
    except DatasetError:
        return {}
    return {
        str(shard_id): IndexedShard(
            codec=codec, num_images=images, size_bytes=size, tar_sha256=sha256, record_sha256=record
        )
        for shard_id, codec, images, size, sha256, record in rows
    }


def record_on_disk(layout: DatasetLayout, shard_id: str) -> ShardRecord | None:
    """The record, where it can be read and is that of this shard."""
    try:
        record = read_record(layout.record_path(shard_id))
    except DatasetError:
        return None
    return record if record.metadata.shard_id == shard_id else None


def record_of_index(layout: DatasetLayout, shard_id: str, known: IndexedShard | None) -> ShardRecord | None:
    """The record made from the rows of the index; it has the bytes that it always had."""
    if known is None:
        return None
    schema = record_schema()
    columns = ", ".join(f'"{name}"' for name in schema.names)
    sql = f"SELECT {columns} FROM images WHERE shard_id = ? ORDER BY image_offset"  # noqa: S608
    try:
        rows = read_index(layout.root, sql, [shard_id])
    except DatasetError:
        return None
    if len(rows) != known.num_images:
        return None
    arrays = [pa.array(values, type=field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=schema)
    metadata = shard_metadata(shard_id, known.codec, known.num_images, known.size_bytes, known.tar_sha256)
    sha256 = hashlib.sha256(encode_record(table, metadata)).hexdigest()
    return ShardRecord(table=table, metadata=metadata, sha256=sha256) if sha256 == known.record_sha256 else None


def record_of_tar(layout: DatasetLayout, shard_id: str, withdrawn: Tombstones) -> ShardRecord | None:
    """The record made from the tar alone; None where any byte is not as it must be, or images have been withdrawn."""
    try:
        with layout.tar_path(shard_id).open("rb") as file:
            placed, size_bytes, sha256 = _walk(file, shard_id)
    except (RadioError, OSError, ValueError, KeyError, TypeError):
        return None
    if any(withdrawn.covers(row) for row, _ in placed):
        return None
    metadata = shard_metadata(shard_id, placed[0][0].codec, len(placed), size_bytes, sha256)
    table = record_table(placed)
    data = encode_record(table, metadata)
    return ShardRecord(table=table, metadata=metadata, sha256=hashlib.sha256(data).hexdigest())


def _walk(file: BinaryIO, shard_id: str) -> tuple[list[PlacedRow], int, str]:
    """Every image of a tar, the size of the tar and its SHA-256; one image is in memory at a time."""
    placed: list[PlacedRow] = []
    digest = hashlib.sha256()
    while (header := file.read(BLOCK)) and any(header):
        start = file.tell() - BLOCK
        image = _content(file, header, digest.update)
        text_header = file.read(BLOCK)
        text = _content(file, text_header, digest.update)
        row = image_row(json.loads(text))
        _require(encode_metadata(row) == text)
        _require(_name(header) == f"{row.key}.{get_codec(row.codec).extension}")
        _require(_name(text_header) == f"{row.key}.json")
        _require(shard_id.startswith(f"{row.split}/h{row.bin_height}w{row.bin_width}/"))
        pixels = get_codec(row.codec).decode(image)
        _require(pixels.shape == (row.rows, row.columns) and pixel_hash(pixels) == row.pixel_hash)
        location = ImageLocation(
            shard_id=shard_id,
            image_offset=start + BLOCK,
            image_size=len(image),
            image_crc32=crc32_of(image),
            metadata_offset=start + member_size(len(image)) + BLOCK,
            metadata_size=len(text),
        )
        placed.append((row, location))
    _require(header + file.read() == END_OF_ARCHIVE and bool(placed))
    _require(len({row.key for row, _ in placed}) == len(placed) and len({row.codec for row, _ in placed}) == 1)
    digest.update(END_OF_ARCHIVE)
    return placed, file.tell(), digest.hexdigest()


def _content(file: BinaryIO, header: bytes, update: Callable[[bytes], None]) -> bytes:
    """The content of a member, whose header and padding must be those that a shard is written with."""
    size = int(header[124:135], 8)
    padded = file.read(member_size(size) - BLOCK)
    content = padded[:size]
    _require(header + padded == tar_member(_name(header), content))
    update(header + padded)
    return content


def _name(header: bytes) -> str:
    return header[:100].rstrip(b"\0").decode("ascii")


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def tar_sha256(layout: DatasetLayout, shard_id: str) -> str | None:
    """The SHA-256 of the tar; None where there is none that can be read."""
    with contextlib.suppress(OSError), layout.tar_path(shard_id).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None
