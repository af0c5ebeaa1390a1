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
    """Appends to the metrics of a run and sums them up."""

    def __init__(self, run: Path, *, first_step: int) -> None:
        self._path = run / "metrics.jsonl"
        self._keep_before(first_step)
        self._file = self._path.open("a", encoding="utf-8")
        self.images, self.seconds, self.wait_s = 0, 0.0, 0.0
        self.first_loss = self.last_loss = float("nan")

    def write(self, metrics: StepMetrics) -> None:
        """Add a step."""
        if not self.images:
            self.first_loss = metrics.loss
        self.last_loss = metrics.loss
        self.images += metrics.images
        self.seconds += metrics.seconds
        self.wait_s += metrics.data_wait * metrics.seconds
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

    def _keep_before(self, first_step: int) -> None:
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _step_of(line) is not None and (_step_of(line) or 0) < first_step]
        atomic.write_file(self._path, "".join(line + "\n" for line in kept).encode())


def _step_of(line: str) -> int | None:
    """The step of a line; None for one that a kill cut off."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return None
