"""`radio index`: the DuckDB index."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption, WorkersOption

app = typer.Typer(help="The DuckDB index of a dataset.", no_args_is_help=True)


@app.callback()
def index() -> None:
    """The DuckDB index of a dataset."""


@app.command(epilog="Example: radio index rebuild --from-tars")
def rebuild(
    from_tars: Annotated[
        bool,
        typer.Option(
            "--from-tars", help="First make records that are lost, from the tars alone; reads every such tar."
        ),
    ] = False,
    workers: WorkersOption = None,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build index.duckdb again from the records beside the shards, or from the tars where records are lost."""
    from radio_cli.console import note
    from radio_cli.project import dataset_root, verifiable_dataset
    from radio_io.layout import DatasetLayout

    if from_tars:
        _from_tars(dataset_root(dataset), workers, dry_run=dry_run, as_json=as_json)
        return
    from radio_io.dataset_file import read_dataset_file
    from radio_io.sharding.build import publish_index
    from radio_io.sharding.locking import locked

    layout = DatasetLayout(verifiable_dataset(dataset))
    content = read_dataset_file(layout.root)
    records = layout.record_paths()
    bare = sum(not path.with_suffix(".parquet").exists() for path in layout.root.glob("*/h*w*/[0-9]*.tar"))
    if bare:
        note(f"{bare} tars have no record and are left out; to make their records: radio index rebuild --from-tars")
    if not dry_run:
        with locked(layout):
            publish_index(layout, content)
    _say(layout.index, len(records), dry_run=dry_run, as_json=as_json)


def _from_tars(root: Path, workers: int | None, *, dry_run: bool, as_json: bool) -> None:
    from radio_cli.console import ConsoleProgress, emit_json
    from radio_io.executors import default_workers
    from radio_io.layout import DatasetLayout
    from radio_io.sharding.from_tars import rebuild_from_tars

    progress = ConsoleProgress(quiet=as_json)
    report = rebuild_from_tars(root, progress, workers=workers or default_workers(), dry_run=dry_run)
    if as_json:
        emit_json(report)
    else:
        typer.echo(f"{'would make' if dry_run else 'made'} {len(report.made)} records of {report.tars} tars")
        for shard_id in report.refused:
            typer.echo(f"REFUSED {shard_id}.tar: damaged, or with withdrawn images; run: radio shard verify --repair")
        _say(DatasetLayout(root).index, report.records, dry_run=dry_run, as_json=False)
    if report.refused:
        raise typer.Exit(1)


def _say(index: Path, records: int, *, dry_run: bool, as_json: bool) -> None:
    from radio_cli.console import emit_json

    if as_json:
        emit_json({"index": str(index), "records": records, "written": not dry_run})
    elif dry_run:
        typer.echo(f"would build {index} from {records} records; nothing was written")
    else:
        typer.echo(f"wrote {index} from {records} records")
