"""Answers a query from the index, row after row, in memory that does not grow with the answer.

Comes in: a `Request`. Goes out: text on stdout or a file. Refuses what `gate` refuses, unknown columns, and a query
that takes longer than its time limit.
"""

import csv
import datetime
import json
import os
import resource
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import duckdb

from radio_io import atomic
from radio_io.errors import QueryError
from radio_io.index.catalog import open_index
from radio_io.index.gate import checked_predicate, checked_select
from radio_io.index.schema import TABLES, unknown_column

DEFAULT_COLUMNS = "key, split, region, laterality, view_position, rows, columns, bits_stored, modality, shard_id"
ROWS_AT_ONCE = 1_000
GRACE_SECONDS = 3.0
ADDRESS_SPACE_BYTES = 6 << 30
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
Row = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A predicate over images, or a whole SELECT, and what to print of it."""

    where: str | None = None
    sql: str | None = None
    columns: str | None = None
    count: bool = False
    keys: bool = False
    limit: int | None = None
    timeout_s: float = 60.0


def limit_memory() -> None:
    """Bound the address space of this process: some functions of SQL ignore DuckDB's own limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, hard))


def run_query(root: Path, request: Request, output_format: str, out: Path | None) -> None:
    """Print the answer in `output_format`: table, csv, json or parquet (which needs `out`).

    Raises:
        QueryError: The query is refused or takes too long.
        DatasetError: There is no index.
    """
    with open_index(root) as connection, _time_limit(connection, request.timeout_s):
        names, rows = _answer(connection, request)
        if output_format == "parquet" and out is not None:
            _write_parquet(names, rows, out)
            return
        plain = request.count or request.keys
        if out is None:
            _write(names, rows, "plain" if plain and output_format == "table" else output_format, sys.stdout)
            return
        with atomic.staged(out.absolute()) as temp, temp.open("w", encoding="utf-8", newline="") as file:
            _write(names, rows, "plain" if plain and output_format == "table" else output_format, file)


def select_rows(
    connection: duckdb.DuckDBPyConnection, where: str | None, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """The values of known columns of the images for which a predicate holds, in the order of the shards.

    Raises:
        QueryError: The predicate is refused.
    """
    condition = checked_predicate(connection, where) if where else "true"
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f"SELECT {names} FROM images WHERE ({condition}) ORDER BY shard_id, image_offset"  # noqa: S608 - checked
    try:
        yield from _rows(connection.execute(statement), Request(where=where))
    except duckdb.Error as error:
        raise _stopped(error, Request(where=where)) from None


def _answer(connection: duckdb.DuckDBPyConnection, request: Request) -> tuple[list[str], Iterator[Row]]:
    if request.sql is not None:
        statement = checked_select(connection, request.sql)
        if request.limit is not None:
            statement = f"SELECT * FROM (\n{statement}\n) LIMIT {request.limit}"  # noqa: S608 - checked above
    else:
        condition = checked_predicate(connection, request.where) if request.where else "true"
        chosen = "count(*) AS count" if request.count else _columns(request)
        limit = f" LIMIT {request.limit}" if request.limit is not None else ""
        statement = f"SELECT {chosen} FROM images WHERE ({condition}){limit}"  # noqa: S608 - checked above
    try:
        cursor = connection.execute(statement)
    except duckdb.Error as error:
        raise _stopped(error, request) from None
    return [column[0] for column in cursor.description or []], _rows(cursor, request)


def _columns(request: Request) -> str:
    if request.keys:
        return "key"
    if request.columns is None:
        return DEFAULT_COLUMNS
    known = TABLES["images"].names
    if request.columns.strip() == "*":
        return ", ".join(f'"{name}"' for name in known)
    names = [name.strip() for name in request.columns.split(",")]
    for name in names:
        if name not in known:
            raise QueryError(unknown_column(name))
    return ", ".join(f'"{name}"' for name in names)


def _rows(cursor: duckdb.DuckDBPyConnection, request: Request) -> Iterator[Row]:
    try:
        while some := cursor.fetchmany(ROWS_AT_ONCE):
            yield from some
    except duckdb.Error as error:
        raise _stopped(error, request) from None


def _stopped(error: duckdb.Error, request: Request) -> QueryError:
    if isinstance(error, duckdb.InterruptException):
        return QueryError(f"the query took more than {request.timeout_s:g} s; narrow it, or raise --timeout")
    return QueryError(f"the query failed: {str(error).splitlines()[0]}")


@contextmanager
def _time_limit(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Generator[None, None, None]:
    timers = (
        threading.Timer(timeout_s, connection.interrupt),
        # Some functions do not listen to an interruption; nothing is lost with a process that only reads.
        threading.Timer(timeout_s + GRACE_SECONDS, _stop_hard, (timeout_s,)),
    )
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def _stop_hard(timeout_s: float) -> None:
    sys.stderr.write(f"error: the query took more than {timeout_s:g} s and did not stop; narrow it\n")
    sys.stderr.flush()
    os._exit(QueryError.exit_code)


def _write(names: Sequence[str], rows: Iterator[Row], output_format: str, file: TextIO) -> None:
    if output_format == "plain":
        file.writelines(f"{row[0]}\n" for row in rows)
    elif output_format == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_harmless(value) for value in row] for row in rows)
    elif output_format == "json":
        _write_json(names, rows, file)
    else:
        _write_table(names, rows, file)


def _write_json(names: Sequence[str], rows: Iterator[Row], file: TextIO) -> None:
    file.write("[")
    for number, row in enumerate(rows):
        values = dict(zip(names, row, strict=True))
        file.write(("," if number else "") + "\n" + json.dumps(values, default=_json_value))
    file.write("\n]\n")


def _json_value(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _harmless(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets a quote in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _write_table(names: Sequence[str], rows: Iterator[Row], file: TextIO) -> None:
    """Columns as wide as the first thousand rows need, at most 40 characters."""
    head: list[list[str]] = []
    for row in rows:
        head.append(["" if value is None else str(value) for value in row])
        if len(head) == ROWS_AT_ONCE:
            break
    widths = [min(40, max([len(name), *(len(row[i]) for row in head)])) for i, name in enumerate(names)]

    def line(cells: Sequence[str]) -> str:
        shown = (
            cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(cells, widths, strict=True)
        )
        return "  ".join(cell.ljust(width) for cell, width in zip(shown, widths, strict=True)).rstrip() + "\n"

    file.write(line(names))
    file.write(line(["-" * width for width in widths]))
    file.writelines(line(row) for row in head)
    file.writelines(line(["" if value is None else str(value) for value in row]) for row in rows)


def _write_parquet(names: Sequence[str], rows: Iterator[Row], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from radio_io.index.records import ARROW_TYPES

    known = {column.name: ARROW_TYPES[column.sql_type] for table in TABLES.values() for column in table.columns}
    writer: pq.ParquetWriter | None = None
    with atomic.staged(out.absolute()) as temp:
        while True:
            some = [row for _, row in zip(range(ROWS_AT_ONCE), rows, strict=False)]
            if not some and writer is not None:
                break
            columns = list(zip(*some, strict=True)) or [() for _ in names]
            arrays = [pa.array(values, type=known.get(name)) for name, values in zip(names, columns, strict=True)]
            table = pa.table(dict(zip(names, arrays, strict=True)))
            writer = writer or pq.ParquetWriter(temp, table.schema)
            writer.write_table(table)
            if not some:
                break
        writer.close()
