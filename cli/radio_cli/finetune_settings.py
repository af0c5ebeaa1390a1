"""What the options of `finetune` and `compare` mean for the library."""

from collections.abc import Sequence
from pathlib import Path

from radio_io.errors import UsageError
from radio_train.augment.parameters import AugmentConfig
from radio_train.evaluation.outcomes import TaskKind
from radio_train.finetuning.config import RATES, FinetuneConfig, Mode, with_assignments
from radio_train.finetuning.run import RunPlan
from radio_train.finetuning.tasks import TaskSpec
from radio_train.model.heads import Pooling


def task_spec(name: str, *, kind: str | None, labels: Path | None, positive: str | None, where: str | None) -> TaskSpec:
    """Which task.

    Raises:
        UsageError: The kind is unknown.
    """
    if kind is not None and kind not in list(TaskKind):
        raise UsageError(f"--kind {kind!r}; expected one of {', '.join(TaskKind)}")
    chosen = None if kind is None else TaskKind(kind)
    return TaskSpec(name=name, kind=chosen, labels_file=labels, positive=positive, where=where)


def base_config(
    task: TaskSpec,
    init: str,
    preset: str,
    freeze: bool,
    linear_probe: bool,
    pooling: str,
    splits: str,
    split_seed: int,
    assignments: Sequence[str],
) -> FinetuneConfig:
    """The configuration that options and assignments make.

    Raises:
        UsageError: Options contradict each other, or a value cannot be meant.
    """
    if freeze and linear_probe:
        raise UsageError("found --freeze and --linear-probe; give one of them")
    if pooling not in list(Pooling):
        raise UsageError(f"--pooling {pooling!r}; expected one of {', '.join(Pooling)}")
    mode = Mode.PROBE if linear_probe else Mode.FREEZE if freeze else Mode.FULL
    config = FinetuneConfig(
        task=task,
        init=init,
        preset=preset,
        mode=mode,
        pooling=Pooling(pooling),
        splits=splits,
        split_seed=split_seed,
    )
    return with_assignments(config, assignments)


def run_plan(seeds: int, fractions: str, sweep: str | None) -> RunPlan:
    """How many trainings.

    Raises:
        UsageError: A share or a rate is no number.
    """
    rates = RATES if sweep == "default" else _numbers("--sweep", sweep) if sweep else ()
    return RunPlan(seeds=seeds, fractions=_numbers("--label-fraction", fractions), sweep=rates)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r}; expected numbers with commas between them") from None


def augment_config(assignments: Sequence[str]) -> AugmentConfig:
    """The random changes, from assignments such as `augment.flip_p=0`.

    Raises:
        UsageError: An assignment is none of `augment`.
    """
    changed = with_assignments(FinetuneConfig(task=TaskSpec(name="region")), assignments)
    if changed.training != FinetuneConfig(task=changed.task).training:
        raise UsageError("found --set training...; here only augment.NAME=VALUE means something")
    return changed.augment
