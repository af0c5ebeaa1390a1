"""`radio shard verify`: every byte checked, and with --repair mended."""

from typing import Annotated

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption, PrivateOption, WorkersOption


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("verify", epilog="Example: radio shard verify --repair --dry-run")(verify)


def verify(
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes and records; read no image.")] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Make again what is broken, from the other files or the DICOM sources."),
    ] = False,
    workers: WorkersOption = None,
    dataset: DatasetOption = None,
    private: PrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check every byte: shards against their records, records against the index, and every image's pixels.

    With --repair, files that are replaced are kept in quarantine/ of the private folder, and what cannot be made again
    is named with what to do. --dry-run says what --repair would do.
    """
    from radio_cli.console import ConsoleProgress, as_object, emit_json, format_size
    from radio_cli.project import changeable_dataset, verifiable_dataset
    from radio_io.config import BuildConfig
    from radio_io.errors import UsageError
    from radio_io.executors import default_workers
    from radio_io.sharding.repair import repair_dataset
    from radio_io.sharding.verify import verify_dataset

    if dry_run and not repair:
        raise UsageError("--dry-run belongs to --repair; verify alone writes nothing")
    root = changeable_dataset(dataset, private, as_it_is=True) if repair else verifiable_dataset(dataset)
    progress, processes = ConsoleProgress(quiet=as_json), workers or default_workers()
    if repair:
        config = BuildConfig(dataset=root, workers=processes)
        report = repair_dataset(root, progress, config=config, workers=processes, quick=quick, dry_run=dry_run)
        lines = [f"{'WOULD MEND' if dry_run else 'MENDED'} {each}" for each in report.done]
        lines += [f"LOST {each}" for each in report.lost]
    else:
        report, lines = verify_dataset(root, progress, workers=processes, quick=quick), []
    if as_json:
        emit_json(as_object(report))
    else:
        for line in (*lines, *(f"FAULT {fault}" for fault in report.faults)):
            typer.echo(line)
        verdict = f"{len(report.faults)} faults" if report.faults else "all good"
        typer.echo(f"{report.shards} shards, {report.images:,} images, {format_size(report.size_bytes)}: {verdict}")
    if report.faults:
        raise typer.Exit(1)
