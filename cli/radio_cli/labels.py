"""`radio labels`: labels for training tasks, joined by pseudonym."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption, PrivateOption

app = typer.Typer(help="Attach labels to images by their original identifiers.", no_args_is_help=True)


class Identifier(StrEnum):
    """The columns that labels are joined by."""

    SOP_INSTANCE_UID = "SOPInstanceUID"
    STUDY_INSTANCE_UID = "StudyInstanceUID"
    ACCESSION_NUMBER = "AccessionNumber"
    PATIENT_ID = "PatientID"


TaskOption = Annotated[str, typer.Option("--task", help="Name of the training task, such as fracture.")]


@app.command(
    "import",
    epilog="Example: radio labels import labels.csv --id-column SOPInstanceUID --task fracture --label-column fracture",
)
def import_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files with a head line.")],
    id_column: Annotated[Identifier, typer.Option("--id-column", help="The column that names images, and by what.")],
    task: TaskOption,
    label_column: Annotated[str, typer.Option("--label-column", help="The column with the labels.")],
    unsure: Annotated[
        list[str] | None,
        typer.Option("--unsure", help="A label that counts as none; may be repeated. Default: Unsure."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the labels that the task has.")] = False,
    dataset: DatasetOption = None,
    private: PrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import labels from CSV files; identifiers become pseudonyms and are not stored.

    Lines that match no image, contradict each other, are empty or unsure are counted and left out.
    """
    from radio_cli.console import emit_json, note, print_counts
    from radio_cli.project import changeable_dataset
    from radio_io.labels.identifiers import IdColumn
    from radio_io.labels.import_labels import UNSURE, import_labels

    summary = import_labels(
        changeable_dataset(dataset, private),
        files,
        id_column=IdColumn(id_column.value),
        label_column=label_column,
        task=task,
        unsure=frozenset(unsure) if unsure else UNSURE,
        replace=replace,
        dry_run=dry_run,
    )
    if as_json:
        emit_json(summary)
        return
    typer.echo(
        f"{summary.lines:,} lines: {summary.used:,} used, {summary.unmatched:,} without an image, "
        f"{summary.conflicting:,} contradicting, {summary.ambiguous:,} ambiguous, {summary.unsure:,} unsure, "
        f"{summary.empty:,} empty\n"
        f"{summary.images:,} images have a label of task {summary.task}; {summary.conflicting_images:,} got none "
        "because of contradictions"
    )
    print_counts("Labels", "label", summary.labels)
    if dry_run:
        note("dry run: nothing was written")


@app.command("list", epilog="Example: radio labels list --json")
def list_command(dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """List tasks and labels with their numbers of images."""
    from radio_cli.project import readable_dataset
    from radio_io.index.query import Request, run_query

    sql = "SELECT task, label, count(*) AS images FROM labels GROUP BY task, label ORDER BY task, label"
    run_query(readable_dataset(dataset), Request(sql=sql), "json" if as_json else "table", None)


@app.command(epilog="Example: radio labels remove --task fracture")
def remove(
    task: TaskOption,
    dataset: DatasetOption = None,
    private: PrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take the labels of a task out of the dataset."""
    from radio_cli.console import emit_json
    from radio_cli.project import changeable_dataset, readable_dataset
    from radio_io.labels.import_labels import remove_task
    from radio_io.labels.store import load_labels

    if dry_run:
        count = len(load_labels(readable_dataset(dataset), task))
    else:
        count = remove_task(changeable_dataset(dataset, private), task)
    if as_json:
        emit_json({"task": task, "images": count, "removed": not dry_run})
    else:
        typer.echo(f"{'would remove' if dry_run else 'removed'} the labels of {count:,} images of task {task}")
