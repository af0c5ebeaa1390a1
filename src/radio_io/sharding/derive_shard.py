"""Copies images of finished shards into a new one, as they are encoded: the unit of work of a rebin or merge.

Comes in: a `CopyUnit`. Goes out: a shard. Refuses a source that is not, byte for byte, what its record says. One image
is in memory at a time, beside the rows of the new shard.
"""

import dataclasses
import errno
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from radio_io.checksum import crc32_of
from radio_io.codecs.registry import get_codec
from radio_io.errors import DatasetError, StorageError
from radio_io.index.records import PlacedRow, placed_rows, read_record
from radio_io.index.row import ImageLocation, ImageRow
from radio_io.layout import DatasetLayout
from radio_io.remote_dataset import move_to_store, place_of
from radio_io.sharding.derive_plan import CopyUnit, Piece
from radio_io.sharding.sample import Sample, encode_metadata
from radio_io.sharding.tar_source import read_tar
from radio_io.sharding.write import BLOCK, WrittenShard, member_size, tar_member, write_shard


def copy_shard(root: str, sources: tuple[str, ...], codec: str, unit: CopyUnit) -> WrittenShard:
    """Make one new shard: a unit of work.

    Raises:
        DatasetError: A source is damaged; the message names the shard and the image.
        StorageError: The disk or the store refuses.
    """
    layout = DatasetLayout(Path(root))
    written = write_shard(layout, unit.shard_id, codec, _copied(sources, unit))
    assert written is not None, "a plan has no empty shard"
    move_to_store(layout, unit.shard_id)
    return written


def _copied(sources: tuple[str, ...], unit: CopyUnit) -> Iterator[Sample]:
    layouts = [DatasetLayout(Path(source)) for source in sources]
    rows = _rows(layouts, unit)
    for piece in unit.pieces:
        row, location = rows.pop(piece)
        encoded = read_image(layouts[piece.source], row, location)
        yield Sample(
            row=dataclasses.replace(row, bin_height=unit.bin_height, bin_width=unit.bin_width), encoded=encoded
        )


def _rows(layouts: list[DatasetLayout], unit: CopyUnit) -> dict[Piece, PlacedRow]:
    """The rows of the images of a unit; each record is read once."""
    wanted: dict[tuple[int, str], set[str]] = {}
    for piece in unit.pieces:
        wanted.setdefault((piece.source, piece.shard_id), set()).add(piece.key)
    rows: dict[Piece, PlacedRow] = {}
    for (source, shard_id), keys in sorted(wanted.items()):
        table = read_record(layouts[source].record_path(shard_id)).table
        positions = [position for position, key in enumerate(table["key"].to_pylist()) if key in keys]
        for placed in placed_rows(table.take(pa.array(positions))):
            rows[Piece(source=source, shard_id=shard_id, key=placed[0].key)] = placed
    return rows


def read_image(layout: DatasetLayout, row: ImageRow, location: ImageLocation) -> bytes:
    """The encoded image; every byte of its two members, headers and padding too, is compared with the record.

    Raises:
        DatasetError: The tar is missing, shorter or different.
    """
    text = encode_metadata(row)
    size = member_size(location.image_size) + member_size(len(text))
    place = place_of(layout.root)
    try:
        data = read_tar(layout, location.shard_id, location.image_offset - BLOCK, size)
    except OSError as error:
        tar = f"{location.shard_id}.tar of {place}"
        if error.errno == errno.EREMOTEIO:
            raise StorageError(f"cannot read {tar} ({error.strerror}); run the same command again to go on") from None
        raise DatasetError(f"cannot read {tar} ({error.strerror}); run: radio shard verify --repair") from error
    image = data[BLOCK : BLOCK + location.image_size]
    names = (f"{row.key}.{get_codec(row.codec).extension}", f"{row.key}.json")
    whole = crc32_of(image) == location.image_crc32 and len(image) == location.image_size
    if not whole or data != tar_member(names[0], image) + tar_member(names[1], text):
        raise DatasetError(
            f"the image {row.key} in the shard {location.shard_id} of {place} is not what its record says; "
            "run: radio shard verify --repair --dataset with that place, then run the same command again to go on"
        )
    return image
