"""`radio synth`: a synthetic PACS export."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("synth", epilog="Example: radio synth export --images 200 --scale 0.1 --labels")(synth)


def synth(
    out: Annotated[Path, typer.Argument(help="Folder to write; must be missing or empty.")],
    images: Annotated[int, typer.Option(min=1, help="Number of radiographs.")] = 200,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    scale: Annotated[
        float, typer.Option(min=0.02, max=1.0, help="Size factor; 0.1 gives about 200 x 150 pixels.")
    ] = 1.0,
    labels: Annotated[bool, typer.Option("--labels", help="Also write the ground truth as a CSV beside OUT.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one a core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written; write nothing.")] = False,
) -> None:
    """Write a synthetic PACS export: phantoms of the 14 regions with the faults that real exports have.

    Every file is marked as synthetic in its header. Nothing in it comes from a patient.
    """
    from radio_cli.console import ConsoleProgress, as_object, emit_json, format_size, note
    from radio_io.executors import default_workers
    from radio_io.synth import write_export

    if dry_run:
        note(f"would write about {images} radiographs, seed {seed}, scale {scale} to {out}; nothing was written")
        return
    summary = write_export(
        out,
        images=images,
        seed=seed,
        scale=scale,
        labels=labels,
        workers=workers or default_workers(),
        progress=ConsoleProgress(quiet=as_json),
    )
    if as_json:
        emit_json(as_object(summary))
        return
    typer.echo(f"{summary.files} files, {summary.images} radiographs, {format_size(summary.size_bytes)} in {out}")
