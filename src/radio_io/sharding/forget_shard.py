"""Rewrites one shard without the images that were withdrawn.

Comes in: a shard id and tombstones. Goes out: the shard's tar, DALI index and record without these images, the others
byte for byte as they were, and the list of rejects with a row WITHDRAWN for each. Refuses a damaged shard.

Each file is replaced whole, in the order tar, DALI index, record: as long as the old record stands, it tells where the
images lie in the old tar and where in the new one, so that every step can be repeated after a crash. A shard of which
nothing is left loses its tar first and its record last.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from radio_io import atomic
from radio_io.checked_file import CheckedFile
from radio_io.checked_table import read_table
from radio_io.checksum import crc32_of
from radio_io.codecs.registry import get_codec
from radio_io.errors import DatasetError, RejectReason
from radio_io.index.records import ShardRecord, read_record, read_record_columns, write_record
from radio_io.layout import DatasetLayout
from radio_io.privacy.tombstones import Tombstones
from radio_io.sharding.dali_index import Member, encode_index
from radio_io.sharding.plan import planned_shards
from radio_io.sharding.shard_unit import FileReject, write_rejects
from radio_io.sharding.write import BLOCK, END_OF_ARCHIVE, member_size, shard_metadata

DETAIL = "withdrawn on request"


@dataclass(frozen=True, slots=True)
class _Piece:
    """The two members of an image: where they begin in the old tar and in the new one, and their bytes together."""

    key: str
    image_size: int
    image_crc32: int
    metadata_size: int
    old_start: int
    new_start: int

    @property
    def size_bytes(self) -> int:
        return member_size(self.image_size) + member_size(self.metadata_size)

    @property
    def image_offset(self) -> int:
        return self.new_start + BLOCK

    @property
    def metadata_offset(self) -> int:
        return self.new_start + member_size(self.image_size) + BLOCK


def forget_in_shard(layout: DatasetLayout, shard_id: str, tombstones: Tombstones) -> None:
    """Take the withdrawn images out of a shard; done again after a crash it completes.

    Raises:
        DatasetError: The shard is damaged: restore it first.
        StorageError: The disk refuses.
    """
    if layout.record_path(shard_id).exists():
        record = read_record(layout.record_path(shard_id))
        kept = kept_rows(record, tombstones)
        if not len(kept):
            _remove(layout, shard_id)
        elif len(kept) < record.table.num_rows:
            _rewrite(layout, shard_id, record, kept)
    _list_withdrawn(layout, shard_id)


def kept_rows(record: ShardRecord, tombstones: Tombstones) -> list[int]:
    """The rows of a record that stay."""
    patients = record.table["patient_key"].to_pylist()
    studies = record.table["study_key"].to_pylist()
    pairs = enumerate(zip(patients, studies, strict=True))
    return [row for row, (patient, study) in pairs if not tombstones.covers_keys(patient, study)]


def _remove(layout: DatasetLayout, shard_id: str) -> None:
    for path in (layout.tar_path(shard_id), layout.idx_path(shard_id), layout.record_path(shard_id)):
        with atomic.storage_errors(path):
            path.unlink(missing_ok=True)
            atomic.sync_folder(path.parent)


def _rewrite(layout: DatasetLayout, shard_id: str, record: ShardRecord, kept: list[int]) -> None:
    pieces = _pieces(record, kept)
    size_bytes = pieces[-1].new_start + pieces[-1].size_bytes + len(END_OF_ARCHIVE)
    tar_path = layout.tar_path(shard_id)
    found = tar_path.stat().st_size if tar_path.exists() else -1
    if found == record.metadata.size_bytes:
        digest = _copy(layout, shard_id, pieces)
    elif found == size_bytes:  # a call that died after it had replaced the tar
        digest = _check_copied(layout, shard_id, pieces)
    else:
        raise _damaged(shard_id)
    extension = get_codec(record.metadata.codec).extension
    members = [
        (
            Member(f"{piece.key}.{extension}", piece.image_offset, piece.image_size),
            Member(f"{piece.key}.json", piece.metadata_offset, piece.metadata_size),
        )
        for piece in pieces
    ]
    atomic.write_file(layout.idx_path(shard_id), encode_index(members))
    metadata = shard_metadata(shard_id, record.metadata.codec, len(pieces), size_bytes, digest)
    write_record(layout.record_path(shard_id), _moved(record.table.take(pa.array(kept)), pieces), metadata)


def _pieces(record: ShardRecord, kept: list[int]) -> list[_Piece]:
    """The pieces of the kept rows, in the order of the tar, which is that of the rows."""
    names = ("key", "image_offset", "image_size", "image_crc32", "metadata_size")
    columns: dict[str, list[Any]] = record.table.select(list(names)).take(pa.array(kept)).to_pydict()
    pieces: list[_Piece] = []
    position = 0
    for key, offset, size, crc32, metadata_size in zip(*(columns[name] for name in names), strict=True):
        pieces.append(_Piece(key, size, crc32, metadata_size, offset - BLOCK, position))
        position += pieces[-1].size_bytes
    return pieces


def _copy(layout: DatasetLayout, shard_id: str, pieces: list[_Piece]) -> str:
    """Replace the tar by one with these pieces only; returns its SHA-256. One image is in memory at a time."""
    tar_path = layout.tar_path(shard_id)
    digest = hashlib.sha256()
    temp = atomic.temporary_path(tar_path)
    try:
        with tar_path.open("rb") as source, atomic.storage_errors(tar_path), CheckedFile(temp) as file:
            for piece in pieces:
                data = _read_piece(source, piece, piece.old_start, shard_id)
                file.write(data)
                digest.update(data)
            file.write(END_OF_ARCHIVE)
            file.finish()
        digest.update(END_OF_ARCHIVE)
        atomic.publish(temp, tar_path)
    finally:
        temp.unlink(missing_ok=True)
    return digest.hexdigest()


def _check_copied(layout: DatasetLayout, shard_id: str, pieces: list[_Piece]) -> str:
    digest = hashlib.sha256()
    with layout.tar_path(shard_id).open("rb") as file:
        for piece in pieces:
            digest.update(_read_piece(file, piece, piece.new_start, shard_id))
        end = file.read()
    if end != END_OF_ARCHIVE:
        raise _damaged(shard_id)
    digest.update(end)
    return digest.hexdigest()


def _read_piece(file: BinaryIO, piece: _Piece, start: int, shard_id: str) -> bytes:
    file.seek(start)
    data = file.read(piece.size_bytes)
    image = data[BLOCK : BLOCK + piece.image_size]
    if crc32_of(image) != piece.image_crc32 or not data.startswith(piece.key.encode()):
        raise _damaged(shard_id)
    return data


def _moved(table: pa.Table, pieces: list[_Piece]) -> pa.Table:
    """The rows with their new places."""
    for name in ("image_offset", "metadata_offset"):
        index = table.schema.get_field_index(name)
        values = np.array([getattr(piece, name) for piece in pieces], np.int64)
        table = table.set_column(index, table.schema.field(index), pa.array(values))
    return table


def _list_withdrawn(layout: DatasetLayout, shard_id: str) -> None:
    """Give each planned file of the shard that is neither image nor reject any more a row WITHDRAWN."""
    path = layout.shard_rejects_path(shard_id)
    if not path.exists():
        return  # a shard that a build has not finished yet: the build rejects these files itself
    plan = next((plan for plan in planned_shards(layout) if plan.shard_id == shard_id), None)
    record_path = layout.record_path(shard_id)
    table = read_record_columns(record_path, ["instance_key"]) if record_path.exists() else None
    images = Counter(table["instance_key"].to_pylist() if table is not None else [])
    num_images = sum(images.values())
    listed = read_table(path)
    rows = [
        FileReject(path=os.fsdecode(row["path"]), reason=RejectReason(row["reason"]), detail=row["detail"])
        for row in listed.to_pylist()
    ]
    rejected = Counter(row.path for row in rows)
    for file in plan.files if plan is not None else ():
        if rejected[file.path]:
            rejected[file.path] -= 1
        elif images[file.instance_key]:
            images[file.instance_key] -= 1
        else:
            rows.append(FileReject(path=file.path, reason=RejectReason.WITHDRAWN, detail=DETAIL))
    write_rejects(layout, shard_id, rows, num_images=num_images)


def _damaged(shard_id: str) -> DatasetError:
    return DatasetError(
        f"the shard {shard_id} is not what its record says, so nothing can be taken out of it safely; restore it from "
        "a copy or build it again, then run the same command"
    )
