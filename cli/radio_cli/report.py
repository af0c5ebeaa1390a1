"""`radio report`: a dataset on one page."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("report", epilog="Example: radio report --out report.html --run runs/mae")(report)


def report(
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("report.html"),
    run: Annotated[Path | None, typer.Option("--run", help="Also show this training run.")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Leave the small pictures out.")] = False,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page about a dataset: counts, rejects, regions, sizes, bins, devices, and what to look at."""
    from radio_cli.console import as_object, emit_json, note
    from radio_cli.project import dataset_root
    from radio_io.reporting.report import write_report
    from radio_train.report_costs import training_costs

    root = dataset_root(dataset)
    if dry_run:
        note(f"would write a report of {root} to {out}; nothing was written")
        return
    facts = write_report(root, out, pictures=not no_images, run=run, costs=training_costs)
    if as_json:
        emit_json(as_object(facts))
        return
    typer.echo(f"{facts.out}: {facts.images:,} images, {facts.pictures} pictures, {facts.size_bytes / 1e6:.1f} MB")
