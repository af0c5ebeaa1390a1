"""Which file a worker process was at when it died, and the shard again without that file.

Comes in: a shard whose process crashed, hung or ran out of memory. Goes out: the receipt of the shard, with exactly the
guilty files rejected. Refuses nothing.

A worker notes the position of each file before it opens it. The file at the last position is tried alone in a
disposable process: where that dies too, the file is guilty, and the shard is built again without it, which costs one
half-built shard. Where it does not, every file of the shard is tried alone.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.executors import UnitFailure, run_units
from radio_io.layout import DatasetLayout
from radio_io.sharding.plan import GuiltyFile, ShardPlan
from radio_io.sharding.position_note import forget_position, noted_position
from radio_io.sharding.sample import SampleContext
from radio_io.sharding.shard_unit import ShardReceipt, build_shard_apart, one_sample

MOST_GUILTY = 20


def build_without_guilty(
    build: Callable[[str, SampleContext, ShardPlan], ShardReceipt],
    config: BuildConfig,
    context: SampleContext,
    plan: ShardPlan,
) -> ShardReceipt:
    """Build a shard whose process died; `build` is the unit of work that failed."""
    layout = DatasetLayout(config.dataset)
    receipt = _build_again(build, config, context, plan)
    for path in (*layout.shard_paths(plan.shard_id), layout.shard_rejects_path(plan.shard_id)):
        atomic.remove_leftovers_of(path)
    return receipt


def _build_again(
    build: Callable[[str, SampleContext, ShardPlan], ShardReceipt],
    config: BuildConfig,
    context: SampleContext,
    plan: ShardPlan,
) -> ShardReceipt:
    layout = DatasetLayout(config.dataset)
    guilty: dict[int, GuiltyFile] = {}
    while len(guilty) < MOST_GUILTY:
        position = noted_position(layout, plan.shard_id)
        if position is None or position in guilty or not 0 <= position < len(plan.files):
            break
        failure = _try_alone(config, context, plan, position)
        if failure is None:
            break
        guilty[position] = GuiltyFile(position=position, reason=failure.reason.value, detail=failure.detail)
        without = dataclasses.replace(plan, guilty=tuple(guilty.values()))
        (outcome,) = run_units(
            partial(build, str(config.dataset), context),
            [without],
            workers=1,
            timeout_s=config.shard_timeout_s(len(plan.files)),
            memory_bytes=config.worker_memory_bytes,
        )
        if not isinstance(outcome.result, UnitFailure):
            return outcome.result
    forget_position(layout, plan.shard_id)
    return build_shard_apart(config, context, plan)


def _try_alone(config: BuildConfig, context: SampleContext, plan: ShardPlan, position: int) -> UnitFailure | None:
    (outcome,) = run_units(
        partial(one_sample, context),
        [plan.files[position]],
        workers=1,
        timeout_s=config.file_timeout_s,
        memory_bytes=config.worker_memory_bytes,
    )
    return outcome.result if isinstance(outcome.result, UnitFailure) else None
