"""Parquet files that carry a checksum of themselves, so that no flipped bit goes unnoticed.

Comes in: Arrow tables. Goes out: bytes of files, and the tables again. Refuses a file that is missing, damaged or
carries no checksum, with a `DatasetError` that says what to do.

Parquet's own checksums cover the content of pages only: a flipped bit in the header of a page or at the end of the file
can change data. Here the key-value metadata hold the SHA-256 of the whole file, taken with zeros in its own place. Any
reader of Parquet reads these files.
"""

import hashlib
import io
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.parquet as pq

from radio_io.errors import DatasetError

PRIVATE_ADVICE: Final = (
    "restore it from a copy of the private folder, and check the drive; the shards are not concerned"
)
CHECKSUM_KEY: Final = b"checksum"
_MARK: Final = b"sha256:"
_BLANK: Final = b"0" * 64
_CHECKSUM: Final = re.compile(_MARK + rb"[0-9a-f]{64}")
_BLOCK_BYTES: Final = 1 << 20
_END_BYTES: Final = 8
"""At the end of a file of Parquet: the size of its footer, and four letters."""


def encode_table(table: pa.Table, **options: Any) -> bytes:
    """The bytes of a file; `options` are those of `pyarrow.parquet.ParquetWriter`."""
    buffer = io.BytesIO()
    with table_writer(buffer.write, table.schema, **options) as writer:
        writer.write_table(table)
    return buffer.getvalue()


@contextmanager
def table_writer(
    write: Callable[[bytes], object], schema: pa.Schema, **options: Any
) -> Generator[pq.ParquetWriter, None, None]:
    """Writes a file part by part through `write`, which is done when the block ends."""
    sink = _Sink(write)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, **options) as writer:
        yield writer
        writer.add_key_value_metadata({CHECKSUM_KEY: _MARK + _BLANK})
    sink.seal()


@contextmanager
def open_table(
    source: Path | bytes, *, name: object = None, advice: str = PRIVATE_ADVICE
) -> Generator[pq.ParquetFile, None, None]:
    """A file whose checksum is right, to be read in the block.

    Raises:
        DatasetError: It is missing or damaged; the message calls it `name`, or by its path.
    """
    name = source if name is None else name
    try:
        with pa.BufferReader(source) if isinstance(source, bytes) else pa.OSFile(str(source)) as file:
            if not _is_whole(file):
                raise DatasetError(f"{name} is damaged, or was not written by radio: its checksum is wrong; {advice}")
            file.seek(0)
            yield pq.ParquetFile(file)
    except FileNotFoundError:
        raise DatasetError(f"{name} is missing; {advice}") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise DatasetError(f"{name} cannot be read: {reason}; {advice}") from error


def read_table(
    source: Path | bytes, columns: Sequence[str] | None = None, *, name: object = None, advice: str = PRIVATE_ADVICE
) -> pa.Table:
    """The table of a file, or some of its columns, with the metadata that it was given.

    Raises:
        DatasetError: It is missing or damaged; the message calls it `name`, or by its path.
    """
    with open_table(source, name=name, advice=advice) as file:
        table = file.read(columns, use_threads=False)  # most files are small: threads cost more than they give
        metadata = dict(table.schema.metadata or {})
        metadata.pop(CHECKSUM_KEY, None)
        return table.replace_schema_metadata(metadata or None)


def read_batches(
    path: Path, columns: Sequence[str] | None = None, *, rows: int, advice: str = PRIVATE_ADVICE
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, so many at a time.

    Raises:
        DatasetError: It is missing or damaged.
    """
    with open_table(path, advice=advice) as file:
        yield from file.iter_batches(rows, columns=columns)


def read_metadata(path: Path, *, advice: str = PRIVATE_ADVICE) -> dict[bytes, bytes]:
    """The metadata of a file.

    Raises:
        DatasetError: It is missing or damaged.
    """
    with open_table(path, advice=advice) as file:
        return dict(file.metadata.metadata or {})


class _Sink:
    """Passes on what is written, holds back the end and puts the checksum into it."""

    __slots__ = ("_digest", "_end", "_write")

    closed: ClassVar[bool] = False
    """Arrow asks it of a file."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._digest = hashlib.sha256()
        self._end = b""

    def write(self, data: bytes) -> None:
        if self._end or _MARK + _BLANK in data:  # the footer; should rows hold this text, a little more is held back
            self._end += data
        else:
            self._digest.update(data)
            self._write(data)

    def seal(self) -> None:
        self._digest.update(self._end)
        place = self._end.rindex(_MARK + _BLANK) + len(_MARK)
        checksum = self._digest.hexdigest().encode()
        self._write(self._end[:place] + checksum + self._end[place + len(_BLANK) :])


def _is_whole(file: pa.NativeFile) -> bool:
    size = file.size()
    file.seek(max(size - _END_BYTES, 0))
    start = size - _END_BYTES - int.from_bytes(file.read(4), "little")
    if start < 0:
        return False
    file.seek(start)
    end = file.read()
    checksums = list(_CHECKSUM.finditer(end))
    if not checksums:
        return False
    digest = hashlib.sha256()
    file.seek(0)
    for position in range(0, start, _BLOCK_BYTES):
        digest.update(file.read(min(_BLOCK_BYTES, start - position)))
    place = checksums[-1].start() + len(_MARK)
    digest.update(end[:place] + _BLANK + end[place + len(_BLANK) :])
    return end[place : place + len(_BLANK)] == digest.hexdigest().encode()
