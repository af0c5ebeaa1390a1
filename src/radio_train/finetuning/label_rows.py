"""Labels by key: from the index, or from a file.

Comes in: a dataset and the name of a task, or a CSV or Parquet file with the columns `key` and `label`. Goes out:
`LabelRow`s. Refuses an unknown task and a file without these columns; never repeats what a file holds, since it may be
one with original identifiers.
"""

import csv
import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from radio_io.errors import DatasetError, UsageError
from radio_io.index.catalog import open_index

KEY = re.compile(r"[0-9a-f]{32}")
COLUMNS = ("key", "label")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRow:
    """A label of an image."""

    key: str
    label: str


def rows_from_index(dataset: Path, task: str) -> list[LabelRow]:
    """The labels of a task in the index.

    Raises:
        DatasetError: The index has no such task.
    """
    with open_index(dataset) as connection:
        found = connection.execute("SELECT DISTINCT key, label FROM labels WHERE task = ? ORDER BY 1, 2", [task])
        rows = [LabelRow(key=key, label=label) for key, label in found.fetchall()]
        tasks = connection.execute("SELECT DISTINCT task FROM labels ORDER BY 1").fetchall()
    if not rows:
        known = ["region", *(name for (name,) in tasks)]
        close = difflib.get_close_matches(task, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        raise DatasetError(
            f"the dataset has no labels of task {task!r}; {hint}; import labels with: radio labels import FILE.csv "
            f"--task {task}"
        )
    return rows


def rows_from_file(path: Path) -> list[LabelRow]:
    """The labels in a CSV or Parquet file; rows without a label are left out.

    Raises:
        UsageError: It cannot be read, lacks a column, or its keys are none.
    """
    pairs = _parquet_pairs(path) if path.suffix == ".parquet" else _csv_pairs(path)
    rows = [LabelRow(key=key.strip(), label=label.strip()) for key, label in pairs if label.strip()]
    if not rows:
        raise UsageError(f"{path.name} holds no label; expected rows with the columns key and label")
    wrong = sum(KEY.fullmatch(row.key) is None for row in rows)
    if wrong:
        raise UsageError(
            f"{wrong:,} of {len(rows):,} keys in {path.name} are none; expected 32 hex digits as `radio query --keys` "
            "prints; a table with original identifiers is imported with: radio labels import"
        )
    return rows


def _csv_pairs(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _require_columns(path, list(reader.fieldnames or ()))
            return [(row["key"] or "", row["label"] or "") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from None


def _parquet_pairs(path: Path) -> list[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _require_columns(path, list(file.schema_arrow.names))
            table = file.read(columns=list(COLUMNS))
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
    return [(str(row["key"] or ""), "" if row["label"] is None else str(row["label"])) for row in table.to_pylist()]


def _require_columns(path: Path, found: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise UsageError(
            f"{path.name} lacks the column {missing[0]}; expected a table with the columns key and label, "
            f"found {len(found)} columns"
        )


def _unreadable(path: Path, error: Exception) -> UsageError:
    return UsageError(f"cannot read labels from {path.name}: {type(error).__name__}; expected CSV (UTF-8) or Parquet")
