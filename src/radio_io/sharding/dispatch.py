"""Units of work to wherever the configuration says: processes here, or a dask cluster.

Comes in: a `BuildConfig`, a function and units. Goes out: outcomes in the order of the units. Refuses what the
executors refuse.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from radio_io.cluster import is_cluster, run_on_cluster
from radio_io.config import BuildConfig
from radio_io.executors import Interruption, Recover, UnitFailure, UnitOutcome, finish_recovery, run_units

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
    recover: Recover[Unit, Result] | None = None,
) -> Iterator[UnitOutcome[Unit, Result]]:
    """Run `function` on each unit; where a process died, what `recover` says.

    `timeout_s` and `memory_bytes` bound a unit in processes here; on a cluster its own limits hold, and a recovery is
    run here.
    """
    if is_cluster(config.executor):
        outcomes = run_on_cluster(
            function, units, executor=config.executor, workers=config.workers, interruption=interruption
        )
        return (_recovered(outcome, recover, memory_bytes) for outcome in outcomes)
    return run_units(
        function,
        units,
        workers=config.workers,
        timeout_s=timeout_s,
        memory_bytes=memory_bytes,
        interruption=interruption,
        recover=recover,
    )


def _recovered(
    outcome: UnitOutcome[Unit, Result], recover: Recover[Unit, Result] | None, memory_bytes: int | None
) -> UnitOutcome[Unit, Result]:
    if recover is None or not isinstance(outcome.result, UnitFailure):
        return outcome
    recovery = recover(outcome.unit, outcome.result)
    return UnitOutcome(outcome.unit, finish_recovery(recovery, memory_bytes=memory_bytes))
