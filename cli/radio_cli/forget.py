"""`radio forget`: withdraw patients and studies from a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption, PrivateOption

if TYPE_CHECKING:
    from radio_io.sharding.forget import ForgetSummary


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("forget", epilog="Example: radio forget --from withdrawn.csv --runs runs")(forget)


def forget(
    patient: Annotated[
        list[str] | None, typer.Option("--patient", help="PatientID to withdraw; may be repeated.")
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option("--study", help="StudyInstanceUID to withdraw; may be repeated.")
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="CSV with a column PatientID or StudyInstanceUID; or one PatientID a line."),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option("--issuer", help="Only this IssuerOfPatientID. Default: whatever the issuer.")
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder with training runs to look through.")] = Path("runs"),
    cache: Annotated[
        list[Path] | None,
        typer.Option(
            "--cache", help="Cache folder of training to clear of them, beside those of the runs; repeatable."
        ),
    ] = None,
    dataset: DatasetOption = None,
    private: PrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take the images of withdrawn patients or studies out of shards, labels and index, and keep them out.

    Interrupted, the next call completes it. Lists the training runs that saw the images; copies of the dataset made
    before still hold them.
    """
    from radio_cli.console import ConsoleProgress, as_object, emit_json, note
    from radio_cli.project import changeable_dataset, readable_dataset
    from radio_io.labels.identifiers import open_dataset_key
    from radio_io.sharding.forget import forget as forget_images
    from radio_io.sharding.forget_request import ForgetRequest, read_request, tombstones_for

    root = changeable_dataset(dataset, private)
    listed = read_request(from_file) if from_file is not None else ForgetRequest()
    request = ForgetRequest(
        patients=(*(patient or ()), *listed.patients), studies=(*(study or ()), *listed.studies), issuer=issuer
    )
    withdrawn = tombstones_for(request, open_dataset_key(root))

    def find_runs(keys: frozenset[str]) -> list[dict[str, Any]]:
        from radio_train.seen import runs_that_saw

        return [as_object(each) for each in runs_that_saw(runs, readable_dataset(dataset), keys)]

    progress = ConsoleProgress(quiet=as_json)
    looked_through = find_runs if runs.is_dir() else None
    summary = forget_images(
        root, withdrawn, progress, find_runs=looked_through, caches=tuple(cache or ()), dry_run=dry_run
    )
    if as_json:
        emit_json(as_object(summary))
        return
    _show(summary, dry_run=dry_run)
    if summary.images and not summary.runs:
        note(
            f"no run in {runs} saw them; other folders: --runs" if looked_through else f"no folder {runs}: give --runs"
        )
    if not summary.images:
        note("the dataset has no image of them; a later build will leave them out")


def _show(summary: "ForgetSummary", *, dry_run: bool) -> None:
    verb = "would take" if dry_run else "took"
    typer.echo(
        f"{verb} {summary.images:,} images and {summary.labels:,} labels out of {summary.shards:,} shards, "
        f"{summary.cached:,} entries out of caches"
    )
    for each in summary.runs:
        typer.echo(
            f"run {each['run']} saw {each['trained_images']:,} of them in {each['trained_steps']:,} of its steps"
            f"{'' if each['certain'] else ' (the dataset has changed since: not certain)'}, "
            f"{each['validated_images']:,} in validation"
            f"{', and read copies of the shards elsewhere' if each['store'] else ''}"
        )
