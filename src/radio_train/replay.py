"""Which images a step of a run trained on.

Comes in: a run folder and a step. Goes out: epoch, step in it, keys. Refuses a run of a dataset that has changed.
"""

from dataclasses import dataclass
from pathlib import Path

from radio_io.loading.order import OrderState, images_of_step, steps_per_epoch
from radio_train.run_folder import load_table, read_run


@dataclass(frozen=True, kw_only=True, slots=True)
class StepImages:
    """The images of a step; `epoch` and `epoch_step` count from 0."""

    step: int
    epoch: int
    epoch_step: int
    keys: tuple[str, ...]


def images_of_run_step(run: Path, step: int) -> StepImages:
    """The images of step `step` of a run, counted from 0 over all epochs.

    Raises:
        TrainingError: It is no run folder.
        DatasetError: Its dataset is gone.
    """
    config, dataset, selection = read_run(run)
    table = load_table(config, dataset, "train", selection)
    epoch, epoch_step = divmod(step, steps_per_epoch(len(table), config.data.step_images))
    state = OrderState(seed=config.run.seed, epoch=epoch, step=epoch_step, step_images=config.data.step_images)
    keys = tuple(table.key(row) for row in images_of_step(table, state).tolist())
    return StepImages(step=step, epoch=epoch, epoch_step=epoch_step, keys=keys)
