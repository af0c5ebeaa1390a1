"""Labels from radiology reports, for images that nobody has labelled.

Comes in: a table of reports with original identifiers, rules. Goes out: labels of a task under pseudonyms, counts, a
random sample of reports with what was read in them, in the private folder, to be checked by a person. Only plain
statements become labels. The text of a report is written nowhere else, and no message repeats it. Refuses what
`import_labels` refuses.

Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), section 5.3 (labels from reports as future work).
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radio_io import atomic
from radio_io.labels.csv_file import LabelLine, read_label_lines
from radio_io.labels.identifiers import IdColumn, image_lookup, open_dataset_key
from radio_io.labels.import_labels import LabelImport, match_labels, store_labels
from radio_io.labels.report_rules import ReportRules, Statement, Verdict, read_report
from radio_io.layout import DatasetLayout

SAMPLE_COLUMNS = ("file", "line", "read_as", "deciding_sentence", "report", "correct")
UNSURE = "unsure"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportLabels:
    """What was read in the reports, what became of it, and where the sample to check lies."""

    rules: str
    reports: int
    present: int
    absent: int
    unsure: int
    without_mention: int
    labels: LabelImport
    sample: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A report and what it says."""

    file: str
    line: int
    identifier: str
    text: str
    verdict: Verdict


def labels_from_reports(
    root: Path,
    files: Sequence[Path],
    rules: ReportRules,
    *,
    id_column: IdColumn,
    text_column: str,
    task: str,
    sample: int = 50,
    seed: int = 0,
    replace: bool = False,
    dry_run: bool = False,
) -> ReportLabels:
    """Read reports and store the labels that they plainly state.

    Raises:
        UsageError: A column is missing, the task is there already, or no report matches an image.
        KeyFileError: The key is missing or not the dataset's.
        DatasetError: There is no dataset.
    """
    lookup = image_lookup(root, open_dataset_key(root), id_column)
    read = [
        _Read(
            file=file.name,
            line=number,
            identifier=line.identifier,
            text=line.label,
            verdict=read_report(rules, line.label),
        )
        for file in files
        for number, line in enumerate(read_label_lines(file, id_column.value, text_column), start=1)
    ]
    lines = [LabelLine(each.identifier, _label(rules, each.verdict.statement)) for each in read]
    summary, labels = match_labels(task, lines, lookup, frozenset({UNSURE}))
    written: Path | None = None
    if not dry_run:
        store_labels(root, task, labels, replace=replace)
        written = _write_sample(DatasetLayout(root), task, read, sample, seed) if sample else None
    counts = {statement: sum(each.verdict.statement is statement for each in read) for statement in Statement}
    return ReportLabels(
        rules=rules.name,
        reports=len(read),
        present=counts[Statement.PRESENT],
        absent=counts[Statement.ABSENT],
        unsure=counts[Statement.UNSURE],
        without_mention=counts[Statement.NOTHING],
        labels=summary,
        sample=None if written is None else str(written),
    )


def _label(rules: ReportRules, statement: Statement) -> str:
    """The label of a plain statement; one that is left out of everything else."""
    if statement is Statement.UNSURE:
        return UNSURE
    return rules.labels.get(statement, "")


def _write_sample(layout: DatasetLayout, task: str, read: Sequence[_Read], count: int, seed: int) -> Path:
    """Half of the sample says present, half absent, where there are as many; readable by the owner alone."""

    def order(each: _Read) -> bytes:
        return hashlib.sha256(f"radio-report-sample-v1 {seed} {each.file} {each.line}".encode()).digest()

    chosen: list[_Read] = []
    for statement in (Statement.PRESENT, Statement.ABSENT):
        of_statement = sorted((each for each in read if each.verdict.statement is statement), key=order)
        chosen += of_statement[: -(-count // 2)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(SAMPLE_COLUMNS)
    for each in sorted(chosen, key=order):
        verdict = each.verdict
        writer.writerow([each.file, each.line, verdict.statement.value, verdict.sentence, each.text, ""])
    path = layout.report_samples / f"{task}.csv"
    atomic.make_folder(path.parent, mode=0o700)
    atomic.write_file(path, buffer.getvalue().encode(), mode=0o600)
    return path
