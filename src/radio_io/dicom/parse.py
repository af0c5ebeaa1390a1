"""Reads a file into a pydicom dataset, whatever its first bytes claim.

Comes in: a path or the bytes of a file. Goes out: `ParsedFile`. Refuses what is not DICOM, what has no encoding that
can be told, a deflated dataset that grows without bound, and every failure of the file system.
"""

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import UID

from radio_io.dicom import quiet as quiet  # silences pydicom's log, which quotes values
from radio_io.dicom.elements import (
    EXPLICIT_LITTLE,
    PIXEL_DATA,
    UNDEFINED,
    DamageError,
    Encoding,
    PixelElement,
    Scan,
    end_of_items,
    read_head,
    scan,
)
from radio_io.dicom.encoding import Syntax, SyntaxSource, settle_syntax, usable_uid
from radio_io.dicom.signatures import (
    SEARCHED_BYTES,
    archive_in_disguise,
    find_displaced_start,
    foreign_format,
)
from radio_io.dicom.source import WINDOW_BYTES, ByteSource
from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.privacy.attributes import ALLOWED_TAGS
from radio_io.sources.content import MAX_FILE_BYTES as MAX_FILE_BYTES  # the limit of `read_file`
from radio_io.sources.content import Content
from radio_io.sources.inflate import GZIP_MAGIC, GzipContent, gunzip
from radio_io.sources.opening import open_content

MAX_INFLATED_BYTES: Final = 256 << 20
MAX_INFLATED_HEADER_BYTES: Final = 16 << 20
# Only UIDs are read of it; its private information may be of any size.
MAX_META_VALUE_BYTES: Final = 128

_TRANSFER_SYNTAX: Final = 0x00020010
_MEDIA_STORAGE_SOP_CLASS: Final = 0x00020002
_SOP_INSTANCE_UID: Final = BaseTag(0x00080018)
_WANTED: Final = {tag: BaseTag(tag) for tag in ALLOWED_TAGS}


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedFile:
    """A file as a dataset of raw elements, which pydicom converts at access.

    `dataset` holds allow-listed attributes only after `read_before_pixels`, everything after `read_file`; then its
    `file_meta` names the transfer syntax, so that pydicom can decode the pixels too, and PixelData is a memoryview.
    `damage` says where the dataset breaks off before its pixel data; `has_float_pixels` that it has floating-point
    instead of integer pixels. `content_digest` (SHA-256 of the file) is there where SOPInstanceUID is empty.
    """

    dataset: Dataset
    transfer_syntax_uid: str
    transfer_syntax_source: SyntaxSource = SyntaxSource.META
    media_storage_sop_class_uid: str | None = None
    has_pixel_data: bool = True
    has_float_pixels: bool = False
    content_digest: str | None = None
    damage: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Labels:
    """What the file meta information says, and where the dataset begins."""

    position: int
    marked: bool
    transfer_syntax: str | None
    media_storage_sop_class: str | None


def read_file(source: str | Path | bytes, archives: Path | None = None) -> ParsedFile:
    """The whole file, read once, pixel data included; a gzip file is what is in it.

    `archives` is where tables of archives lie; without it, members of archives are not looked for.

    Raises:
        ImageRejectedError: VANISHED, UNREADABLE, EMPTY_FILE, CHANGED_WHILE_READING, TOO_LARGE, NOT_DICOM,
            NO_TRANSFER_SYNTAX, BAD_HEADER, BAD_ARCHIVE or DECOMPRESSION_BOMB.
    """
    data = source if isinstance(source, bytes) else read_bytes(source, archives)
    if not data:
        raise ImageRejectedError(RejectReason.EMPTY_FILE, "0 bytes")
    labels, syntax = _settle(ByteSource(data))
    body = _body(ByteSource(data), labels.position, syntax, MAX_INFLATED_BYTES)
    _refuse_bomb(body, MAX_INFLATED_BYTES)
    found = scan(body.source, body.position, syntax.encoding)
    _add_pixels(found, body.source, syntax.encoding)
    digest = None if _has_instance_uid(found) else hashlib.sha256(data).hexdigest()
    parsed = _parsed(found, labels, syntax, digest=digest)
    parsed.dataset.file_meta = _file_meta(syntax.uid)
    return parsed


def read_bytes(path: str | Path, archives: Path | None = None) -> bytes:
    """The bytes of a file, for `read_file`; a gzip file is what is in it.

    Raises:
        ImageRejectedError: VANISHED, UNREADABLE, EMPTY_FILE, CHANGED_WHILE_READING, TOO_LARGE, BAD_ARCHIVE or
            DECOMPRESSION_BOMB.
    """
    with open_content(path, archives) as content:
        data = content.read_all()
        return gunzip(data) if data.startswith(GZIP_MAGIC) else data


def read_before_pixels(path: str | Path, archives: Path | None = None) -> ParsedFile:
    """The allow-listed attributes of a file; pixel data is not read, large elements are skipped.

    Raises:
        ImageRejectedError: as `read_file`, but for TOO_LARGE.
    """
    with open_content(path, archives) as packed:
        content, first = _first_window(packed)
        source = ByteSource(first, size=content.size, read=content.read)
        labels, syntax = _settle(source)
        body = _body(source, labels.position, syntax, MAX_INFLATED_HEADER_BYTES)
        found = scan(body.source, body.position, syntax.encoding, wanted=_WANTED)
        if found.pixels is None:
            _refuse_bomb(body, MAX_INFLATED_HEADER_BYTES)
        digest = None if _has_instance_uid(found) else _digest(content)
        return _parsed(found, labels, syntax, digest=digest)


def _first_window(content: Content) -> tuple[Content, bytes]:
    """The content, unpacked where it is a gzip file, and its first bytes."""
    first = content.read(0, min(WINDOW_BYTES, content.size))
    if not first.startswith(GZIP_MAGIC):
        return content, first
    unpacked = GzipContent(content)
    if unpacked.size == 0:
        raise ImageRejectedError(RejectReason.EMPTY_FILE, "0 bytes in a gzip file")
    return unpacked, unpacked.read(0, min(WINDOW_BYTES, unpacked.size))


def _digest(content: Content) -> str:
    digest = hashlib.sha256()
    for position in range(0, content.size, 1 << 20):
        digest.update(content.read(position, min(1 << 20, content.size - position)))
    return digest.hexdigest()


def _settle(source: ByteSource) -> tuple[_Labels, Syntax]:
    """The labels and the encoding of the dataset."""
    labels = _read_labels(source)
    syntax = settle_syntax(source, labels.position, labels.transfer_syntax)
    if syntax is None and not labels.marked:
        head = source.take(0, SEARCHED_BYTES)
        displaced = find_displaced_start(head) if archive_in_disguise(head) is None else None
        if displaced is not None:
            labels = _read_labels(source, displaced)
            syntax = settle_syntax(source, labels.position, labels.transfer_syntax)
    if syntax is not None:
        return labels, syntax
    if labels.marked:
        detail = "TransferSyntaxUID is absent or no UID, and the bytes do not tell the encoding"
        raise ImageRejectedError(RejectReason.NO_TRANSFER_SYNTAX, detail)
    detail = foreign_format(source.take(0, 512)) or "no DICM mark, and the bytes fit no DICOM encoding"
    raise ImageRejectedError(RejectReason.NOT_DICOM, detail)


def _read_labels(source: ByteSource, displaced: int | None = None) -> _Labels:
    """The file meta information, which is explicit VR little endian whatever follows (DICOM PS3.10 section 7.1)."""
    start = displaced or next((at + 4 for at in (128, 0) if source.take(at, 4) == b"DICM"), 0)
    position, values = start, dict[int, bytes]()
    try:
        while (head := read_head(source, position, EXPLICIT_LITTLE)) is not None:
            tag, _, length, value = head
            if tag >> 16 != 2 or length > source.size - value:
                break
            values[tag] = source.take(value, min(length, MAX_META_VALUE_BYTES))
            position = value + length
    except DamageError as error:
        if start > 0:
            raise ImageRejectedError(RejectReason.BAD_HEADER, f"file meta information {error}") from error
    return _Labels(
        position=position,
        marked=start > 0 or bool(values),
        transfer_syntax=usable_uid(values.get(_TRANSFER_SYNTAX)),
        media_storage_sop_class=usable_uid(values.get(_MEDIA_STORAGE_SOP_CLASS)),
    )


@dataclass(frozen=True, slots=True)
class _Body:
    """The bytes of a dataset and where it begins in them; `cut` where a deflated one goes on beyond the limit."""

    source: ByteSource
    position: int
    cut: bool = False


def _body(source: ByteSource, position: int, syntax: Syntax, limit: int) -> _Body:
    """The dataset, inflated where it is deflated, then at most `limit` bytes of it.

    Source: DICOM PS3.5 section A.5: a raw deflate stream (RFC 1951); some writers add a zlib or gzip header.

    Raises:
        ImageRejectedError: BAD_HEADER where nothing can be inflated.
    """
    if not syntax.deflated:
        return _Body(source, position)
    # Deflate makes nothing longer by more than 5 bytes in 16 KiB, so this much input always gives `limit` bytes.
    packed = source.take(position, min(source.size - position, limit + limit // 1024))
    for window_bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS + 32):
        try:
            data = zlib.decompressobj(window_bits).decompress(packed, limit + 1)
        except zlib.error:
            continue
        if data:
            return _Body(ByteSource(data), 0, cut=len(data) > limit)
    raise ImageRejectedError(RejectReason.BAD_HEADER, "the deflated dataset cannot be inflated")


def _refuse_bomb(body: _Body, limit: int) -> None:
    if body.cut:
        raise ImageRejectedError(RejectReason.DECOMPRESSION_BOMB, f"the dataset inflates to more than {limit} bytes")


def _add_pixels(found: Scan, source: ByteSource, encoding: Encoding) -> None:
    """Put the pixel data into the scan's elements: all that is there, be it less than the element claims.

    Fragments come with their items and without the closing delimiter, as pydicom has them.
    """
    pixels = found.pixels
    if pixels is None or pixels.tag != PIXEL_DATA:
        return
    end = min(pixels.start + pixels.length, source.size)
    if pixels.length == UNDEFINED:
        try:
            end, _ = end_of_items(source, pixels.start, encoding)
        except DamageError:
            end = source.size
    # A view: copying the pixels of an uncompressed file takes as long as everything else about it.
    tag, value = BaseTag(PIXEL_DATA), cast("bytes", source.view(pixels.start, end - pixels.start))
    vr = pixels.vr if pixels.vr in {"OB", "OW"} else None
    found.elements[tag] = RawDataElement(tag, vr, pixels.length, value, pixels.start, vr is None, encoding.little)


def _parsed(found: Scan, labels: _Labels, syntax: Syntax, *, digest: str | None) -> ParsedFile:
    dataset = Dataset(dict(found.elements))
    dataset.set_original_encoding(syntax.encoding.implicit, syntax.encoding.little)
    return ParsedFile(
        dataset=dataset,
        transfer_syntax_uid=syntax.uid,
        transfer_syntax_source=syntax.source,
        media_storage_sop_class_uid=labels.media_storage_sop_class,
        has_pixel_data=_has_pixels(found.pixels, integer=True),
        has_float_pixels=_has_pixels(found.pixels, integer=False),
        content_digest=digest,
        damage=found.damage,
    )


def _has_pixels(pixels: PixelElement | None, *, integer: bool) -> bool:
    return pixels is not None and (pixels.tag == PIXEL_DATA) == integer and pixels.length > 0


def _has_instance_uid(found: Scan) -> bool:
    element = found.elements.get(_SOP_INSTANCE_UID)
    return element is not None and bool((element.value or b"").strip(b" \0"))


def _file_meta(transfer_syntax_uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    return meta
