"""`metrics.jsonl`: one object a step, kept consistent when a run is resumed.

Comes in: `StepMetrics`. Goes out: lines. Lines of steps that a killed run did after its last checkpoint are removed
when the run is resumed, since these steps are done again.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from radio_io import atomic


@dataclass(frozen=True, kw_only=True, slots=True)
class StepMetrics:
    """One optimizer update.

    `step` counts from 0 over the run, `epoch_step` in the epoch. `images`, `tokens` and rates are those of all ranks,
    `dropped` the tokens of background that were left out. `data_wait` is a share of `seconds`, `mfu` the model FLOPs
    utilisation. `images_digest` is the sum of the keys of the step's images: equal digests mean equal images, whatever
    the ranks and packs.
    """

    step: int
    epoch: int
    epoch_step: int
    total_steps: int
    loss: float
    lr: float
    grad_norm: float
    images: int
    tokens: int
    seconds: float
    images_per_s: float
    tokens_per_s: float
    data_wait: float
    mfu: float = 0.0
    ranks: int = 1
    images_digest: str = ""
    dropped: int = 0


@dataclass(kw_only=True, slots=True)
class RunSums:
    """All steps of a run together; `busy_s` are the seconds that the device would need at its peak."""

    images: int = 0
    tokens: int = 0
    dropped: int = 0
    seconds: float = 0.0
    wait_s: float = 0.0
    busy_s: float = 0.0
    first_loss: float | None = None
    last_loss: float | None = None


def dropped_share(tokens: int, dropped: int) -> float:
    """The share of all tokens that dropping background saved.

    Example:
        >>> dropped_share(60, 40)
        0.4
    """
    return dropped / max(1, tokens + dropped)


class RunLog:
    """Appends to the metrics of a run and sums up all its steps, those before a resume included."""

    def __init__(self, run: Path, *, first_step: int, first_epoch: int = 0) -> None:
        self._path = run / "metrics.jsonl"
        self._validation_path = run / "validation.jsonl"
        self.sums = RunSums()
        self._keep_before(first_step)
        self._keep_epochs_before(first_epoch)
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, metrics: StepMetrics) -> None:
        """Add a step."""
        self._add(metrics)
        self._line(asdict(metrics))

    def write_validation(self, epoch: int, loss: float) -> None:
        """Add the validation loss after an epoch to a file of its own."""
        with self._validation_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, "validation_loss": loss}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _line(self, values: dict[str, object]) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()

    def _add(self, metrics: StepMetrics) -> None:
        sums = self.sums
        sums.first_loss = metrics.loss if sums.first_loss is None else sums.first_loss
        sums.last_loss = metrics.loss
        sums.images += metrics.images
        sums.tokens += metrics.tokens
        sums.dropped += metrics.dropped
        sums.seconds += metrics.seconds
        sums.wait_s += metrics.data_wait * metrics.seconds
        sums.busy_s += metrics.mfu * metrics.seconds

    def _keep_before(self, first_step: int) -> None:
        """Keep the lines of steps that are not done again, and count them."""
        if not self._path.exists():
            return
        read = [_metrics_of(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        kept = [metrics for metrics in read if metrics is not None and metrics.step < first_step]
        for metrics in kept:
            self._add(metrics)
        atomic.write_file(self._path, "".join(json.dumps(asdict(metrics)) + "\n" for metrics in kept).encode())

    def _keep_epochs_before(self, first_epoch: int) -> None:
        if not self._validation_path.exists():
            return
        read = [_validation_of(line) for line in self._validation_path.read_text(encoding="utf-8").splitlines()]
        kept = [each for each in read if each is not None and each["epoch"] < first_epoch]
        atomic.write_file(self._validation_path, "".join(json.dumps(each) + "\n" for each in kept).encode())


def _validation_of(line: str) -> dict[str, float] | None:
    """The validation loss of a line; None for one that a kill cut off."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) and "epoch" in values else None  # pyright: ignore[reportUnknownVariableType]


def _metrics_of(line: str) -> StepMetrics | None:
    """The metrics of a line; None for one that a kill cut off."""
    try:
        return StepMetrics(**json.loads(line))
    except (ValueError, TypeError):
        return None
