"""How fine-tuning shows itself: a line an epoch, tables at the end."""

import sys
import time

import typer

from radio_cli.console import print_table
from radio_train.evaluation.bootstrap import Interval
from radio_train.finetuning.member import Member
from radio_train.finetuning.member_files import EpochMetrics
from radio_train.finetuning.run import FinetuneSummary

INTERVAL_S = 5.0


class EpochLine:
    """Shows each epoch on stderr: a changing line on a terminal, a line now and then elsewhere."""

    def __init__(self, *, quiet: bool, title: str = "") -> None:
        self._quiet, self._title = quiet, title
        self._live = sys.stderr.isatty()
        self._shown_s = 0.0

    def __call__(self, member: Member, metrics: EpochMetrics) -> None:
        """Show an epoch."""
        if self._quiet or (not self._live and time.monotonic() - self._shown_s < INTERVAL_S):
            return
        self._shown_s = time.monotonic()
        text = (
            f"{self._title}labels {member.fraction:g}  seed {member.seed}  rate {member.rate:g}  epoch "
            f"{metrics.epoch + 1}  loss {metrics.loss:.4f}  validation: loss {metrics.validation_loss:.4f}, balanced "
            f"accuracy {metrics.balanced_accuracy:.3f}"
        )
        typer.echo(f"\r\033[K{text}" if self._live else text, nl=not self._live, err=True)


class CompareLine:
    """An `EpochLine` a task and initialisation."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def begin(self, task: str, init: str) -> EpochLine:
        """The line of one run."""
        return EpochLine(quiet=self._quiet, title=f"{task} from {init}: ")


def percent(interval: Interval) -> str:
    """A share with its interval.

    Example:
        >>> percent(Interval(value=0.7357, low=0.701, high=0.77))
        '73.6 % [70.1, 77.0]'
    """
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def print_finetune_summary(summary: FinetuneSummary) -> None:
    """Splits, swept rates and the metrics of the test images on stdout."""
    splits = list(summary.images)
    rows = [[name, *(f"{summary.images[split][name]:,}" for split in splits)] for name in summary.classes]
    print_table(f"Images of task {summary.task}", ["class", *splits], rows)
    for reason, count in summary.left_out.items():
        typer.echo(f"left out: {count:,} ({reason})", err=True)
    if summary.sweep:
        swept = [
            [f"{each.rate:g}", f"{100 * each.balanced_accuracy:.1f} %", str(each.best_epoch + 1)]
            for each in summary.sweep
        ]
        print_table("Learning rates, a few epochs each", ["rate", "balanced validation accuracy", "best epoch"], swept)
    rows = [
        [
            f"{each.fraction:g}",
            f"{each.training_images:,}",
            percent(each.metrics["balanced_accuracy"]),
            percent(each.metrics["accuracy"]),
            percent(each.metrics["auroc"]),
        ]
        for each in summary.results
    ]
    seeds = len(summary.results[0].seeds)
    title = f"Test images, {seeds} seed{'s' if seeds > 1 else ''}, rate {summary.rate:g}, 95 % intervals"
    print_table(title, ["labels", "images", "balanced accuracy", "accuracy", "AUROC"], rows)
    typer.echo(f"run in {summary.run}; more with: radio train evaluate {summary.run}")
