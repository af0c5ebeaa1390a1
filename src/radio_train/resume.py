"""Whether a checkpoint may be gone on from, and from where.

Comes in: a checkpoint, and what the run would begin with. Goes out: the state to go on from. Refuses another dataset,
selection, seed, model or data settings, with the differences named; `allow` accepts kinds of them.

What may always change, since it changes nothing but speed, memory or what comes later: the number of ranks,
`data.workers`, `data.max_bad`, `data.token_budget`, `data.small_packs`, and everything in `optimizer` and `run` but the
seed.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from radio_io.errors import TrainingError, UsageError
from radio_io.loading.order import OrderState, steps_per_epoch
from radio_train.checkpoint import TrainState, train_state
from radio_train.config import PretrainConfig

KINDS = ("dataset", "images", "data", "model")
"""What `allow` may name: another dataset id; other selected images; settings of `data`; settings of `model` that leave
the weights as they are (mask_ratio, norm_pix, weighting)."""

_FREE = {"data": ("workers", "max_bad", "token_budget", "small_packs"), "model": ()}
_SAME_WEIGHTS = ("mask_ratio", "norm_pix", "weighting", "layer_norm_eps")


def require_same(folder: Path, fresh: TrainState, allow: Collection[str]) -> TrainState:
    """The state of a checkpoint that fits.

    Raises:
        TrainingError: It differs in what is not allowed.
        UsageError: `allow` names no kind of difference.
    """
    unknown = sorted(set(allow) - set(KINDS))
    if unknown:
        raise UsageError(f"--allow {unknown[0]!r}; expected one of {', '.join(KINDS)}")
    state = train_state(folder)
    found = [(kind, text) for kind, text in _differences(state, fresh) if kind not in allow]
    if found:
        kinds = sorted({kind for kind, _ in found if kind in KINDS})
        ways = "start another run with --run"
        if kinds and len(kinds) == len({kind for kind, _ in found}):
            ways += f", or accept it with {' '.join(f'--allow {kind}' for kind in kinds)}"
        raise TrainingError(f"cannot resume from {folder.name}: {'; '.join(text for _, text in found)}; {ways}")
    return state


def order_to_resume(state: TrainState, fresh: TrainState, images: int) -> TrainState:
    """The state to go on from, with the facts of now; where fewer images are left in an epoch, with the next one."""
    order = replace(state.order, step_images=fresh.order.step_images)
    if order.step >= steps_per_epoch(images, order.step_images):
        order = OrderState(seed=order.seed, epoch=order.epoch + 1, step_images=order.step_images)
    return replace(fresh, global_step=state.global_step, order=order)


def _differences(found: TrainState, wanted: TrainState) -> list[tuple[str, str]]:
    different: list[tuple[str, str]] = []
    for kind, name, old, new in (
        ("dataset", "dataset", found.dataset_id, wanted.dataset_id),
        ("images", "selected images", found.selection, wanted.selection),
        ("seed", "run.seed", found.order.seed, wanted.order.seed),
    ):
        if old != new:
            different.append((kind, f"{name} was {old}, now {new}"))
    for section, free in _FREE.items():
        # What an older checkpoint does not name was as the default.
        old = asdict(getattr(PretrainConfig(), section)) | _section(found.config, section)
        new = _section(wanted.config, section)
        for name in old.keys() & new.keys() - set(free):
            if old[name] != new[name]:
                kind = "weights" if section == "model" and name not in _SAME_WEIGHTS else section
                different.append((kind, f"{section}.{name} was {old[name]}, now {new[name]}"))
    return sorted(different)


def _section(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", config.get(name, {}))
