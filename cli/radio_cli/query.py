"""`radio query` and `radio rejects`: the index, by SQL."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import DatasetOption, JsonOption


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    example = "Example: radio query \"region='Knee' and rows > 2000\" --format csv --out knees.csv"
    app.command("query", epilog=example)(query)
    app.command("rejects", epilog="Example: radio rejects --json")(rejects)


def query(
    where: Annotated[str | None, typer.Argument(help="SQL predicate over the table images. Default: all.")] = None,
    sql: Annotated[
        str | None,
        typer.Option("--sql", help="A whole SELECT, WITH included, over images, shards, rejects and labels."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Comma-separated columns. Default: the most used; * for all.")
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="How to print rows.")] = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of stdout.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Print only the number of images.")] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Print only the keys, one a line, for `train pretrain --keys`.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=0, help="At most so many rows.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Stop a query after so many seconds.")] = 60.0,
    dataset: DatasetOption = None,
) -> None:
    """Select images by an SQL predicate, or run one SELECT, in a database that is read-only and locked down."""
    from radio_cli.project import readable_dataset
    from radio_io.errors import UsageError
    from radio_io.index.query import Request, limit_memory, run_query

    if where is not None and sql is not None:
        raise UsageError("give a predicate or --sql, not both")
    shown = Format.JSON if as_json else output_format
    if shown is Format.PARQUET and out is None:
        raise UsageError("--format parquet needs --out FILE")
    request = Request(where=where, sql=sql, columns=columns, count=count, keys=keys, limit=limit, timeout_s=timeout_s)
    limit_memory()
    run_query(readable_dataset(dataset), request, shown.value, out)


def rejects(dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """How many files did not become images, by reason; their paths lie in the private folder."""
    from radio_cli.project import readable_dataset
    from radio_io.index.query import Request, run_query

    request = Request(sql="SELECT reason, stage, num_files FROM rejects ORDER BY num_files DESC, reason, stage")
    run_query(readable_dataset(dataset), request, "json" if as_json else "table", None)
