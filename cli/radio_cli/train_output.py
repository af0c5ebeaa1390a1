"""How a training run shows itself: a line that changes on a terminal, a line now and then elsewhere."""

import sys
import time
from pathlib import Path

import typer

from radio_cli.console import format_duration
from radio_io.errors import UsageError
from radio_train.run_log import StepMetrics

INTERVAL_S = 5.0


class StepLine:
    """Shows loss, speed, waiting and time left of each step on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._shown_s = 0.0

    def __call__(self, metrics: StepMetrics) -> None:
        """Show a step."""
        last = metrics.step + 1 >= metrics.total_steps
        if self._quiet or (not self._live and not last and time.monotonic() - self._shown_s < INTERVAL_S):
            return
        self._shown_s = time.monotonic()
        left_s = (metrics.total_steps - metrics.step - 1) * metrics.seconds
        text = (
            f"step {metrics.step + 1}/{metrics.total_steps}  epoch {metrics.epoch}  loss {metrics.loss:.4f}  "
            f"{metrics.images_per_s:.1f} images/s  {metrics.tokens_per_s:,.0f} tokens/s  "
            f"data wait {metrics.data_wait:.1%}  {format_duration(left_s)} left"
        )
        typer.echo(f"\r\033[K{text}" if self._live else text, nl=last or not self._live, err=True)


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
