"""Which images a step of a run trained on, and which steps an image was in.

Comes in: a run folder and a step or a key. Goes out: epoch, step in it, keys; the stand-ins of damaged images in their
places. Refuses a run of a dataset that has changed, and a key that is none of the run's images.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radio_io.errors import TrainingError, UsageError
from radio_io.loading.order import OrderState, epoch_order, images_of_step, steps_per_epoch
from radio_io.loading.table import ImageTable
from radio_train.config import PretrainConfig
from radio_train.run_folder import QUARANTINE_NAME, load_table, read_run

METRICS_NAME = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepImages:
    """The images of a step; `epoch` and `epoch_step` count from 0.

    `replaced` holds (damaged image, its stand-in or None); `keys` are those that were trained on.
    """

    step: int
    epoch: int
    epoch_step: int
    keys: tuple[str, ...]
    replaced: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenImage:
    """A step that an image was in: planned, or in place of the damaged image `instead_of`."""

    step: int
    epoch: int
    epoch_step: int
    instead_of: str | None = None


def images_of_run_step(run: Path, step: int) -> StepImages:
    """The images of step `step` of a run, counted from 0 over all epochs.

    Raises:
        TrainingError: It is no run folder.
        DatasetError: Its dataset is gone.
    """
    config, dataset, selection = read_run(run)
    table = load_table(config, dataset, "train", selection)
    epoch, epoch_step = divmod(step, steps_per_epoch(len(table), config.data.step_images))
    state = _state(config, epoch, epoch_step)
    planned = [table.key(row) for row in images_of_step(table, state).tolist()]
    replaced = {bad: used for at, bad, used in _replacements(run) if at == (epoch, epoch_step)}
    keys = [replaced.get(key, key) for key in planned]
    return StepImages(
        step=step,
        epoch=epoch,
        epoch_step=epoch_step,
        keys=tuple(key for key in keys if key is not None),
        replaced=tuple(sorted(replaced.items())),
    )


def steps_of_image(run: Path, key: str) -> list[SeenImage]:
    """The steps so far that trained on an image.

    Raises:
        TrainingError: It is no run folder, or no step is done yet.
        UsageError: The key is none of the images that the run trains on.
    """
    config, dataset, selection = read_run(run)
    table = load_table(config, dataset, "train", selection)
    row = _row_of(table, key)
    done = _steps_done(run)
    per_epoch = steps_per_epoch(len(table), config.data.step_images)
    replacements = _replacements(run)
    was_bad = {at for at, bad, _ in replacements if bad == key}
    found = [
        SeenImage(step=epoch * per_epoch + epoch_step, epoch=epoch, epoch_step=epoch_step, instead_of=bad)
        for (epoch, epoch_step), bad, used in replacements
        if used == key
    ]
    for epoch in range(-(-done // per_epoch)):
        place = int(np.flatnonzero(epoch_order(table, _state(config, epoch, 0)) == row)[0])
        epoch_step = place // config.data.step_images
        if (epoch, epoch_step) not in was_bad:
            found.append(SeenImage(step=epoch * per_epoch + epoch_step, epoch=epoch, epoch_step=epoch_step))
    return sorted((each for each in found if each.step < done), key=lambda each: each.step)


def _state(config: PretrainConfig, epoch: int, epoch_step: int) -> OrderState:
    return OrderState(seed=config.run.seed, epoch=epoch, step=epoch_step, step_images=config.data.step_images)


def _row_of(table: ImageTable, key: str) -> int:
    try:
        wanted = np.frombuffer(bytes.fromhex(key), np.uint8)
    except ValueError:
        wanted = np.zeros(0, np.uint8)
    rows = np.flatnonzero((table.keys == wanted).all(axis=1)) if len(wanted) == table.keys.shape[1] else []
    if not len(rows):
        raise UsageError(f"this run does not train on an image {key!r}; find keys with: radio query")
    return int(rows[0])


def _steps_done(run: Path) -> int:
    try:
        lines = (run / METRICS_NAME).read_text(encoding="utf-8").splitlines()
        steps = [int(json.loads(line)["step"]) for line in lines if line.endswith("}")]
    except (OSError, ValueError, KeyError):
        raise TrainingError(f"{run} has no {METRICS_NAME}, or it is damaged; restore it") from None
    return max(steps, default=-1) + 1


def _replacements(run: Path) -> list[tuple[tuple[int, int], str, str | None]]:
    """((epoch, step in it), damaged image, its stand-in), each once though a resumed run notes it again."""
    file = run / QUARANTINE_NAME
    if not file.exists():
        return []
    found: dict[tuple[int, int, str], str | None] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            each = json.loads(line)
        except ValueError:  # a line that a crash cut
            continue
        found[each["epoch"], each["step"], each["key"]] = each["replaced_by"]
    return [((epoch, step), bad, used) for (epoch, step, bad), used in found.items()]
