"""The shards that are missing, in the order in which they may be built.

Comes in: the plan and what is finished. Goes out: `MissingShards`, and the shards of a wave, one after another. Refuses
damaged plans and records.

A shard that has an instance in common with an earlier one, as when a later source holds copies, is built in a later
wave than that one, so that duplicates are found across shards too.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from radio_io.config import TaskShare
from radio_io.index.records import read_record_columns
from radio_io.layout import DatasetLayout
from radio_io.sharding.plan import ShardPlan, planned_shards, repeated_instances
from radio_io.sharding.shard_unit import is_done


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingShards:
    """What is left to build: the wave of each shard, and the earlier shards that it has an instance in common with.

    `files`, `size_bytes` and `longest` (files of the largest shard) are sums over these; `of_others` counts missing
    shards that belong to other tasks.
    """

    waves: dict[str, int]
    earlier: dict[str, frozenset[str]]
    files: int
    size_bytes: int
    longest: int
    of_others: int

    @property
    def wave_numbers(self) -> list[int]:
        """The waves that hold a shard, in order."""
        return sorted(set(self.waves.values()))


def find_missing(layout: DatasetLayout, task: TaskShare | None = None) -> MissingShards:
    """The shards of the plan that are not finished; only those of `task` where it is given."""
    repeated = repeated_instances(layout)
    holders: dict[str, tuple[str, ...]] = {}
    wave_of: dict[str, int] = {}
    mine: dict[str, int] = {}
    links: dict[str, frozenset[str]] = {}
    files = size_bytes = longest = others = 0
    for position, plan in enumerate(planned_shards(layout)):
        instances = {file.instance_key for file in plan.files} & repeated
        earlier = frozenset(shard_id for key in instances for shard_id in holders.get(key, ()))
        for key in instances:
            holders[key] = (*holders.get(key, ()), plan.shard_id)
        if is_done(layout, plan.shard_id):
            continue
        wave_of[plan.shard_id] = max((wave_of[each] + 1 for each in earlier if each in wave_of), default=0)
        if task is not None and not task.takes(position):
            others += 1
            continue
        mine[plan.shard_id] = wave_of[plan.shard_id]
        if earlier:
            links[plan.shard_id] = earlier
        files += len(plan.files)
        size_bytes += sum(file.size_bytes for file in plan.files)
        longest = max(longest, len(plan.files))
    return MissingShards(
        waves=mine, earlier=links, files=files, size_bytes=size_bytes, longest=longest, of_others=others
    )


def plans_of_wave(layout: DatasetLayout, missing: MissingShards, wave: int) -> Iterator[ShardPlan]:
    """The shards of a wave whose earlier shards are finished, with the keys that these hold of their instances."""
    for plan in planned_shards(layout):
        if missing.waves.get(plan.shard_id) != wave:
            continue
        earlier = missing.earlier.get(plan.shard_id, frozenset())
        if all(is_done(layout, shard_id) for shard_id in earlier):
            yield dataclasses.replace(plan, taken=_keys_taken(layout, plan, earlier))


def _keys_taken(layout: DatasetLayout, plan: ShardPlan, earlier: frozenset[str]) -> frozenset[str]:
    instances = frozenset(file.instance_key for file in plan.files) if earlier else frozenset[str]()
    return frozenset(key for shard_id in earlier for key in _keys_of(layout, shard_id, instances))


def _keys_of(layout: DatasetLayout, shard_id: str, instances: frozenset[str]) -> set[str]:
    path = layout.record_path(shard_id)
    if not path.exists():
        return set()
    columns = read_record_columns(path, ["key", "instance_key"]).to_pydict()
    pairs = zip(columns["key"], columns["instance_key"], strict=True)
    return {str(key) for key, instance in pairs if instance in instances}
