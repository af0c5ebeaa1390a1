"""What a plan asks of all its files at once, in memory that does not grow with their number.

Comes in: tables of files, part by part. Goes out: their rows in the order of the plan, and the instances that several
shards hold. Refuses nothing. DuckDB sorts and groups, on the disk where its memory does not suffice; what it puts there
lies in a folder of the plan, since it holds paths.
"""

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from radio_io import atomic

MEMORY_MB: Final = 96
ROWS_AT_ONCE: Final = 16_384
FOLDER_PREFIX: Final = "sorting"
UNSORTED: Final = "unsorted.parquet"
SORTED_SCHEMA: Final = pa.schema(
    [
        ("split", pa.int8()),
        ("bin", pa.int64()),
        ("high", pa.uint64()),
        ("low", pa.uint64()),
        ("position", pa.int64()),
        ("path", pa.binary()),
        ("frame", pa.int32()),
        ("instance_key", pa.string()),
        ("size_bytes", pa.int64()),
        ("rows", pa.int32()),
        ("columns", pa.int32()),
    ]
)
"""`high` and `low` are the keyed hash of the instance; `bin` is -1 where no bin holds the image."""


class PlanOrder:
    """Takes files in any order; then gives those that have a bin, and those that have none."""

    __slots__ = ("_connection", "_folder", "_position", "_writer")

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(folder / UNSORTED, SORTED_SCHEMA, compression="zstd")
        self._position = 0

    def add(self, table: pa.Table) -> None:
        """Some more files: the columns of `SORTED_SCHEMA`, without `position`."""
        assert self._writer is not None, "nothing is added once rows were taken"
        numbers = pa.array(range(self._position, self._position + len(table)), pa.int64())
        self._position += len(table)
        self._writer.write_table(table.append_column("position", numbers).select(SORTED_SCHEMA.names))

    def placed(self) -> Iterator[pa.RecordBatch]:
        """The files that a bin holds: by split and bin, then by the hash of their instance, path and frame."""
        return self._rows("bin >= 0", "split, bin, high, low, path, frame, position")

    def left_out(self) -> Iterator[pa.RecordBatch]:
        """The files that no bin holds, by path and frame."""
        return self._rows("bin < 0", "path, frame, position")

    def _rows(self, condition: str, order: str) -> Iterator[pa.RecordBatch]:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        columns = "split, bin, path, frame, instance_key, size_bytes, rows, columns"
        ordered = self._folder / "sorted.parquet"
        self._connection.execute(
            f"COPY (SELECT {columns} FROM read_parquet({_quoted(self._folder / UNSORTED)}) WHERE {condition} "  # noqa: S608
            f"ORDER BY {order}) TO {_quoted(ordered)} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_AT_ONCE})"
        )
        yield from pq.ParquetFile(ordered).iter_batches(ROWS_AT_ONCE)


@contextmanager
def plan_order(plan_dir: Path) -> Generator[PlanOrder, None, None]:
    """A `PlanOrder` that works in a folder below `plan_dir`.

    Raises:
        StorageError: The folder cannot be written.
    """
    with _connection(plan_dir) as (connection, folder), atomic.storage_errors(folder):
        yield PlanOrder(connection, folder)


def remove_sorting(plan_dir: Path) -> None:
    """Remove the folders that killed processes left; the caller holds the dataset for itself alone."""
    for left in plan_dir.glob(f"{FOLDER_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def instances_of_several_shards(plan_dir: Path, parts: list[str]) -> frozenset[str]:
    """The instances that more than one shard of these parts of a plan holds; several processes may ask at once."""
    if not parts:
        return frozenset()
    with _connection(plan_dir) as (connection, _):
        rows = connection.execute(
            "SELECT instance_key FROM read_parquet(?) WHERE shard_id IS NOT NULL "
            "GROUP BY instance_key HAVING min(shard_id) <> max(shard_id)",
            [[str(plan_dir / name) for name in parts]],
        )
        return frozenset(key for (key,) in rows.fetchall())


@contextmanager
def _connection(plan_dir: Path) -> Generator[tuple[duckdb.DuckDBPyConnection, Path], None, None]:
    with atomic.storage_errors(plan_dir):
        folder = Path(mkdtemp(prefix=FOLDER_PREFIX, dir=plan_dir))  # several tasks of a build are here at once
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{MEMORY_MB}MB",
        "threads": 1,
        "temp_directory": str(folder / "spilled"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        with duckdb.connect(":memory:", config=settings) as connection:
            yield connection, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
