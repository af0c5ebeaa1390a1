"""How a classifier is trained: the settings of the thesis, changed by `--set NAME=VALUE`.

Comes in: assignments such as `training.epochs=20`. Goes out: `FinetuneConfig`. Refuses unknown names and values that
cannot be meant.

Source of the defaults: Buehler, Large-scale Radiograph Pre-training (TUM 2024), section 3.3.3 and Table 3.5.
"""

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from radio_io.errors import ConfigError
from radio_io.loading.batch import RESOLUTIONS, ScaleMode
from radio_train.augment.parameters import AugmentConfig
from radio_train.finetuning.splits import SHARES
from radio_train.finetuning.tasks import TaskSpec
from radio_train.model.heads import Pooling

RATES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6)
"""What a sweep tries."""


class Mode(StrEnum):
    """What is trained."""

    FULL = "full"
    """All weights."""
    FREEZE = "freeze"
    """The linear layer alone, with augmentation, by gradient descent."""
    PROBE = "probe"
    """The linear layer alone, on vectors computed once: logistic regression, in seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Optimizer, schedule and batches.

    Attributes:
        base_rate, min_rate: Of the cosine, whose steps are epochs.
        epochs, warmup_epochs: At most; the rate rises during the first ones.
        patience: Epochs without a better balanced validation accuracy, counted from the end of the warm-up.
        step_images: Images of an optimizer step; several packs add up to one.
        token_budget: Tokens of a pack, or those of the largest image.
        class_weights: Whether rare classes weigh more in the loss.
        clip_norm: Greatest norm of the gradient; 0 does not limit it.
        precision: auto (bf16 on a GPU, fp32 on the CPU), bf16 or fp32.
        scale: percentile or bits.
        resolution: 1, 1/2, 1/4 or 1/8.
        workers: Decoding threads; 0 takes one a core.
        max_bad: Damaged images tolerated.
    """

    base_rate: float = 3e-5
    min_rate: float = 1e-6
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.0
    epochs: int = 100
    warmup_epochs: int = 10
    patience: int = 10
    step_images: int = 64
    token_budget: int = 24_576
    class_weights: bool = False
    clip_norm: float = 0.0
    precision: str = "auto"
    scale: str = "percentile"
    resolution: str = "1"
    workers: int = 0
    max_bad: int = 100

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        choices = {
            "precision": ("auto", "bf16", "fp32"),
            "scale": tuple(ScaleMode),
            "resolution": tuple(RESOLUTIONS),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"training.{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}")
        for name in ("epochs", "patience", "step_images"):
            if getattr(self, name) < 1:
                raise ConfigError(f"training.{name} is {getattr(self, name)}; expected at least 1")
        if not 0 < self.base_rate < 1 or not 0 <= self.min_rate < 1:
            raise ConfigError(f"training.base_rate is {self.base_rate}, min_rate {self.min_rate}; expected below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """Everything that decides a run.

    Attributes:
        task: What is learned.
        init: `random`, or a run folder, checkpoint or file of weights.
        preset: Sizes of a random encoder, and of weights that do not say theirs.
        mode: What is trained.
        pooling: What stands for an image.
        splits: `stratified` or `dataset`.
        split_seed: Of the stratified splits; the same for all seeds of training, so that all share one test set.
        shares: Of train, val, test.
        training: Optimizer, schedule and batches.
        augment: Random changes of the training images.
    """

    task: TaskSpec
    init: str = "random"
    preset: str = "vit-mae-b48"
    mode: Mode = Mode.FULL
    pooling: Pooling = Pooling.CLS
    splits: str = "stratified"
    split_seed: int = 0
    shares: tuple[float, float, float] = SHARES
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.splits not in ("stratified", "dataset"):
            raise ConfigError(f"splits is {self.splits!r}; expected stratified or dataset")


def with_assignments(config: FinetuneConfig, assignments: Sequence[str]) -> FinetuneConfig:
    """The configuration with assignments such as `training.epochs=20` or `augment.flip_p=0` applied.

    Raises:
        ConfigError: A name is unknown or a value of another type.
    """
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot or section not in ("training", "augment"):
            raise ConfigError(f"--set {assignment!r}: give training.NAME=VALUE or augment.NAME=VALUE")
        config = replace(config, **{section: _with_value(getattr(config, section), section, key, text.strip())})
    return config


def _with_value(section: Any, where: str, key: str, text: str) -> Any:  # noqa: ANN401 - either section
    known = [each.name for each in fields(section)]
    if key not in known:
        close = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {where}.{close[0]}?" if close else f"known here: {', '.join(known)}"
        raise ConfigError(f"unknown key {where}.{key}; {hint}")
    old = getattr(section, key)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(old, str) and not isinstance(value, str):
        value = text
    if type(value) is not type(old):
        raise ConfigError(f"{where}.{key} is {text!r}; expected a {type(old).__name__} such as {old!r}")
    return replace(section, **{key: value})
