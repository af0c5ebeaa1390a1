"""Which training runs saw some given images, from their logs and the order of their steps.

Comes in: a folder with runs, a dataset, keys of images. Goes out: `RunExposure` for each run that saw one. Refuses
nothing: a folder that is no run, or the run of another dataset, is passed over.

Ask before the images are taken out of the index: the order of a run follows from all images that it selected.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radio_io.errors import RadioError
from radio_io.loading.order import OrderState, epoch_order, steps_per_epoch
from radio_io.loading.table import ImageTable
from radio_train.checkpoint import checkpoints
from radio_train.config import PretrainConfig
from radio_train.run_folder import Selection, load_table, read_run


@dataclass(frozen=True, kw_only=True, slots=True)
class RunExposure:
    """A run that saw images: how many of them in training (and in how many of its steps), how many in validation.

    `certain` is False where the dataset has changed since the run: its steps are then those of the present index.
    """

    run: str
    steps: int
    trained_images: int
    trained_steps: int
    validated_images: int
    certain: bool


def runs_that_saw(folder: Path, dataset: Path, keys: frozenset[str]) -> list[RunExposure]:
    """The runs below `folder`, or `folder` itself, that saw images of `keys`; sorted by name."""
    configs = sorted({*folder.glob("config.json"), *folder.glob("*/config.json"), *folder.glob("*/*/config.json")})
    found: list[RunExposure] = []
    for path in configs:
        try:
            config, trained_on, selection = read_run(path.parent)
        except RadioError:
            continue
        if trained_on.resolve() == dataset.resolve():
            exposure = _exposure(path.parent, config, dataset, selection, keys)
            if exposure.trained_images or exposure.validated_images:
                found.append(exposure)
    return found


def _exposure(
    run: Path, config: PretrainConfig, dataset: Path, selection: Selection, keys: frozenset[str]
) -> RunExposure:
    steps = _steps_done(run)
    table = _table(config, dataset, "train", selection)
    images, trained_steps = _trained(table, config, steps, keys) if table is not None else (0, 0)
    validated = 0
    if (run / "validation.jsonl").exists():
        other = _table(config, dataset, "val", selection)
        validated = len(_rows_of(other, keys)) if other is not None else 0
    return RunExposure(
        run=str(run),
        steps=steps,
        trained_images=images,
        trained_steps=trained_steps,
        validated_images=validated,
        certain=_is_same_selection(run, table),
    )


def _trained(table: ImageTable, config: PretrainConfig, steps: int, keys: frozenset[str]) -> tuple[int, int]:
    """How many of the images the first `steps` steps saw, and in how many steps."""
    rows = _rows_of(table, keys)
    step_images = config.data.step_images
    seen: set[int] = set()
    hit = 0
    for state, count in _epochs(table, config, steps):
        order = epoch_order(table, state)[: count * step_images]
        places = np.flatnonzero(np.isin(order, rows))
        seen.update(order[places].tolist())
        hit += len(set((places // step_images).tolist()))
    return len(seen), hit


def _epochs(table: ImageTable, config: PretrainConfig, steps: int) -> Iterator[tuple[OrderState, int]]:
    """Each epoch that the steps began, with how many of its steps were done."""
    each = steps_per_epoch(len(table), config.data.step_images)
    for epoch in range(-(-steps // each)):
        state = OrderState(seed=config.run.seed, epoch=epoch, step_images=config.data.step_images)
        yield state, min(each, steps - epoch * each)


def _steps_done(run: Path) -> int:
    """One more than the last step in the log, those included that a killed run did in vain."""
    last = -1
    try:
        for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            try:
                last = max(last, int(json.loads(line)["step"]))
            except (ValueError, KeyError, TypeError):
                continue  # a line that a kill cut off
    except OSError:
        return 0
    return last + 1


def _table(config: PretrainConfig, dataset: Path, split: str, selection: Selection) -> ImageTable | None:
    try:
        return load_table(config, dataset, split, selection)
    except RadioError:
        return None  # nothing is selected


def _rows_of(table: ImageTable, keys: frozenset[str]) -> np.ndarray:
    wanted = np.array([bytes.fromhex(key) for key in sorted(keys)], "S16").view("V16")
    return np.flatnonzero(np.isin(np.ascontiguousarray(table.keys).view("V16").ravel(), wanted))


def _is_same_selection(run: Path, table: ImageTable | None) -> bool:
    found = checkpoints(run)
    if not found or table is None:
        return False
    values = json.loads((found[-1] / "state.json").read_text(encoding="utf-8"))
    return bool(values.get("selection") == table.digest())
