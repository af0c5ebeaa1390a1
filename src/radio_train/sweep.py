"""A search for the learning rate: short runs on a subset, one for each rate.

Comes in: a configuration, rates, how many images and epochs. Goes out: a run folder for each rate, `sweep.json` and a
`SweepResult` a rate, best first. Finished runs are taken as they are, broken ones gone on with, so a sweep that is
repeated costs what is missing. Refuses rates that cannot be meant.

All runs see the same images in the same order with the same initial weights. Compared is the validation loss of the
end, or, where the subset has no validation image, the mean training loss of the last steps.

Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), section 3.3.2 (rates 3e-3, 1e-3, 3e-4, 1e-4, a few
epochs on a subset).
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from radio_io import atomic
from radio_io.errors import TrainingError, UsageError
from radio_train.config import PretrainConfig
from radio_train.pretrain import PretrainSummary, run_pretrain
from radio_train.run_folder import Selection, load_table
from radio_train.run_log import StepMetrics

RATES = (3e-3, 1e-3, 3e-4, 1e-4)
LAST_STEPS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepResult:
    """What a rate came to; `failure` says why there is no loss."""

    rate: float
    run: str
    steps: int = 0
    first_loss: float | None = None
    last_loss: float | None = None
    validation_loss: float | None = None
    failure: str | None = None

    @property
    def score(self) -> float:
        """What is compared, the lower the better."""
        loss = self.validation_loss if self.validation_loss is not None else self.last_loss
        return math.inf if loss is None else loss


def run_sweep(
    config: PretrainConfig,
    dataset: Path,
    folder: Path,
    *,
    rates: Sequence[float] = RATES,
    images: int = 2_000,
    epochs: int = 3,
    selection: Selection | None = None,
    report: Callable[[StepMetrics], None] = lambda metrics: None,
    note: Callable[[str], None] = lambda text: None,
) -> list[SweepResult]:
    """Train with each rate; the best first.

    Raises:
        UsageError: A rate is not above 0, or given twice.
        DatasetError: The selection has no image.
    """
    if not rates or min(rates) <= 0 or len(set(rates)) < len(rates):
        raise UsageError(f"found the rates {list(rates)}, expected different ones above 0, such as 1e-3,3e-4")
    subset = some_images(config, dataset, images, selection or Selection())
    results: list[SweepResult] = []
    for rate in rates:
        note(f"rate {rate:g}")
        tried = replace(
            config,
            # The lowest rate keeps its distance to the highest.
            optimizer=replace(
                config.optimizer,
                base_rate=rate,
                min_rate=config.optimizer.min_rate / config.optimizer.base_rate * rate,
            ),
            run=replace(
                config.run,
                epochs=epochs,
                warmup_epochs=min(config.run.warmup_epochs, epochs / 3),
            ),
        )
        results.append(_try_rate(rate, tried, dataset, folder / f"rate-{rate:g}", subset, report, note))
        if results[-1].steps and results[-1].failure == _STOPPED:
            break
    results.sort(key=lambda result: result.score)
    text = json.dumps([asdict(result) for result in results], indent=2) + "\n"
    atomic.write_file(folder / "sweep.json", text.encode())
    return results


_STOPPED = "stopped early; the same command goes on"


def some_images(config: PretrainConfig, dataset: Path, images: int, selection: Selection) -> Selection:
    """This many images of the train split, and all others: validation is to be as exact as in a whole run.

    Keys are keyed hashes, so those that sort first are a random sample.
    """
    table = load_table(config, dataset, "train", selection)
    keys = sorted(table.key(row) for row in range(len(table)))
    if len(keys) <= images:
        return selection
    bound = f"(split <> 'train' or key <= '{keys[images - 1]}')"
    return replace(selection, where=f"({selection.where}) and {bound}" if selection.where else bound)


def _try_rate(
    rate: float,
    config: PretrainConfig,
    dataset: Path,
    run: Path,
    selection: Selection,
    report: Callable[[StepMetrics], None],
    note: Callable[[str], None],
) -> SweepResult:
    try:
        summary = run_pretrain(config, dataset, run, selection=selection, resume=run.exists(), report=report, note=note)
    except TrainingError as error:  # a rate that is too high ends in a loss that is not finite: that is a result
        return SweepResult(rate=rate, run=str(run), failure=str(error).split(";", maxsplit=1)[0])
    return _result(rate, run, summary)


def _result(rate: float, run: Path, summary: PretrainSummary) -> SweepResult:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    last = [float(json.loads(line)["loss"]) for line in lines[-LAST_STEPS:]]
    return SweepResult(
        rate=rate,
        run=str(run),
        steps=summary.steps,
        first_loss=summary.first_loss,
        last_loss=sum(last) / len(last) if last else None,
        validation_loss=summary.validation_loss,
        failure=_STOPPED if summary.stopped_early else None,
    )
