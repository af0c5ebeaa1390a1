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
    """One optimizer update. `step` counts from 0 over the run, `epoch_step` in the epoch; `data_wait` is a share."""

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


class RunLog:
    """Appends to the metrics of a run and sums up all its steps, those before a resume included."""

    def __init__(self, run: Path, *, first_step: int) -> None:
        self._path = run / "metrics.jsonl"
        self.images, self.seconds, self.wait_s = 0, 0.0, 0.0
        self.first_loss: float | None = None
        self.last_loss: float | None = None
        self._keep_before(first_step)
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, metrics: StepMetrics) -> None:
        """Add a step."""
        self._add(metrics)
        self._line(asdict(metrics))

    def write_validation(self, epoch: int, loss: float) -> None:
        """Add the validation loss after an epoch to a file of its own."""
        with self._path.with_name("validation.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, "validation_loss": loss}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _line(self, values: dict[str, object]) -> None:
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()

    def _add(self, metrics: StepMetrics) -> None:
        self.first_loss = metrics.loss if self.first_loss is None else self.first_loss
        self.last_loss = metrics.loss
        self.images += metrics.images
        self.seconds += metrics.seconds
        self.wait_s += metrics.data_wait * metrics.seconds

    def _keep_before(self, first_step: int) -> None:
        """Keep the lines of steps that are not done again, and count them."""
        if not self._path.exists():
            return
        read = [_metrics_of(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        kept = [metrics for metrics in read if metrics is not None and metrics.step < first_step]
        for metrics in kept:
            self._add(metrics)
        atomic.write_file(self._path, "".join(json.dumps(asdict(metrics)) + "\n" for metrics in kept).encode())


def _metrics_of(line: str) -> StepMetrics | None:
    """The metrics of a line; None for one that a kill cut off."""
    try:
        return StepMetrics(**json.loads(line))
    except (ValueError, TypeError):
        return None
