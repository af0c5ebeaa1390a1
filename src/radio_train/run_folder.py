"""A run folder: what it was configured with, and what it trains on.

Comes in: a configuration, a dataset, a selection. Goes out: `config.json` in the folder and back; the table of images
and the loader's configuration that follow from it. Refuses a folder that is in use, and to resume with other settings.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from radio_io import atomic
from radio_io.errors import TrainingError
from radio_io.loading.batch import RESOLUTIONS, BatchPolicy, Decoder, LoaderConfig, ScaleMode
from radio_io.loading.reading import ReadConfig, parse_size
from radio_io.loading.table import ImageTable, load_image_table
from radio_train.checkpoint import best_checkpoint, checkpoints, load_checkpoint, read_tensors
from radio_train.config import PretrainConfig, ReadingConfig, config_from_dict
from radio_train.ema import PREFIX
from radio_train.model.mae import MaskedAutoencoder

QUARANTINE_NAME = "quarantine.jsonl"
"""The damaged images of a run, a line for each step that wanted one, and what replaced it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which images of the dataset: a predicate, keys, or both; None selects all."""

    where: str | None = None
    keys: tuple[str, ...] | None = None


def load_table(config: PretrainConfig, dataset: Path, split: str, selection: Selection) -> ImageTable:
    """The images of a split that a run uses.

    Raises:
        DatasetError: There is none.
    """
    keys: Collection[str] | None = selection.keys
    return load_image_table(
        dataset, split, where=selection.where, keys=keys, halvings=RESOLUTIONS[config.data.resolution]
    )


def loader_config(config: PretrainConfig, *, shuffle: bool = True, quarantine: Path | None = None) -> LoaderConfig:
    """What the loader is told; damaged images are noted in `quarantine`.

    Raises:
        UsageError: A size is none.
    """
    return LoaderConfig(
        patch_size=config.model.patch_size,
        policy=BatchPolicy(config.data.policy),
        token_budget=config.data.token_budget,
        small_packs=config.data.small_packs,
        shuffle=shuffle,
        mask_ratio=config.model.mask_ratio,
        scale=ScaleMode(config.data.scale),
        halvings=RESOLUTIONS[config.data.resolution],
        background_permille=config.data.background_permille,
        decoder=Decoder(config.reading.decoder),
        workers=config.data.workers or None,
        max_bad=config.data.max_bad,
        quarantine=quarantine,
        reading=_reading(config.reading),
    )


def _reading(config: ReadingConfig) -> ReadConfig:
    return ReadConfig(
        store=config.store or None,
        cache=Path(config.cache) if config.cache else None,
        cache_bytes=parse_size(config.cache_size),
        read_ahead_bytes=parse_size(config.memory),
        range_bytes=parse_size(config.range),
        streams=config.streams,
        timeout_s=config.timeout_s,
    )


def read_run(run: Path) -> tuple[PretrainConfig, Path, Selection]:
    """The configuration, dataset and selection of a run folder.

    Raises:
        TrainingError: It is no run folder.
    """
    try:
        values: dict[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))
        keys = values.pop("keys")
        dataset, where = values.pop("dataset"), values.pop("where")
    except (OSError, ValueError, KeyError):
        raise TrainingError(f"{run} is no run folder: config.json is missing or damaged") from None
    return config_from_dict(values), Path(dataset), Selection(where=where, keys=tuple(keys) if keys else None)


def load_model(run: Path, config: PretrainConfig, which: str = "last") -> MaskedAutoencoder:
    """The model of a run's checkpoint, with averaged weights where the run has them.

    Raises:
        TrainingError: There is no checkpoint, or it is damaged.
    """
    model = MaskedAutoencoder(config.model)
    folder = find_checkpoint(run, which)
    load_checkpoint(folder, model)
    averages = {name.removeprefix(PREFIX): t for name, t in read_tensors(folder).items() if name.startswith(PREFIX)}
    model.load_state_dict(averages, strict=False)
    return model.eval()


def find_checkpoint(run: Path, which: str) -> Path:
    """The folder of a run's checkpoint: `last`, `best` (by validation loss), or that after a number of steps.

    Raises:
        TrainingError: There is no such checkpoint.
    """
    found = checkpoints(run)
    if not found:
        raise TrainingError(f"{run} has no checkpoint yet; train first: radio train pretrain --run {run}")
    if which == "last":
        return found[-1]
    if which == "best":
        best = best_checkpoint(run)
        if best is None:
            raise TrainingError(f"{run} has no checkpoint with a validation loss; take the last one")
        return best
    chosen = [folder for folder in found if which.isdecimal() and folder.name == f"step-{int(which):08}"]
    if not chosen:
        steps = ", ".join(str(int(folder.name.removeprefix("step-"))) for folder in found)
        raise TrainingError(f"{run} has no checkpoint {which!r}; there are last, best and the steps {steps}")
    return chosen[0]


def prepare_run(config: PretrainConfig, run: Path, dataset: Path, selection: Selection, *, resume: bool) -> None:
    """Make a run folder with its config.json; `resume` goes on in one that is there, with the settings of now.

    Raises:
        TrainingError: The folder holds a run already, or is damaged.
    """
    config_file = run / "config.json"
    if config_file.exists() and not resume:
        raise TrainingError(f"{run} holds a run already; go on with --resume, or name another with --run")
    if checkpoints(run) and not config_file.exists():
        raise TrainingError(f"{run} has checkpoints but no config.json; restore it, or name another run with --run")
    values = {
        **asdict(config),
        "dataset": str(dataset.absolute()),
        "where": selection.where,
        "keys": list(selection.keys) if selection.keys is not None else None,
    }
    atomic.make_folder(run)
    atomic.write_file(config_file, (json.dumps(values, indent=2, sort_keys=True) + "\n").encode())
