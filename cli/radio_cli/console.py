"""How commands talk: results to stdout, progress and notes to stderr, JSON where asked for.

Comes in: values of the library. Goes out: text. Nothing here computes.
"""

import json
import os
import sys
import time
from dataclasses import asdict, is_dataclass
from typing import Any, cast

import typer

PLAIN_INTERVAL_S = 10.0
PIPE_WIDTH = 1000


def emit_json(value: object) -> None:
    """Print a dataclass, dict or list as one JSON document on stdout."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def note(message: str) -> None:
    """Print a remark on stderr."""
    typer.echo(message, err=True)


def format_size(size_bytes: float) -> str:
    """A size in the largest fitting decimal unit.

    Example:
        >>> format_size(1_520_000)
        '1.52 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size_bytes) < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def format_duration(seconds: float) -> str:
    """A duration as h:mm:ss or m:ss.

    Example:
        >>> format_duration(3725)
        '1:02:05'
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table on stdout; the first column is text, the others are numbers."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right")
    for row in rows:
        table.add_row(*row)
    # Who reads a pipe wants whole cells: rich would cut a table to 80 columns there.
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH
    Console(width=width).print(table)


def print_counts(title: str, name: str, counts: dict[str, int]) -> None:
    """Print counts by name, largest first; nothing where there is none."""
    if counts:
        rows = [[key, f"{count:,}"] for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        print_table(title, [name, "count"], rows)


OPTION_FOR_REASON = {
    "WRONG_MODALITY": "--modalities all, or a list such as CR,DX,RG,MG",
    "MULTI_FRAME": "--frames first or --frames all",
    "BURNED_IN_ANNOTATION": "--allow-burned-in, or --mask-text to blank the text",
}


def print_rejects(title: str, rejects: dict[str, int]) -> None:
    """Print rejects by reason, and the options that take such files."""
    print_counts(title, "reason", rejects)
    for reason, option in OPTION_FOR_REASON.items():
        if reason in rejects:
            note(
                f"{reason}: radio shard build takes them with {option}; add --retry {reason}, since they are known now"
            )


class ConsoleProgress:
    """A `Progress` with a bar, rate and time left on a terminal, and a line now and then elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._stage, self._unit, self._total = "", "", None
        self._count = self._size_bytes = 0
        self._started_s = self._printed_s = 0.0

    def start(self, stage: str, *, total: int | None, unit: str) -> None:
        """Begin a stage."""
        self.finish()
        self._stage, self._unit, self._total = stage, unit, total
        self._count = self._size_bytes = 0
        self._started_s = self._printed_s = time.monotonic()
        if self._quiet or not sys.stderr.isatty():
            return
        from rich import progress
        from rich.console import Console

        columns: list[str | progress.ProgressColumn] = [
            progress.TextColumn("{task.description:<10}"),
            progress.BarColumn(bar_width=None),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
        ]
        self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=False)
        self._task = self._bar.add_task(stage, total=total, rate="")
        self._bar.start()

    def advance(self, count: int = 1, *, size_bytes: int = 0) -> None:
        """Count finished units."""
        self._count += count
        self._size_bytes += size_bytes
        if self._bar is not None:
            self._bar.update(self._task, advance=count, rate=self._rate())
        elif not self._quiet and time.monotonic() - self._printed_s >= PLAIN_INTERVAL_S:
            self._printed_s = time.monotonic()
            note(f"{self._stage}: {self._state()}")

    def finish(self) -> None:
        """End the stage with one line that says what was done."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        elif self._stage and not self._quiet:
            note(f"{self._stage}: {self._state()}")
        self._stage = ""

    def _rate(self) -> str:
        elapsed_s = max(time.monotonic() - self._started_s, 1e-3)
        rate = f"{self._count / elapsed_s:,.1f} {self._unit}/s"
        return f"{rate}, {format_size(self._size_bytes / elapsed_s)}/s" if self._size_bytes else rate

    def _state(self) -> str:
        if not self._total and not self._count:
            return f"no new {self._unit}" if self._total is None else f"no {self._unit}"
        elapsed_s = time.monotonic() - self._started_s
        text = f"{self._count:,}" + (f" of {self._total:,}" if self._total is not None else "")
        text += f" {self._unit}, {self._rate()}"
        if self._total is not None and 0 < self._count < self._total:
            text += f", {format_duration(elapsed_s / self._count * (self._total - self._count))} left"
        return text


def parse_size(text: str) -> int:
    """Bytes from `2MB`, `1GB`, `500k` or a plain number.

    Raises:
        typer.BadParameter: The text is no size.
    """
    factors = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
    number = text.strip().lower().removesuffix("b")
    unit = number[-1:] if number[-1:] in ("k", "m", "g", "t") else ""
    try:
        size_bytes = int(float(number.removesuffix(unit)) * factors[unit])
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no size; give for example 2MB, 1GB or 500000") from None
    if size_bytes <= 0:
        raise typer.BadParameter(f"{text!r}: a size must be above 0")
    return size_bytes


def as_object(value: object) -> dict[str, Any]:
    """A dataclass as a dict, for JSON output that adds to it."""
    return asdict(cast("Any", value))
