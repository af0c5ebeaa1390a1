"""Units of work to wherever the configuration says: processes here, or a dask cluster.

Comes in: a `BuildConfig`, a function and units. Goes out: outcomes in the order of the units. Refuses what the
executors refuse.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from radio_io.cluster import is_cluster, run_on_cluster
from radio_io.config import BuildConfig
from radio_io.executors import Interruption, UnitOutcome, run_units

Unit = TypeVar("Unit")
Result = TypeVar("Result")


def dispatch(
    config: BuildConfig,
    function: Callable[[Unit], Result],
    units: Iterable[Unit],
    *,
    timeout_s: float,
    memory_bytes: int | None = None,
    interruption: Interruption | None = None,
) -> Iterator[UnitOutcome[Unit, Result]]:
    """Run `function` on each unit.

    `timeout_s` and `memory_bytes` bound a unit in processes here; on a cluster its own limits hold.
    """
    if is_cluster(config.executor):
        return run_on_cluster(
            function, units, executor=config.executor, workers=config.workers, interruption=interruption
        )
    return run_units(
        function,
        units,
        workers=config.workers,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        interruption=interruption,
    )
