"""How a training run shows itself: a line that changes on a terminal, a line now and then elsewhere."""

import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from radio_cli.console import as_object, emit_json, format_duration, note
from radio_io.errors import UsageError

if TYPE_CHECKING:
    from radio_train.pretrain import PretrainSummary
    from radio_train.run_log import StepMetrics

INTERVAL_S = 5.0


class StepLine:
    """Shows loss, speed, waiting and time left of each step on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._shown_s = 0.0
        self._seconds: deque[float] = deque(maxlen=20)

    def __call__(self, metrics: "StepMetrics") -> None:
        """Show a step."""
        last = metrics.step + 1 >= metrics.total_steps
        self._seconds.append(metrics.seconds)
        if self._quiet or (not self._live and not last and time.monotonic() - self._shown_s < INTERVAL_S):
            return
        self._shown_s = time.monotonic()
        # The mean of some steps: single ones differ with the sizes of their images.
        left_s = (metrics.total_steps - metrics.step - 1) * sum(self._seconds) / len(self._seconds)
        text = (
            f"step {metrics.step + 1}/{metrics.total_steps}  epoch {metrics.epoch}  loss {metrics.loss:.4f}  "
            f"{metrics.images_per_s:.1f} images/s  {metrics.tokens_per_s:,.0f} tokens/s  "
            f"data wait {metrics.data_wait:.1%}  MFU {metrics.mfu:.1%}{_dropped(metrics)}  "
            f"{format_duration(left_s)} left"
        )
        typer.echo(f"\r\033[K{text}" if self._live else text, nl=last or not self._live, err=True)

    def note(self, text: str) -> None:
        """Print a remark on a line of its own."""
        if not self._quiet:
            typer.echo(f"\r\033[K{text}" if self._live else text, err=True)


def _dropped(metrics: "StepMetrics") -> str:
    share = metrics.dropped / max(1, metrics.tokens + metrics.dropped)
    return f"  background {share:.1%} dropped" if metrics.dropped else ""


def show_summary(summary: "PretrainSummary", *, as_json: bool) -> None:
    """Print what came of a run."""
    if as_json:
        emit_json(as_object(summary))
        return
    shown = {"first": summary.first_loss, "last": summary.last_loss, "validation": summary.validation_loss}
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in shown.items() if loss is not None)
    typer.echo(
        f"{summary.steps} steps, {summary.epochs:.1f} epochs, loss: {losses}\n{summary.images_per_s:.1f} images/s, "
        f"waited for data {summary.data_wait:.1%} of the time, MFU {summary.mfu:.1%}, "
        f"{format_duration(summary.elapsed_s)}, run in {summary.run}"
    )
    if summary.dropped:
        typer.echo(f"dropping background saved {summary.dropped:.1%} of the tokens")
    if summary.stopped_early:
        note(f"stopped early; go on with the same command and --resume --run {summary.run}")


def parse_rates(text: str) -> tuple[float, ...]:
    """Learning rates from `3e-3,1e-3`.

    Raises:
        UsageError: One is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--rates {text!r}: expected numbers separated by commas, such as 3e-3,1e-3") from None


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys in a file, one a line.

    Raises:
        UsageError: The file cannot be read or holds no key.
    """
    try:
        keys = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read keys from {path}: {type(error).__name__}") from None
    if not keys:
        raise UsageError(
            f"{path} holds no key; write one a line, for example with: radio query ... --keys --out {path}"
        )
    return keys
