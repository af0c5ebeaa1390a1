"""`index.duckdb`: made from the records, published whole, opened locked down.

Comes in: the records of a dataset, the counts of rejects, the labels. Goes out: the index under its final name and its
SHA-256; connections that can only read it. Refuses an index of another version, and a missing one.

It is built on local disk (DuckDB's locks misbehave on network drives), in a storage version that DuckDB 1.4 reads.
"""

import hashlib
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from radio_io import atomic
from radio_io.errors import DatasetError
from radio_io.index.schema import COMPUTED_COLUMNS, RECORD_COLUMNS, TABLES, Column
from radio_io.layout import DatasetLayout
from radio_io.scratch import scratch_folder

if TYPE_CHECKING:
    from radio_io.index.records import ShardMetadata

STORAGE_VERSION = "v1.4.0"
BUILD_MEMORY_MB = 96
"""What DuckDB may hold while an index is built; the rest goes to a temporary folder beside it."""
ROW_GROUP = 61_440
"""Rows that are packed together; all of them are in memory before they are. Half of DuckDB's default: 44 MB less."""
KEY_MEMORY_BYTES = 16
"""More than that for each image, where keys that occur twice are found: for 20 million 64 MB fail and 128 MB do."""
CLOSED = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}
LOCKED_DOWN = (  # once the file is attached; the last one locks the others
    "enable_external_access = false",
    "max_temp_directory_size = '0B'",
    "enable_progress_bar = false",
    "python_enable_replacements = false",
    "lock_configuration = true",
)


def build_index(
    layout: DatasetLayout, rejects: Iterable[tuple[str, str, int]]
) -> tuple[str, "tuple[ShardMetadata, ...]"]:
    """Build and publish the index from all records; `rejects` are rows of (reason, stage, number of files).

    Returns the SHA-256 of the published file, and what the records say of their tars.

    Raises:
        DatasetError: A record or a file of labels is damaged.
        StorageError: The dataset folder cannot be written.
    """
    with scratch_folder("index") as folder:
        local = folder / "index.duckdb"
        with duckdb.connect() as connection:
            connection.execute(
                f"ATTACH '{local}' AS made (STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP})"
            )
            connection.execute("USE made")
            connection.execute("SET preserve_insertion_order = true")
            connection.execute(f"SET memory_limit = '{BUILD_MEMORY_MB}MB'")
            # With more threads several row groups are open at once, which takes the memory and packs them worse.
            connection.execute("SET threads = 1")
            connection.execute(f"SET temp_directory = '{folder}/spilled'")
            shards = _fill(connection, layout, sorted(rejects))
            connection.execute("CHECKPOINT")
            connection.execute("USE memory")
            connection.execute("DETACH made")
        return _publish(local, layout.index), shards


def open_index(root: Path, *, memory: str = "1GB", threads: int = 2) -> duckdb.DuckDBPyConnection:
    """A connection that can read the index and nothing else.

    Raises:
        DatasetError: There is no index, or it cannot be opened.
    """
    path = DatasetLayout(root).index
    if not path.exists():
        raise DatasetError(f"no index {path}; build the dataset, or run: radio index rebuild")
    # An instance of its own, in memory: one that holds the file itself is shared by the whole process, and a second
    # connection, of ours or of a notebook, finds its settings locked (DuckDB 2.0.1).
    connection = duckdb.connect(":memory:", config={**CLOSED, "memory_limit": memory, "threads": threads})
    try:
        connection.execute(f"ATTACH {_quoted(str(path))} AS dataset (READ_ONLY)")
        connection.execute("USE dataset")
        connection.execute("DETACH memory")
    except duckdb.Error as error:
        connection.close()
        reason = str(error).splitlines()[0]
        raise DatasetError(f"cannot open {path}: {reason}; run: radio index rebuild") from None
    for setting in LOCKED_DOWN:
        connection.execute(f"SET {setting}")
    return connection


def read_index(root: Path, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All rows of one SELECT of our own.

    Raises:
        DatasetError: There is no index, or it is damaged.
    """
    try:
        with open_index(root) as connection:
            return connection.execute(sql, parameters).fetchall()
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"cannot read {DatasetLayout(root).index}: {reason}; run: radio index rebuild") from None


def indexed_rejects(root: Path) -> list[tuple[str, str, int]]:
    """The counts of rejects in the index, (reason, stage, number of files); none where no index can be read."""
    try:
        return [
            (str(reason), str(stage), int(count))
            for reason, stage, count in read_index(root, "SELECT reason, stage, num_files FROM rejects")
        ]
    except DatasetError:  # an index that is damaged must not keep a new one from being built
        return []


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file of any size, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(
    connection: duckdb.DuckDBPyConnection, layout: DatasetLayout, rejects: list[tuple[str, str, int]]
) -> "tuple[ShardMetadata, ...]":
    for table in TABLES.values():
        connection.execute(f"CREATE TABLE {table.name} ({_definition(table.columns)})")
    shards = _add_records(connection, layout)
    _compute_columns(connection)
    if rejects:
        connection.executemany("INSERT INTO rejects VALUES (?, ?, ?)", rejects)
    _add_labels(connection, layout)
    for table in TABLES.values():
        connection.execute(f"COMMENT ON TABLE {table.name} IS {_quoted(table.comment)}")
        for column in table.columns:
            connection.execute(f'COMMENT ON COLUMN {table.name}."{column.name}" IS {_quoted(column.comment)}')
    return shards


def _add_records(connection: duckdb.DuckDBPyConnection, layout: DatasetLayout) -> "tuple[ShardMetadata, ...]":
    """The tables `images` and `shards`. DuckDB could read the records, too, but does not look at their checksum."""
    import pyarrow as pa  # a query must start without it

    from radio_io.index.records import open_record, record_schema

    assert [column.name for column in COMPUTED_COLUMNS] == ["uid_conflict", "pixel_duplicate"]
    names = ", ".join(f'"{column.name}"' for column in RECORD_COLUMNS)
    shards: list[tuple[ShardMetadata, str]] = []
    failed: list[DatasetError] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for path in layout.record_paths():
                with open_record(path) as record:
                    yield from record.batches
                shards.append((record.metadata, record.sha256))
        except DatasetError as error:  # DuckDB would only say that there was one
            failed.append(error)

    # Records come in the order of their shards and rows in the order of their offsets: nothing is left to sort.
    with _registered(connection, pa.RecordBatchReader.from_batches(record_schema(), batches())):
        connection.execute(f"INSERT INTO images SELECT {names}, false, false FROM arriving")  # noqa: S608 - columns
    if failed:
        raise failed[0]
    if shards:
        _add_shards(connection, shards)
    return tuple(metadata for metadata, _ in shards)


def _compute_columns(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill in what one image is among all others; few images are concerned, so that only these are written again."""
    (images,) = connection.execute("SELECT count(*) FROM images").fetchone() or (0,)
    megabytes = max(BUILD_MEMORY_MB, images * KEY_MEMORY_BYTES // 1_000_000)
    connection.execute(f"SET memory_limit = '{megabytes}MB'")
    connection.execute(
        "UPDATE images SET uid_conflict = true WHERE instance_key IN "
        "(SELECT instance_key FROM images GROUP BY instance_key HAVING count(*) > 1)"
    )
    connection.execute(
        "UPDATE images SET pixel_duplicate = true FROM "
        "(SELECT pixel_hash, min(key) AS first_key FROM images GROUP BY pixel_hash HAVING count(*) > 1) AS copies "
        "WHERE images.pixel_hash = copies.pixel_hash AND images.key <> copies.first_key"
    )


def _add_shards(connection: duckdb.DuckDBPyConnection, shards: "Iterable[tuple[ShardMetadata, str]]") -> None:
    """`shards` are what each record says of its tar, and the SHA-256 of the record."""
    rows = [
        (
            facts.shard_id,
            f"{facts.shard_id}.tar",
            facts.num_images,
            facts.size_bytes,
            facts.tar_sha256,
            facts.split,
            facts.bin_height,
            facts.bin_width,
            record_sha256,
            facts.codec,
        )
        for facts, record_sha256 in shards
    ]
    names = "shard_id, path, num_images, size_bytes, sha256, split, bin_height, bin_width, record_sha256, codec"
    connection.executemany(f"INSERT INTO shards ({names}) VALUES ({', '.join('?' * 10)})", rows)  # noqa: S608


def _add_labels(connection: duckdb.DuckDBPyConnection, layout: DatasetLayout) -> None:
    from radio_io.index.label_file import read_labels  # pyarrow: a query must start without it

    for path in layout.label_paths():
        for batch in read_labels(path):
            with _registered(connection, batch):
                connection.execute("INSERT INTO labels SELECT task, key, label FROM arriving")


@contextmanager
def _registered(connection: duckdb.DuckDBPyConnection, rows: object) -> Generator[None, None, None]:
    """Lets a statement read Arrow data under the name `arriving`."""
    connection.register("arriving", rows)
    try:
        yield
    finally:
        connection.unregister("arriving")


def _definition(columns: Iterable[Column]) -> str:
    return ", ".join(f'"{column.name}" {column.sql_type}' for column in columns)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _publish(local: Path, final: Path) -> str:
    digest = file_sha256(local)
    with atomic.staged(final) as temp, atomic.storage_errors(final):
        shutil.copyfile(local, temp)
    return digest
