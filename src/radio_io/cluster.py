"""Runs units of work on a dask cluster: one that runs already, or one started here for this command.

Comes in: the same function and units as `executors.run_units`, and `dask` or the address of a scheduler. Goes out: the
same outcomes. Refuses a scheduler that does not answer, and a missing package.

Dask moves a unit to another worker when its worker dies, which is harmless since a unit may run twice. Where it gives a
unit up after several deaths, the outcome is a `UnitFailure`, and the caller looks for the guilty file.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from radio_io.errors import ConfigError, RejectReason, StorageError
from radio_io.executors import Interruption, UnitFailure, UnitOutcome

Unit = TypeVar("Unit")
Result = TypeVar("Result")
LOCAL_CLUSTER = "dask"
SCHEMES = ("tcp://", "tls://", "ucx://", "ws://", "wss://")
UNITS_PER_WORKER = 3
CONNECT_SECONDS = 15


def is_cluster(executor: str) -> bool:
    """Whether an executor's name means a cluster.

    Raises:
        ConfigError: It means nothing.

    Example:
        >>> is_cluster("local"), is_cluster("dask"), is_cluster("tcp://10.0.0.1:8786")
        (False, True, True)
    """
    if executor == "local":
        return False
    if executor == LOCAL_CLUSTER or executor.startswith(SCHEMES):
        return True
    raise ConfigError(
        f"executor is {executor!r}; expected local, dask, or the address of a dask scheduler such as tcp://10.0.0.1:8786"
    )


def run_on_cluster(
    function: Callable[[Unit], Result],
    units: Iterable[Unit],
    *,
    executor: str,
    workers: int,
    interruption: Interruption | None = None,
) -> Iterator[UnitOutcome[Unit, Result]]:
    """Run `function` on each unit on a cluster; outcomes come in the order of the units.

    Raises:
        StorageError: No scheduler answers.
        ConfigError: dask is not installed.
    """
    with _client(executor, workers) as client:
        waiting: deque[tuple[Unit, Any]] = deque()
        source, exhausted = iter(units), False
        while True:
            stopped = interruption is not None and interruption.requested.is_set()
            room = UNITS_PER_WORKER * max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
            while not exhausted and not stopped and len(waiting) < room:
                unit = next(source, None)
                if unit is None:
                    exhausted = True
                    break
                waiting.append((unit, client.submit(function, unit, pure=False)))
            if not waiting:
                return
            unit, future = waiting.popleft()
            yield UnitOutcome(unit, _result(future))


def _result(future: Any) -> Any:  # noqa: ANN401 - dask's future is untyped
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return UnitFailure(RejectReason.WORKER_CRASHED, "the cluster gave the unit up after its workers had died")
    except MemoryError:
        return UnitFailure(RejectReason.OUT_OF_MEMORY, "the worker process ran out of its memory limit")


@contextlib.contextmanager
def _client(executor: str, workers: int) -> Generator[Any, None, None]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigError(f"executor {executor} needs the extra dask: pip install 'radio[dask]'") from None
    if executor == LOCAL_CLUSTER:
        options: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(n_workers=max(workers, 1), **options) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(executor, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise StorageError(
            f"no dask scheduler answers at {executor} ({type(error).__name__}); start one with: dask scheduler"
        ) from None
    with client:
        yield client
