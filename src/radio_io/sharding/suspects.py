"""Which file a worker process was at when it died, and the shard again without that file.

Comes in: a shard whose process crashed, hung or ran out of memory. Goes out: the receipt of the shard, with exactly the
guilty files rejected. Refuses nothing.

A worker notes the position of each file before it opens it, and what became of it. The file at the last position is
tried alone: where that process dies too, the file is guilty, and the shard is built again without it, from what the
dead worker had finished on. Where it does not, every file of the shard is tried alone.
"""

import dataclasses
from collections.abc import Generator
from functools import partial
from typing import Any, cast

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.executors import Recovery, Task, UnitFailure
from radio_io.layout import DatasetLayout
from radio_io.sharding.journal import forget_progress, read_progress
from radio_io.sharding.plan import GuiltyFile, ShardPlan
from radio_io.sharding.sample import SampleContext
from radio_io.sharding.shard_unit import ShardReceipt, build_shard, build_shard_apart, one_sample

MOST_GUILTY = 20


def recover_shard(
    config: BuildConfig, context: SampleContext, plan: ShardPlan, failure: UnitFailure
) -> Recovery[ShardReceipt]:
    """Build a shard whose process died with `failure`."""
    layout = DatasetLayout(config.dataset)
    receipt = yield from _without_guilty(config, context, plan)
    if receipt is None:
        forget_progress(layout, plan.shard_id)
        receipt = build_shard_apart(config, context, plan)
    for path in (*layout.shard_paths(plan.shard_id), layout.shard_rejects_path(plan.shard_id)):
        atomic.remove_leftovers_of(path)
    return receipt


def _without_guilty(
    config: BuildConfig, context: SampleContext, plan: ShardPlan
) -> Generator[Task, Any, ShardReceipt | None]:
    layout = DatasetLayout(config.dataset)
    guilty: dict[int, GuiltyFile] = {}
    while len(guilty) < MOST_GUILTY:
        progress = read_progress(layout, plan.shard_id)
        if progress is None or progress.position in guilty:
            return None
        position = progress.position
        alone = yield Task(partial(one_sample, context), plan.files[position], config.file_timeout_s)
        if not isinstance(alone, UnitFailure):
            return None
        guilty[position] = GuiltyFile(position=position, reason=alone.reason.value, detail=alone.detail)
        without = dataclasses.replace(plan, guilty=tuple(guilty.values()))
        timeout_s = config.shard_timeout_s(len(plan.files))
        result = yield Task(partial(build_shard, str(config.dataset), context), without, timeout_s)
        if not isinstance(result, UnitFailure):
            return cast("ShardReceipt", result)
    return None
