"""`radio index`: the DuckDB index."""

import typer

from radio_cli.options import DatasetOption, DryRunOption

app = typer.Typer(help="The DuckDB index of a dataset.", no_args_is_help=True)


@app.callback()
def index() -> None:
    """The DuckDB index of a dataset."""


@app.command(epilog="Example: radio index rebuild --dataset shards")
def rebuild(dataset: DatasetOption = None, dry_run: DryRunOption = False) -> None:
    """Build index.duckdb again from the records beside the shards."""
    from radio_cli.project import dataset_root
    from radio_io.dataset_file import read_dataset_file
    from radio_io.layout import DatasetLayout
    from radio_io.sharding.build import publish_index

    layout = DatasetLayout(dataset_root(dataset))
    content = read_dataset_file(layout.root)
    if dry_run:
        typer.echo(f"would build {layout.index} from {len(layout.record_paths())} records; nothing was written")
        return
    publish_index(layout, content)
    typer.echo(f"wrote {layout.index} from {len(layout.record_paths())} records")
