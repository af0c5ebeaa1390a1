"""A shard's commit record: a Parquet file beside the tar, one row an image.

Comes in: the rows of a shard and what identifies its tar file. Goes out: the record's bytes, equal for equal input, and
`ShardRecord` when it is read. Refuses records of another format version, with other columns, or damaged ones.

What identifies the tar stands as JSON in the Parquet file's key-value metadata under the name `radio`; a checksum of
the file stands there, too. Dictionaries and statistics are left out: for 100 rows they double the file and the time to
read it.
"""

import datetime
import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import pyarrow as pa

from radio_io import atomic
from radio_io.checked_table import encode_table, open_table, read_table
from radio_io.errors import DatasetError
from radio_io.index.row import ImageLocation, ImageRow
from radio_io.index.schema import RECORD_COLUMNS, Column

RECORD_FORMAT_VERSION: Final = 1
_ROWS_AT_ONCE: Final = 2048
_ADVICE: Final = "run: radio shard verify --repair, or restore it"
METADATA_KEY: Final = b"radio"
ARROW_TYPES: Final[dict[str, pa.DataType]] = {
    "VARCHAR": pa.string(),
    "BOOLEAN": pa.bool_(),
    "INTEGER": pa.int32(),
    "UINTEGER": pa.uint32(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "INTEGER[]": pa.list_(pa.field("element", pa.int32())),
}
PlacedRow: TypeAlias = tuple[ImageRow, ImageLocation]
"""A row of a record: the image, and where it lies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardMetadata:
    """What identifies the tar file that a record stands for."""

    shard_id: str
    split: str
    bin_height: int
    bin_width: int
    codec: str
    num_images: int
    size_bytes: int
    tar_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecord:
    """A record that has been read: its rows (`record_schema()`), the shard's metadata, and the SHA-256 of the file."""

    table: pa.Table
    metadata: ShardMetadata
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenRecord:
    """A record that is being read: the shard's metadata, the SHA-256 of the file, and its rows batch by batch."""

    metadata: ShardMetadata
    sha256: str
    batches: Iterator[pa.RecordBatch]


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of columns of the index; every field may be null."""
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.sql_type]) for column in columns])


def record_schema() -> pa.Schema:
    """The Arrow schema of a record's rows."""
    return arrow_schema(RECORD_COLUMNS)


def record_table(rows: Sequence[PlacedRow]) -> pa.Table:
    """The rows as an Arrow table, in the given order."""
    columns: list[pa.Array] = []
    location_names = {each.name for each in fields(ImageLocation)}
    for field in record_schema():
        part = 1 if field.name in location_names else 0
        columns.append(pa.array([getattr(row[part], field.name) for row in rows], type=field.type))
    return pa.Table.from_arrays(columns, schema=record_schema())


def placed_rows(table: pa.Table) -> Iterator[PlacedRow]:
    """The rows of a record's table, or of some of its rows, as they were given to `record_table`."""
    for values in table.to_pylist():
        location = ImageLocation(**{name: values.pop(name) for name in ImageLocation.__dataclass_fields__})
        yield image_row(values), location


def image_row(values: dict[str, Any]) -> ImageRow:
    """A row from values that Arrow or JSON gave: lists become tuples, text of a date becomes a date."""
    for name in ("level_sizes", "masked_boxes"):
        values[name] = None if values[name] is None else tuple(values[name])
    if isinstance(values["study_date_shifted"], str):
        values["study_date_shifted"] = datetime.date.fromisoformat(values["study_date_shifted"])
    return ImageRow(**values)


def encode_record(table: pa.Table, metadata: ShardMetadata) -> bytes:
    """The bytes of a record: the same for the same rows and metadata, whenever and wherever it is made."""
    assert table.num_rows == metadata.num_images, "a record has one row for each image of its shard"
    text = json.dumps({"format_version": RECORD_FORMAT_VERSION, **asdict(metadata)}, sort_keys=True)
    schema = record_schema().with_metadata({METADATA_KEY: text.encode()})
    return encode_table(
        table.select(schema.names).cast(schema).replace_schema_metadata(schema.metadata),
        version="2.6",
        compression="zstd",
        compression_level=3,
        use_dictionary=False,
        write_statistics=False,
    )


def write_record(path: Path, table: pa.Table, metadata: ShardMetadata) -> str:
    """Write a record durably, and say its SHA-256 (64 hex digits). From this moment on the shard exists.

    Raises:
        StorageError: The file cannot be written, or reads back differently.
    """
    data = encode_record(table, metadata)
    atomic.write_file(path, data)
    return hashlib.sha256(data).hexdigest()


def read_record(path: Path) -> ShardRecord:
    """Read a record whole and check it.

    Raises:
        DatasetError: It is missing, damaged, of another format version or has other columns.
    """
    with open_record(path) as record:
        table = pa.Table.from_batches(record.batches, record_schema())
    return ShardRecord(table=table, metadata=record.metadata, sha256=record.sha256)


@contextmanager
def open_record(path: Path) -> Generator[OpenRecord, None, None]:
    """A record that has been checked, to be read in the block a few thousand rows at a time.

    Raises:
        DatasetError: It is missing, damaged, of another format version or has other columns.
    """
    data = _read_bytes(path)
    with open_table(data, name=f"the record {path}", advice=_ADVICE) as file:
        metadata = _parse_metadata(path, file.metadata.metadata)
        if file.schema_arrow.remove_metadata() != record_schema():
            raise _damaged(path, "its columns are not those of this format version")
        if file.metadata.num_rows != metadata.num_images:
            raise _damaged(path, f"it has {file.metadata.num_rows} rows, its metadata says {metadata.num_images}")
        batches = (batch.replace_schema_metadata(None) for batch in file.iter_batches(_ROWS_AT_ONCE, use_threads=False))
        yield OpenRecord(metadata=metadata, sha256=hashlib.sha256(data).hexdigest(), batches=batches)


def read_record_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a record; that the others are those of the format is not checked.

    Raises:
        DatasetError: It is missing, damaged or of another format version.
    """
    table = read_table(path, columns, name=f"the record {path}", advice=_ADVICE)
    _parse_metadata(path, table.schema.metadata)
    return table.replace_schema_metadata(None)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}; check the drive, then try again") from error


def _parse_metadata(path: Path, metadata: dict[bytes, bytes] | None) -> ShardMetadata:
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise DatasetError(f"{path} is a Parquet file but no record of a shard; move it out of the dataset folder")
    values = cast("dict[str, object]", json.loads(text))
    version = values.pop("format_version", None)
    if version != RECORD_FORMAT_VERSION:
        raise DatasetError(
            f"{path} has record format version {version}, this radio reads version {RECORD_FORMAT_VERSION}; "
            "use the version of radio that wrote the dataset, or a newer one"
        )
    expected: dict[str, type] = {each.name: cast("type", each.type) for each in fields(ShardMetadata)}
    if values.keys() != expected.keys() or any(type(values[name]) is not kind for name, kind in expected.items()):
        raise _damaged(path, "its metadata is incomplete")
    return ShardMetadata(**values)  # pyright: ignore[reportArgumentType]  names and types have just been compared


def _missing(path: Path) -> DatasetError:
    return DatasetError(f"no record {path}: the shard is not finished; run the build again to make it")


def _damaged(path: Path, detail: str) -> DatasetError:
    first_line = detail.splitlines()[0] if detail else "unreadable"
    return DatasetError(f"the record {path} is damaged: {first_line}; {_ADVICE}")
