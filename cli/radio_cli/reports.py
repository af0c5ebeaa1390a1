"""`radio labels from-reports`: labels from what radiology reports plainly say."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.labels import Identifier, TaskOption
from radio_cli.options import DatasetOption, DryRunOption, JsonOption, PrivateOption

EXAMPLE = (
    "Example: radio labels from-reports reports.csv --rules fracture --id-column AccessionNumber --text-column report "
    "--task fracture_reports"
)


def register(app: typer.Typer) -> None:
    """Add the command to `radio labels`."""
    app.command("from-reports", epilog=EXAMPLE)(from_reports)


def from_reports(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV files of reports with a head line.")],
    id_column: Annotated[Identifier, typer.Option("--id-column", help="The column that names images, and by what.")],
    text_column: Annotated[str, typer.Option("--text-column", help="The column with the text.")],
    task: TaskOption,
    rules: Annotated[str, typer.Option("--rules", help="fracture, foreign_material or a TOML file.")] = "fracture",
    sample: Annotated[
        int, typer.Option("--sample", min=0, help="Reports to check, written into the private folder.")
    ] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses the sample.")] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the labels that the task has.")] = False,
    dataset: DatasetOption = None,
    private: PrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label images by what their reports plainly say, in German or English.

    Doubt, history, questions and plans decide nothing. The text stays in your file and in the sample.
    """
    from radio_cli.console import emit_json, note
    from radio_cli.project import changeable_dataset
    from radio_io.labels.identifiers import IdColumn
    from radio_io.labels.report_rules import load_rules
    from radio_io.labels.reports import labels_from_reports

    summary = labels_from_reports(
        changeable_dataset(dataset, private),
        files,
        load_rules(rules),
        id_column=IdColumn(id_column.value),
        text_column=text_column,
        task=task,
        sample=sample,
        seed=seed,
        replace=replace,
        dry_run=dry_run,
    )
    if as_json:
        emit_json(summary)
        return
    typer.echo(
        f"{summary.reports:,} reports: {summary.present:,} say present, {summary.absent:,} absent, {summary.unsure:,} "
        f"neither for sure, {summary.without_mention:,} without a mention\n"
        f"{summary.labels.images:,} images have a label of task {summary.labels.task}; {summary.labels.unmatched:,} "
        f"reports have no image, {summary.labels.conflicting:,} contradict, {summary.labels.ambiguous:,} are ambiguous"
    )
    if summary.sample:
        note(f"check the sample before training on these labels (it holds reports, keep it private): {summary.sample}")
    if dry_run:
        note("dry run: nothing was written")
