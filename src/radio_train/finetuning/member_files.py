"""The files of one training: its state, its best weights, its result.

Comes in: a classifier, an optimizer, numbers. Goes out: `last.safetensors` (what going on needs), `best.safetensors`
(the classifier and what it is of), `epochs.jsonl`, `result.json`. Each is there whole or not at all. Refuses files of
other settings, versions or models.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from radio_io import atomic
from radio_io.errors import TrainingError
from radio_train.evaluation.outcomes import TaskKind
from radio_train.model.config import MaeConfig
from radio_train.model.heads import Classifier, Pooling
from radio_train.model.mae import MaskedAutoencoder

VERSION = 1
LAST, BEST, EPOCHS, RESULT = "last.safetensors", "best.safetensors", "epochs.jsonl", "result.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochMetrics:
    """One epoch: mean training loss, and what the validation images say."""

    epoch: int
    rate: float
    loss: float
    validation_loss: float
    balanced_accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where training stands: finished epochs, and the best one with its numbers."""

    epochs: tuple[EpochMetrics, ...] = ()
    best: EpochMetrics | None = None
    last_gain: int = -1
    """The epoch that last raised the balanced accuracy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierFacts:
    """What a saved classifier is."""

    task: str
    kind: TaskKind
    classes: tuple[str, ...]
    sizes: MaeConfig
    pooling: Pooling
    outputs: int
    resolution: str
    scale: str


def save_last(
    folder: Path, model: Classifier, optimizer: torch.optim.Optimizer, progress: Progress, identity: str
) -> None:
    """Save all that going on after the last epoch needs."""
    tensors = {f"model.{name}": value for name, value in trained_tensors(model).items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
    _save(folder / LAST, tensors, {"progress": asdict(progress), "identity": identity})
    lines = "".join(json.dumps(asdict(each)) + "\n" for each in progress.epochs)
    atomic.write_file(folder / EPOCHS, lines.encode())


def load_last(folder: Path, model: Classifier, optimizer: torch.optim.Optimizer, identity: str) -> Progress:
    """Put the saved state into model and optimizer; a fresh start where there is none.

    Raises:
        TrainingError: It is damaged, or of other settings.
    """
    if not (folder / LAST).exists():
        return Progress()
    tensors, facts = _load(folder / LAST)
    if facts["identity"] != identity:
        raise TrainingError(
            f"{folder} holds a training with other settings, weights or images; name another folder with --run"
        )
    weights = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
    model.load_state_dict(weights, strict=False)
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, slot = name.split(".", 2)
            state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    saved = facts["progress"]
    epochs = tuple(EpochMetrics(**each) for each in saved["epochs"])
    best = EpochMetrics(**saved["best"]) if saved["best"] else None
    return Progress(epochs=epochs, best=best, last_gain=saved["last_gain"])


def trained_tensors(model: Classifier) -> dict[str, Tensor]:
    """What training changes: a frozen encoder comes from its own file again."""
    frozen = "vit." if model.frozen else None
    return {name: value for name, value in model.state_dict().items() if frozen is None or not name.startswith(frozen)}


def save_classifier(folder: Path, model: Classifier, facts: ClassifierFacts) -> None:
    """Save the classifier with all its weights."""
    _save(folder / BEST, dict(model.state_dict()), {"classifier": asdict(facts)})


def load_classifier(folder: Path) -> tuple[Classifier, ClassifierFacts]:
    """The best classifier of a training.

    Raises:
        TrainingError: There is none, or it is damaged.
    """
    tensors, saved = _load(folder / BEST)
    values = saved["classifier"]
    facts = ClassifierFacts(
        task=values["task"],
        kind=TaskKind(values["kind"]),
        classes=tuple(values["classes"]),
        sizes=MaeConfig(**values["sizes"]),
        pooling=Pooling(values["pooling"]),
        outputs=values["outputs"],
        resolution=values["resolution"],
        scale=values["scale"],
    )
    encoder = MaskedAutoencoder(facts.sizes).vit
    model = Classifier(encoder, facts.sizes.hidden_size, facts.outputs, pooling=facts.pooling)
    model.load_state_dict(tensors)
    return model.eval(), facts


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write what came out; from then on the training is finished."""
    atomic.write_file(folder / RESULT, (json.dumps(result, indent=2, sort_keys=True) + "\n").encode())


def read_result(folder: Path) -> dict[str, Any] | None:
    """What came out; None while the training is not finished."""
    try:
        return json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise TrainingError(f"{folder / RESULT} is damaged; delete it, and run the same command again") from None


def _save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    metadata = {"radio": json.dumps({"version": VERSION, **facts}, sort_keys=True)}
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic.staged(path) as temp:
        save_file(whole, temp, metadata)


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["radio"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError, KeyError, ValueError):
        raise TrainingError(f"{path} is missing or damaged; delete it, and run the same command again") from None
    if facts["version"] != VERSION:
        raise TrainingError(f"{path} has version {facts['version']}, this radio reads {VERSION}")
    return tensors, facts
