"""Mends one shard: its record, its tar, its DALI index, each from what is left of the others.

Comes in: a shard id, what the index says of it, DICOM files where they are at hand. Goes out: `Mending`: what was made
again and how, and which images are lost. Writes only what is proven: a tar with the SHA-256 of its record, a record of
the tar that lies there. A file that is replaced is first set aside in the private folder.
"""

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from radio_io import atomic
from radio_io.checksum import crc32_of
from radio_io.codecs.registry import get_codec
from radio_io.errors import DatasetError
from radio_io.index.records import PlacedRow, ShardRecord, encode_record, placed_rows
from radio_io.index.row import ImageLocation
from radio_io.layout import DatasetLayout
from radio_io.privacy.tombstones import Tombstones, read_tombstones
from radio_io.sharding.dali_index import Member, encode_index
from radio_io.sharding.remake import ImageSource
from radio_io.sharding.sample import encode_metadata
from radio_io.sharding.shard_facts import IndexedShard, record_of_index, record_of_tar, record_on_disk, tar_sha256
from radio_io.sharding.write import END_OF_ARCHIVE, tar_member


@dataclass(frozen=True, kw_only=True, slots=True)
class Mending:
    """What was done, or would be done, to a shard: a line for each file; and the keys of images that are lost.

    `record_sha256` is that of its record afterwards; none where not even that could be found again.
    """

    shard_id: str
    record_sha256: str | None = None
    actions: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class _LostError(Exception):
    """Some images of a tar can be had from nowhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardMender:
    """Mends shards of one dataset; with `dry_run` it only says what it would do."""

    layout: DatasetLayout
    tombstones: Tombstones
    source: ImageSource | None
    dry_run: bool

    def mend(self, shard_id: str, known: IndexedShard | None) -> Mending:
        """Mend a shard.

        Raises:
            StorageError: The disk refuses.
        """
        found = tar_sha256(self.layout, shard_id)
        on_disk = record_on_disk(self.layout, shard_id)
        indexed = record_of_index(self.layout, shard_id, known)
        if on_disk is not None and known is not None and on_disk.sha256 != known.record_sha256:
            candidates = [indexed, on_disk]
        else:
            candidates = [on_disk, indexed]
        records = [record for record in candidates if record is not None]
        fitting = next((record for record in records if record.metadata.tar_sha256 == found), None)
        if fitting is None:
            fitting = self._of_tar(shard_id, records)
        actions: list[str] = []
        lost: tuple[str, ...] = ()
        record = fitting or next(iter(records), None)
        if record is None:
            return Mending(shard_id=shard_id)
        if fitting is None:
            lost = self._mend_tar(shard_id, record, actions)
        self._mend_record(shard_id, record, on_disk, actions)
        self._mend_idx(shard_id, record, actions)
        return Mending(shard_id=shard_id, record_sha256=record.sha256, actions=tuple(actions), lost=lost)

    def _of_tar(self, shard_id: str, records: list[ShardRecord]) -> ShardRecord | None:
        """The record of a tar that proves itself; None where it has other images than a record says, or withdrawn."""
        walked = record_of_tar(self.layout, shard_id, self.tombstones)
        if walked is None or (records and all(each.table["key"] != walked.table["key"] for each in records)):
            return None
        return walked

    def _mend_record(self, shard_id: str, record: ShardRecord, on_disk: ShardRecord | None, actions: list[str]) -> None:
        if on_disk is not None and on_disk.sha256 == record.sha256:
            return
        actions.append(f"{shard_id}.parquet: made again")
        self._replace(self.layout.record_path(shard_id), encode_record(record.table, record.metadata))

    def _mend_idx(self, shard_id: str, record: ShardRecord, actions: list[str]) -> None:
        path = self.layout.idx_path(shard_id)
        data = index_of(record)
        if path.exists() and path.read_bytes() == data:
            return
        actions.append(f"{shard_id}.idx: made again from the record")
        self._replace(path, data)

    def _replace(self, path: Path, data: bytes) -> None:
        if not self.dry_run:
            set_aside(self.layout, path)
            atomic.make_folder(path.parent)
            atomic.write_file(path, data)

    def _mend_tar(self, shard_id: str, record: ShardRecord, actions: list[str]) -> tuple[str, ...]:
        """Write the tar that the record names; returns the keys of what is lost where that is not possible."""
        placed = list(placed_rows(record.table))
        path = self.layout.tar_path(shard_id)
        bad = [row for row, location in placed if _read(path, location) is None]
        if bad and (self.source is None or self.source.num_files(shard_id, bad) < len(bad)):
            return tuple(row.key for row in bad)
        how = f"{len(bad):,} of {len(placed):,} images from their DICOM files" if bad else "headers from the record"
        if self.dry_run:
            actions.append(f"{shard_id}.tar: would be made again, {how}")
            return ()
        images = self.source.images(shard_id, bad) if self.source is not None and bad else iter(())
        atomic.make_folder(path.parent)
        try:
            with atomic.staged(path) as temp, temp.open("xb") as file:
                _write_tar(file, path, placed, images, record.metadata.tar_sha256)
                file.flush()
                set_aside(self.layout, path)
        except _LostError:
            return tuple(row.key for row in bad)
        actions.append(f"{shard_id}.tar: made again, {how}")
        return ()


def index_of(record: ShardRecord) -> bytes:
    """The DALI index of the tar that a record describes."""
    extension = get_codec(record.metadata.codec).extension
    names = ("key", "image_offset", "image_size", "metadata_offset", "metadata_size")
    rows = zip(*(record.table[name].to_pylist() for name in names), strict=True)
    return encode_index(
        [
            (Member(f"{key}.{extension}", offset, size), Member(f"{key}.json", text_offset, text_size))
            for key, offset, size, text_offset, text_size in rows
        ]
    )


def require_no_withdrawal(layout: DatasetLayout) -> None:
    """Refuse to mend what a withdrawal is just changing.

    Raises:
        DatasetError: One has begun and has not ended.
    """
    if read_tombstones(layout).pending is not None:
        raise DatasetError(
            "a withdrawal is not complete; complete it with radio forget, then run the same command again"
        )


def set_aside(layout: DatasetLayout, path: Path) -> None:
    """Keep a file that is about to be replaced: `quarantine/` in the private folder has it under its own name.

    Raises:
        StorageError: It cannot be kept.
    """
    if not path.exists():
        return
    folder = layout.quarantine / path.parent.relative_to(layout.root)
    for each in reversed([folder, *folder.parents]):
        if each == layout.private or layout.private in each.parents:
            atomic.make_folder(each, mode=0o700)
    names = (folder / f"{path.name}.{number}" for number in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    with atomic.storage_errors(kept):
        try:
            os.link(path, kept)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, kept)
        atomic.sync_folder(folder)


def _read(path: Path, location: ImageLocation) -> bytes | None:
    """The image where it should lie; None where it is not what the record says."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(location.image_offset)
        image = file.read(location.image_size)
        if len(image) == location.image_size and crc32_of(image) == location.image_crc32:
            return image
    return None


def _write_tar(
    file: BinaryIO, old: Path, placed: list[PlacedRow], images: Iterator[tuple[str, bytes]], sha256: str
) -> None:
    """Write all members, good images from the old tar, to a file that must have this SHA-256.

    Raises:
        _LostError: An image that is not good does not come among `images` as it was, or the whole differs.
    """
    digest = hashlib.sha256()
    stash: dict[str, bytes] = {}
    for row, location in placed:
        image = _read(old, location)
        while image is None and row.key not in stash:
            key, encoded = next(images, ("", b""))
            if not key:
                raise _LostError
            stash[key] = encoded
        image = stash.pop(row.key) if image is None else image
        if crc32_of(image) != location.image_crc32:
            raise _LostError
        extension = get_codec(row.codec).extension
        data = tar_member(f"{row.key}.{extension}", image) + tar_member(f"{row.key}.json", encode_metadata(row))
        file.write(data)
        digest.update(data)
    file.write(END_OF_ARCHIVE)
    digest.update(END_OF_ARCHIVE)
    if digest.hexdigest() != sha256:
        raise _LostError
