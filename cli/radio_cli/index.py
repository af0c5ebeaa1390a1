"""`radio index`: the DuckDB index."""

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption

app = typer.Typer(help="The DuckDB index of a dataset.", no_args_is_help=True)


@app.callback()
def index() -> None:
    """The DuckDB index of a dataset."""


@app.command(epilog="Example: radio index rebuild --dataset shards")
def rebuild(dataset: DatasetOption = None, dry_run: DryRunOption = False, as_json: JsonOption = False) -> None:
    """Build index.duckdb again from the records beside the shards."""
    from radio_cli.console import emit_json
    from radio_cli.project import verifiable_dataset
    from radio_io.dataset_file import read_dataset_file
    from radio_io.layout import DatasetLayout
    from radio_io.sharding.build import publish_index

    layout = DatasetLayout(verifiable_dataset(dataset))
    content = read_dataset_file(layout.root)
    records = len(layout.record_paths())
    if not dry_run:
        publish_index(layout, content)
    if as_json:
        emit_json({"index": str(layout.index), "records": records, "written": not dry_run})
    elif dry_run:
        typer.echo(f"would build {layout.index} from {records} records; nothing was written")
    else:
        typer.echo(f"wrote {layout.index} from {records} records")
