"""Checkpoints: whole or not at all, without pickles, and refused where they do not fit.

Comes in: model, optimizer, state of the order, facts about the run. Goes out: a folder `checkpoints/step-00000060` with
`tensors.safetensors` and `state.json`, renamed into place when both are on the disk. Refuses other format versions and
damaged files.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from radio_io import atomic
from radio_io.errors import TrainingError
from radio_io.loading.order import OrderState

CHECKPOINT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainState:
    """What a checkpoint says beside its tensors."""

    global_step: int
    order: OrderState
    dataset_id: str
    selection: str


def save_checkpoint(
    run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainState, *, keep: int
) -> Path:
    """Save a checkpoint and remove all but the last `keep`.

    Raises:
        StorageError: The disk refuses.
    """
    folder = run / "checkpoints" / f"step-{state.global_step:08}"
    temp = atomic.temporary_path(folder)
    atomic.make_folder(folder.parent)
    shutil.rmtree(temp, ignore_errors=True)
    tensors = {f"model.{name}": value.detach().contiguous() for name, value in model.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.detach().contiguous() for name, value in slots.items()}
    with atomic.storage_errors(folder):
        temp.mkdir()
        save_file(tensors, temp / "tensors.safetensors")
        digest = hashlib.sha256((temp / "tensors.safetensors").read_bytes()).hexdigest()
        values = {"format_version": CHECKPOINT_VERSION, "tensors_sha256": digest, **asdict(state)}
        atomic.write_file(temp / "state.json", json.dumps(values, indent=2, sort_keys=True).encode())
        shutil.rmtree(folder, ignore_errors=True)
        temp.replace(folder)
        atomic.sync_folder(folder.parent)
    for old in checkpoints(run)[:-keep]:
        shutil.rmtree(old)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(path for path in (run / "checkpoints").glob("step-*") if (path / "state.json").exists())


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> TrainState:
    """Put a checkpoint into model and optimizer.

    Raises:
        TrainingError: It is damaged, of another version, or of another model.
    """
    values = _read_state(folder)
    try:
        data = (folder / "tensors.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != values["tensors_sha256"]:
            raise _damaged(folder)
        tensors = load_file(folder / "tensors.safetensors")
        weights = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
        model.load_state_dict(weights)
    except (OSError, SafetensorError) as error:
        raise _damaged(folder) from error
    except RuntimeError as error:
        raise TrainingError(f"checkpoint {folder.name} is of another model: {str(error).splitlines()[-1]}") from None
    if optimizer is not None:
        _load_optimizer(optimizer, tensors)
    return TrainState(
        global_step=values["global_step"],
        order=OrderState(**values["order"]),
        dataset_id=values["dataset_id"],
        selection=values["selection"],
    )


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder) from error
    if values.get("format_version") != CHECKPOINT_VERSION:
        raise TrainingError(
            f"checkpoint {folder.name} has format version {values.get('format_version')}, this radio reads "
            f"{CHECKPOINT_VERSION}; use the radio that wrote it"
        )
    return values


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, slot = name.split(".", 2)
            state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _damaged(folder: Path) -> TrainingError:
    return TrainingError(f"checkpoint {folder.name} is damaged; delete it, and resume from the one before")
