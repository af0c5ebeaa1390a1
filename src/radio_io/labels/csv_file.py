"""Reads identifiers and labels from a table of text.

Comes in: a CSV file with a head line, separated by commas, semicolons or tabs, in UTF-8 or Latin-1. Goes out: pairs of
identifier and label as they stand there. Refuses a file without the named columns or with lines of another length.
Errors name columns that were asked for and numbers of lines, never what stands in the file.
"""

import csv
import difflib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from radio_io.errors import StorageError, UsageError

MAX_FILE_BYTES = 2 << 30
SEPARATORS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One line: the identifier of an image, study, order or patient, and its label."""

    identifier: str
    label: str


def read_label_lines(path: Path, id_column: str, label_column: str) -> Iterator[LabelLine]:
    """The lines of a file, in their order.

    Raises:
        UsageError: A column is missing or named twice, or a line has another number of columns than the head line.
        StorageError: The file cannot be read.
    """
    text = _text(path)
    head = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names = [name.strip() for name in next(reader, [])]
    places = [_place(names, column, path) for column in (id_column, label_column)]
    try:
        for line in reader:
            if not line:
                continue
            if len(line) != len(names):
                raise UsageError(
                    f"{path.name}, line {reader.line_num}: {len(line)} columns, the head line has {len(names)}; "
                    "quote texts that contain the separator"
                )
            yield LabelLine(line[places[0]].strip(), line[places[1]].strip())
    except csv.Error as error:
        raise UsageError(f"{path.name}, line {reader.line_num}: not readable as CSV ({error}); correct it") from None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path.name} has more than {MAX_FILE_BYTES >> 30} GiB; split it")
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the label file {path.name}: {error.strerror}; check the path") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _place(names: list[str], wanted: str, path: Path) -> int:
    folded = [name.casefold() for name in names]
    found = folded.count(wanted.casefold())
    if found == 1:
        return folded.index(wanted.casefold())
    if found > 1:
        raise UsageError(f"{path.name}: {found} columns are called {wanted}; rename all but one")
    close = difflib.get_close_matches(wanted.casefold(), folded, 1)
    hint = f"did you mean {names[folded.index(close[0])]}?" if close else "the first line must hold the names"
    raise UsageError(f"{path.name}: none of the {len(names)} columns is called {wanted}; {hint}")
