"""Checkpoints: whole or not at all, without pickles, and refused where they do not fit.

Comes in: model, optimizer, averaged weights (whole, or divided over ranks: the files are the same), state of the order,
facts about the run. Goes out: a folder
`checkpoints/step-00000060` with `tensors.safetensors` and `state.json`, renamed into place when both are on the disk.
The last few and the one with the best validation loss are kept. Refuses other format versions and damaged files.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from radio_io import atomic
from radio_io.errors import TrainingError
from radio_io.loading.order import OrderState
from radio_train.distributed import own_part

CHECKPOINT_VERSION = 1
RNG_NAME = "rng.torch"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainState:
    """What a checkpoint says beside its tensors.

    `selection` is the digest of the selected images; `config` all settings of the run; `validation_loss` that of the
    epoch that ended here, None elsewhere; `ranks` how many trained together.
    """

    global_step: int
    order: OrderState
    dataset_id: str
    selection: str
    dataset_format: int | None = None
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    validation_loss: float | None = None
    ranks: int = 1


class CheckpointWriter:
    """Saves checkpoints in the background: training goes on once the tensors are copied.

    A failure to write is raised by the next call. `close` waits for what is under way.
    """

    def __init__(self, run: Path, *, keep: int) -> None:
        self._run, self._keep = run, keep
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, state: TrainState, tensors: Mapping[str, Tensor]) -> None:
        """Begin to save; `tensors` may change after this returns.

        Raises:
            StorageError: The save before this one failed.
        """
        self.wait()
        copied = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        self._thread = threading.Thread(target=self._write, args=(state, copied), name="radio-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Go on when everything is on the disk.

        Raises:
            StorageError: It could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _write(self, state: TrainState, tensors: dict[str, Tensor]) -> None:
        try:
            write_checkpoint(self._run, state, tensors, keep=self._keep)
        except BaseException as error:  # noqa: BLE001 - reaches the trainer, whatever it is
            self._failure = error


def training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All tensors that training needs to go on, by name: weights, moments, state of torch's generator."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
    return tensors | {RNG_NAME: torch.get_rng_state()}


def write_checkpoint(run: Path, state: TrainState, tensors: dict[str, Tensor], *, keep: int) -> Path:
    """Write a checkpoint and remove all but the last `keep` and the best.

    Raises:
        StorageError: The disk refuses.
    """
    folder = run / "checkpoints" / f"step-{state.global_step:08}"
    temp = atomic.temporary_path(folder)
    atomic.make_folder(folder.parent)
    with atomic.storage_errors(folder):
        for leftover in folder.parent.glob(f"{atomic.TEMP_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        temp.mkdir()
        save_file(tensors, temp / "tensors.safetensors")
        digest = _sha256(temp / "tensors.safetensors")
        values = {"format_version": CHECKPOINT_VERSION, "tensors_sha256": digest, **asdict(state)}
        atomic.publish(temp / "tensors.safetensors", temp / "tensors.safetensors")
        atomic.write_file(temp / "state.json", json.dumps(values, indent=2, sort_keys=True).encode())
        shutil.rmtree(folder, ignore_errors=True)
        temp.replace(folder)
        atomic.sync_folder(folder.parent)
        kept = {*checkpoints(run)[-keep:], best_checkpoint(run)}
        for old in checkpoints(run):
            if old not in kept:
                shutil.rmtree(old)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(path for path in (run / "checkpoints").glob("step-*") if (path / "state.json").exists())


def best_checkpoint(run: Path) -> Path | None:
    """The checkpoint with the lowest validation loss; None where there is no such loss."""
    found = [(_validation_loss(folder), folder) for folder in checkpoints(run)]
    known = [(loss, folder) for loss, folder in found if loss is not None]
    return min(known)[1] if known else None


def lowest_validation_loss(run: Path) -> float | None:
    """That of the best checkpoint; None where there is no such loss."""
    best = best_checkpoint(run)
    return None if best is None else _validation_loss(best)


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> TrainState:
    """Put a checkpoint into model and optimizer, and torch's generator where the optimizer is given.

    Raises:
        TrainingError: It is damaged, of another version, or of another model.
    """
    tensors = read_tensors(folder)
    found = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
    wanted = model.state_dict()
    try:
        model.load_state_dict(
            {name: own_part(value, wanted[name]) if name in wanted else value for name, value in found.items()}
        )
    except RuntimeError as error:
        raise TrainingError(f"checkpoint {folder.name} is of another model: {str(error).splitlines()[-1]}") from None
    if optimizer is not None:
        _load_optimizer(optimizer, tensors)
        if RNG_NAME in tensors:
            torch.set_rng_state(tensors[RNG_NAME])
    return train_state(folder)


def train_state(folder: Path) -> TrainState:
    """What a checkpoint says beside its tensors.

    Raises:
        TrainingError: It is damaged or of another version.
    """
    values = read_state(folder)
    try:
        known: dict[str, Any] = {each.name: values[each.name] for each in fields(TrainState) if each.name in values}
        known["order"] = OrderState(**values["order"])
        return TrainState(**known)
    except (KeyError, TypeError):
        raise _damaged(folder) from None


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, compared with their checksum.

    Raises:
        TrainingError: They are damaged.
    """
    path = folder / "tensors.safetensors"
    try:
        if _sha256(path) != read_state(folder)["tensors_sha256"]:
            raise _damaged(folder)
        return load_file(path)
    except (OSError, SafetensorError, KeyError) as error:
        raise _damaged(folder) from error


def read_state(folder: Path) -> dict[str, Any]:
    """`state.json` of a checkpoint.

    Raises:
        TrainingError: It is damaged or of another version.
    """
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


def _validation_loss(folder: Path) -> float | None:
    try:
        return read_state(folder).get("validation_loss")
    except TrainingError:  # a damaged one is not the best, and no reason to stop training
        return None


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    parameters: list[Tensor] = [each for group in optimizer.param_groups for each in group["params"]]
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, slot = name.split(".", 2)
            parameter = parameters[int(index)]
            state.setdefault(int(index), {})[slot] = own_part(value, parameter) if value.ndim else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(folder: Path) -> TrainingError:
    return TrainingError(f"checkpoint {folder.name} is damaged; delete it, and resume from the one before")
