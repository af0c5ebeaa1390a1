"""The configuration of pre-training: presets, a TOML file, and `--set a.b=c`, in this order.

Comes in: a preset's name, a file, assignments. Goes out: `PretrainConfig`. Refuses unknown keys (with a suggestion) and
values of another type.

Source of `vit-mae-b48`: Buehler, Large-scale Radiograph Pre-training (TUM 2024), Tables 3.2 and 3.3.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

from radio_io.errors import ConfigError
from radio_train.model.config import PRESETS, MaeConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which images, and how they are batched.

    `policy` is packed or bins, `scale` percentile or bits, `resolution` 1, 1/2, 1/4 or 1/8; `workers` 0 takes one
    decoding thread a core. `drop_background` leaves out patches whose span is at most `background_permille` thousandths
    of the values that become 0 to 1. `small_packs` false gives all packs one shape: one graph, more empty tokens.
    """

    policy: str = "packed"
    token_budget: int = 24_576
    small_packs: bool = True
    step_images: int = 1_024
    scale: str = "percentile"
    resolution: str = "1"
    drop_background: bool = False
    background_permille: int = 10
    workers: int = 0
    max_bad: int = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingConfig:
    """How bytes come from storage; a run may be resumed with other values.

    `decoder` is threads, dali-cpu or dali-gpu (all give the same pixels); `store` is a folder or URL of the shards
    where they do not lie in the dataset; `cache` a folder on a local disk that may hold `cache_size`; `memory` bounds
    the encoded images that are read ahead, `range` one request, `streams` the requests under way. Sizes are such as
    16MB, 800GB.
    """

    decoder: str = "threads"
    store: str = ""
    cache: str = ""
    cache_size: str = "100GB"
    memory: str = "4GB"
    range: str = "16MB"
    streams: int = 8
    timeout_s: float = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW, and the cosine schedule with linear warm-up, per step."""

    base_rate: float = 1e-4
    min_rate: float = 1e-5
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """How long, how exactly, on how many devices, how often saved.

    `parallel` is ddp (each rank has the whole model) or fsdp (each has a part of weights, gradients and moments).
    `max_steps` 0 runs all epochs; `precision` is bf16 or fp32; `ema` is the decay of averaged weights (such as 0.999),
    0 keeps none; `keep_checkpoints` are kept beside the one with the best validation loss.
    """

    epochs: int = 10
    warmup_epochs: float = 5.0
    max_steps: int = 0
    seed: int = 0
    precision: str = "bf16"
    compile: bool = False
    parallel: str = "ddp"
    save_every_steps: int = 100
    keep_checkpoints: int = 2
    validation_images: int = 512
    ema: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """Everything that decides a run."""

    preset: str = "vit-mae-b48"
    model: MaeConfig = field(default_factory=MaeConfig)
    data: DataConfig = field(default_factory=DataConfig)
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)


_TINY = PretrainConfig(
    preset="tiny",
    model=PRESETS["tiny"],
    data=DataConfig(token_budget=6_144, step_images=64),
    optimizer=OptimizerConfig(base_rate=1e-3, min_rate=1e-4, clip_norm=1.0),
    # For CPUs: those without bf16 units emulate it, 8 times slower (AMD EPYC, torch 2.13); those with gain at most 1.6.
    run=RunConfig(epochs=30, warmup_epochs=1.0, validation_images=64, precision="fp32"),
)
TRAIN_PRESETS = {"vit-mae-b48": PretrainConfig(), "tiny": _TINY}


def load_config(preset: str, file: Path | None = None, assignments: Sequence[str] = ()) -> PretrainConfig:
    """The configuration of a preset, changed by a TOML file and then by assignments such as `run.max_steps=60`.

    Raises:
        ConfigError: Unknown preset or key, a value of another type, a file that is no TOML.

    Example:
        >>> load_config("tiny", assignments=["run.max_steps=60"]).run.max_steps
        60
    """
    if preset not in TRAIN_PRESETS:
        raise ConfigError(f"unknown preset {preset!r}; there are {', '.join(TRAIN_PRESETS)}")
    config = TRAIN_PRESETS[preset]
    if file is not None:
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the configuration {file.name}: {error}") from None
        config = _changed(config, values, "")
    for assignment in assignments:
        config = _changed(config, _parse_assignment(assignment), "")
    _check(config)
    return config


def config_from_dict(values: Mapping[str, Any]) -> PretrainConfig:
    """The configuration that `asdict` turned into a mapping."""
    return _changed(PretrainConfig(), values, "")


def differences(found: PretrainConfig, wanted: PretrainConfig, section: str) -> list[str]:
    """What differs in a section, in words."""
    old, new = asdict(getattr(found, section)), asdict(getattr(wanted, section))
    return [f"{section}.{name} was {old[name]}, now {new[name]}" for name in old if old[name] != new[name]]


def _parse_assignment(assignment: str) -> dict[str, Any]:
    name, equals, text = assignment.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {assignment!r}: give NAME=VALUE, for example run.max_steps=60")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in reversed(name.strip().split(".")):
        value = {part: value}
    return cast("dict[str, Any]", value)


def _changed(config: Any, values: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401 - any section
    """A section with some values replaced, each checked against the type of its default."""
    known = [each.name for each in fields(config)]
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {where}{close[0]}?" if close else f"known here: {', '.join(known)}"
            raise ConfigError(f"unknown key {where}{name}; {hint}")
        old = getattr(config, name)
        if is_dataclass(old):
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"{where}{name} is a section; set for example {where}{name}.{fields(old)[0].name}=..."
                )
            changes[name] = _changed(old, cast("Mapping[str, Any]", value), f"{where}{name}.")
        else:
            changes[name] = _typed(old, value, where + name)
    return replace(config, **changes)


def _typed(old: object, value: object, name: str) -> object:
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(old, str) and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if type(value) is not type(old):
        raise ConfigError(f"{name} is {value!r}; expected a {type(old).__name__} such as {old!r}")
    return value


def _check(config: PretrainConfig) -> None:
    choices = {
        "data.policy": (config.data.policy, ("packed", "bins")),
        "data.scale": (config.data.scale, ("percentile", "bits")),
        "data.resolution": (config.data.resolution, ("1", "1/2", "1/4", "1/8")),
        "reading.decoder": (config.reading.decoder, ("threads", "dali-cpu", "dali-gpu")),
        "run.precision": (config.run.precision, ("bf16", "fp32")),
        "run.parallel": (config.run.parallel, ("ddp", "fsdp")),
    }
    for name, (found, allowed) in choices.items():
        if found not in allowed:
            raise ConfigError(f"{name} is {found!r}; expected one of {', '.join(allowed)}")
    for name, value in (
        ("run.epochs", config.run.epochs),
        ("data.step_images", config.data.step_images),
        ("run.save_every_steps", config.run.save_every_steps),
        ("run.keep_checkpoints", config.run.keep_checkpoints),
    ):
        if value < 1:
            raise ConfigError(f"{name} is {value}; expected at least 1")
    if config.run.parallel == "fsdp" and config.run.compile:
        raise ConfigError(
            "run.compile=true makes one graph of the whole model, which run.parallel=fsdp gathers block by block; "
            "leave one of them out"
        )
    _check_background(config)
    if not 0 <= config.run.ema < 1:
        raise ConfigError(f"run.ema is {config.run.ema}; expected at least 0 and less than 1, such as 0.999")


def _check_background(config: PretrainConfig) -> None:
    data = config.data
    if not 0 <= data.background_permille < 1000:
        raise ConfigError(f"data.background_permille is {data.background_permille}; expected 0 to 999, such as 10")
    if data.drop_background and data.policy != "packed":
        raise ConfigError(
            f"data.drop_background=true needs data.policy=packed: with {data.policy} all images of a pack have one size"
        )
    if data.drop_background and config.reading.decoder != "threads":
        raise ConfigError(f"data.drop_background=true needs reading.decoder=threads, found {config.reading.decoder}")
