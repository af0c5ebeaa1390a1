"""Writes one shard: tar, DALI index, record, in this order, each whole or not at all.

Comes in: samples in their order. Goes out: the three files. Refuses what the disk refuses (`StorageError`); a shard
without its record does not exist. The bytes depend on the samples alone: no clock, no owner, no host.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from radio_io import atomic
from radio_io.checked_file import CheckedFile
from radio_io.checksum import crc32_of
from radio_io.codecs.registry import get_codec
from radio_io.index.records import PlacedRow, ShardMetadata, record_table, write_record
from radio_io.index.row import ImageLocation
from radio_io.layout import SHARD_ID, DatasetLayout, check_shard_id
from radio_io.sharding.dali_index import Member, encode_index
from radio_io.sharding.sample import Sample

BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)
MAX_MEMBER_BYTES = 8 << 30  # what 11 octal digits of a USTAR header can say


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenShard:
    """What was written: images, bytes of the tar and of the encoded images in it."""

    num_images: int
    size_bytes: int
    encoded_bytes: int
    pixel_bytes: int


def write_shard(layout: DatasetLayout, shard_id: str, codec: str, samples: Iterable[Sample]) -> WrittenShard | None:
    """Write a shard; None where there was no sample, and no file then.

    Raises:
        StorageError: The disk refuses.
    """
    extension = get_codec(codec).extension
    tar_path = layout.tar_path(shard_id)
    atomic.make_folder(tar_path.parent)
    digest, position = hashlib.sha256(), 0
    placed: list[PlacedRow] = []
    members: list[tuple[Member, ...]] = []
    temp = atomic.temporary_path(tar_path)
    try:
        with atomic.storage_errors(tar_path), CheckedFile(temp) as file:
            for sample in samples:
                pieces, location, pair = encode_sample(sample, extension, shard_id, position)
                for piece in pieces:
                    file.write(piece)
                    digest.update(piece)
                    position += len(piece)
                placed.append((sample.row, location))
                members.append(pair)
            if placed:
                file.write(END_OF_ARCHIVE)
                file.finish()
        if not placed:
            temp.unlink()
            return None
        digest.update(END_OF_ARCHIVE)
        atomic.publish(temp, tar_path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    atomic.write_file(layout.idx_path(shard_id), encode_index(members))
    metadata = shard_metadata(shard_id, codec, len(placed), position + len(END_OF_ARCHIVE), digest.hexdigest())
    write_record(layout.record_path(shard_id), record_table(placed), metadata)
    return WrittenShard(
        num_images=len(placed),
        size_bytes=metadata.size_bytes,
        encoded_bytes=sum(location.image_size for _, location in placed),
        pixel_bytes=sum(2 * row.rows * row.columns for row, _ in placed),
    )


def shard_metadata(shard_id: str, codec: str, num_images: int, size_bytes: int, sha256: str) -> ShardMetadata:
    """What a record says about its tar."""
    check_shard_id(shard_id)
    parts = SHARD_ID.fullmatch(shard_id)
    assert parts is not None
    return ShardMetadata(
        shard_id=shard_id,
        split=parts[1],
        bin_height=int(parts[2]),
        bin_width=int(parts[3]),
        codec=codec,
        num_images=num_images,
        size_bytes=size_bytes,
        tar_sha256=sha256,
    )


def encode_sample(
    sample: Sample, extension: str, shard_id: str, position: int
) -> tuple[tuple[bytes, ...], ImageLocation, tuple[Member, Member]]:
    """The bytes of a sample's two members at `position` of a tar, in pieces, and where its content lies."""
    metadata = sample.metadata()
    image_name, metadata_name = f"{sample.key}.{extension}", f"{sample.key}.json"
    location = ImageLocation(
        shard_id=shard_id,
        image_offset=position + BLOCK,
        image_size=len(sample.encoded),
        image_crc32=crc32_of(sample.encoded),
        metadata_offset=position + member_size(len(sample.encoded)) + BLOCK,
        metadata_size=len(metadata),
    )
    pair = (
        Member(image_name, location.image_offset, location.image_size),
        Member(metadata_name, location.metadata_offset, location.metadata_size),
    )
    # The image is megabytes: it is handed on as it is, not copied together with what surrounds it.
    padding = bytes(-len(sample.encoded) % BLOCK)
    pieces = (member_header(image_name, len(sample.encoded)), sample.encoded, padding)
    return (*pieces, tar_member(metadata_name, metadata)), location, pair


def member_size(content_size: int) -> int:
    """Bytes of a member in a tar: header, content, padding."""
    return BLOCK + content_size + -content_size % BLOCK


def tar_member(name: str, content: bytes) -> bytes:
    """A USTAR member: header, content, padding to 512 bytes."""
    return b"".join((member_header(name, len(content)), content, bytes(-len(content) % BLOCK)))


def member_header(name: str, content_size: int) -> bytes:
    """The header of a USTAR member: mode 0644, time and owner 0.

    Source: POSIX.1-2017, pax, ustar Interchange Format.
    """
    assert len(name) <= 100
    assert content_size < MAX_MEMBER_BYTES
    header = bytearray(BLOCK)
    header[0 : len(name)] = name.encode("ascii")
    header[100:156] = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % content_size + b"00000000000\0" + b" " * 8
    header[156:157] = b"0"
    header[257:265] = b"ustar\x0000"
    header[329:345] = b"0000000\0" * 2
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)
