"""`radio scan`: headers only."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import (
    DatasetOption,
    DryRunOption,
    FromOption,
    JsonOption,
    PrivateOption,
    SourcesArgument,
    WorkersOption,
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("scan", epilog="Example: radio scan /mnt/pacs/export --workers 8")(scan)


def scan(
    sources: SourcesArgument = None,
    listed: FromOption = None,
    modalities: Annotated[
        str | None, typer.Option("--modalities", help="Comma-separated, such as CR,DX, or all.  [default: CR,DX,RG]")
    ] = None,
    regions: Annotated[Path | None, typer.Option("--regions", help="TOML file with more names of regions.")] = None,
    frames: Annotated[str | None, typer.Option("--frames", help="reject, first or all.  [default: reject]")] = None,
    workers: WorkersOption = None,
    dataset: DatasetOption = None,
    private: PrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read the headers of all files into the private table beside the dataset; no pixel is read.

    What was scanned before and has not changed is not read again.
    """
    from radio_cli.build_options import make_config
    from radio_cli.console import ConsoleProgress, as_object, emit_json, note, print_counts, print_rejects
    from radio_io.sharding.build import scan as scan_dataset

    config = make_config(
        sources,
        dataset,
        private=private,
        listed=listed,
        modalities=modalities,
        regions=regions,
        frames=frames,
        workers=workers,
    )
    if dry_run:
        place = config.dataset_url or config.dataset
        note(f"would scan {len(config.sources)} sources into the private folder of {place}; nothing was written")
        return
    summary = scan_dataset(config, ConsoleProgress(quiet=as_json))
    if as_json:
        emit_json(as_object(summary))
        return
    typer.echo(f"{summary.found:,} files, {summary.images:,} of them images to build")
    print_rejects("Rejected by their header", summary.rejects)
    print_counts("Regions", "region", summary.regions)
    title = "Names of regions that are not known; map them with --regions FILE (only those of 10 patients and more)"
    print_counts(title, "name", summary.unmapped_regions)
