"""What a run shows of itself while it goes on: metrics, event files, sheets, a word when it waits for data.

Comes in: the metrics of each step and the validation loss of each epoch, on the first rank. Goes out: `metrics.jsonl`,
`validation.jsonl`, `tensorboard/`, `reconstructions/`, calls of `report` for each step, and of `note` for remarks.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from radio_train.model.mae import MaskedAutoencoder
from radio_train.run_log import RunLog, StepMetrics
from radio_train.tensorboard import EventFile

WAIT_LIMIT = 0.05
WAIT_STEPS = 20
"""So many steps in a row are looked at, and so many pass before the next word."""

_SHOWN = ("loss", "lr", "grad_norm", "images_per_s", "tokens_per_s", "data_wait", "mfu")


@dataclass(kw_only=True, slots=True)
class Watch:
    """The outputs of the first rank; other ranks have none of them and show nothing."""

    log: RunLog | None = None
    events: EventFile | None = None
    write_sheet: Callable[[Path, MaskedAutoencoder], None] | None = None
    sheets: Path = Path()
    report: Callable[[StepMetrics], None] = lambda metrics: None
    note: Callable[[str], None] = lambda text: None
    advisor: "WaitAdvisor | None" = None

    def step(self, metrics: StepMetrics) -> None:
        """Take in a step."""
        if self.log is not None:
            self.log.write(metrics)
            self.report(metrics)
        if self.events is not None:
            self.events.numbers({name: float(getattr(metrics, name)) for name in _SHOWN}, metrics.step)
        advice = self.advisor.advice(metrics) if self.advisor is not None else None
        if advice is not None:
            self.note(advice)

    def epoch(self, epoch: int, validation: float | None, model: MaskedAutoencoder) -> None:
        """Take in the end of an epoch, counted from 0; the sheet is the model's."""
        if self.log is not None and validation is not None:
            self.log.write_validation(epoch, validation)
        if self.events is not None and validation is not None:
            self.events.numbers({"validation_loss": validation}, epoch)
        if self.write_sheet is not None:
            sheet = self.sheets / f"epoch-{epoch:04}.png"
            self.write_sheet(sheet, model)
            if self.events is not None:
                self.events.picture("reconstructions", sheet.read_bytes(), epoch)

    def close(self) -> None:
        """Close the files."""
        if self.log is not None:
            self.log.close()
        if self.events is not None:
            self.events.close()


class WaitAdvisor:
    """Says what to do where training has waited for data for a while."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._recent: deque[StepMetrics] = deque(maxlen=WAIT_STEPS)

    def advice(self, metrics: StepMetrics) -> str | None:
        """A sentence, once for each `WAIT_STEPS` steps that waited more than `WAIT_LIMIT` of their time."""
        self._recent.append(metrics)
        seconds = sum(each.seconds for each in self._recent)
        share = sum(each.data_wait * each.seconds for each in self._recent) / seconds
        if len(self._recent) < WAIT_STEPS or share <= WAIT_LIMIT:
            return None
        images = sum(each.images for each in self._recent)
        self._recent.clear()
        return (
            f"training waited for data {share:.0%} of the last {WAIT_STEPS} steps: {images / seconds:.1f} images/s "
            f"came, the model could take {images / (seconds * (1 - min(share, 0.99))):.1f}. With {self._workers} "
            "decoding threads a rank; radio doctor names the stage that limits: more data.workers where cores are "
            "free, shards on local disk where the drive is slow, --codec fast where decoding is"
        )
