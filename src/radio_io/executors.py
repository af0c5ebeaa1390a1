"""Runs units of work in processes that may crash, hang or be interrupted, and loses nothing but the guilty unit.

Comes in: a top-level function, units that pickle, the number of processes. Goes out: each unit with its result, or with
a `UnitFailure` that says how its process ended. Refuses nothing; what the function itself raises is raised here.
What is done about a unit whose process died, a `Recovery` says; it runs in the same processes.

A first Ctrl-C stops handing out units and lets those in flight finish; a second one stops at once.
"""

import contextlib
import faulthandler
import os
import resource
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import RLock
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TextIO, TypeAlias, TypeVar, cast

from pebble import ProcessExpired, ProcessPool

from radio_io.errors import RejectReason
from radio_io.freed_memory import keep_freed_memory

Unit = TypeVar("Unit")
Result = TypeVar("Result")
UNITS_PER_WORKER = 2
PRELOADED = ["radio_io.sharding.build"]
_silence: TextIO | None = None  # set in worker processes


@dataclass(frozen=True, slots=True)
class UnitFailure:
    """How the process of a unit ended: `reason` is WORKER_CRASHED, TIMEOUT or OUT_OF_MEMORY."""

    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True)
class UnitOutcome(Generic[Unit, Result]):
    """A unit and what became of it."""

    unit: Unit
    result: Result | UnitFailure


@dataclass(frozen=True, slots=True)
class Task:
    """A function to run in a process of the pool, what to call it with, and how long it may take."""

    function: Callable[[Any], Any]
    unit: Any
    timeout_s: float


Recovery: TypeAlias = Generator[Task, Any, Result]
"""What is done about a unit whose process died: yields tasks, is sent their results or `UnitFailure`s, returns the
unit's result in the end."""
Recover: TypeAlias = Callable[[Unit, UnitFailure], Recovery[Result]]


class Interruption:
    """Whether the user has asked to stop."""

    def __init__(self) -> None:
        self.requested = threading.Event()


def default_workers() -> int:
    """One process for each core that this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def graceful_interrupt() -> Generator[Interruption, None, None]:
    """Within the block the first Ctrl-C only sets `requested`; the second raises KeyboardInterrupt."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if interruption.requested.is_set():
            raise KeyboardInterrupt
        interruption.requested.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, previous)


def run_units(
    function: Callable[[Unit], Result],
    units: Iterable[Unit],
    *,
    workers: int,
    timeout_s: float,
    memory_bytes: int | None = None,
    interruption: Interruption | None = None,
    recover: Recover[Unit, Result] | None = None,
) -> Iterator[UnitOutcome[Unit, Result]]:
    """Run `function` on each unit, in processes (`workers` 0: in this one), and give the outcomes in their order.

    `timeout_s` bounds one unit, `memory_bytes` the address space of a process. Units are taken from the iterable as
    processes become free, so it may be endless. A unit whose process died is handed to `recover`, whose tasks run in
    the same processes while the other units go on.
    """
    stop = interruption.requested if interruption is not None else threading.Event()
    if workers == 0:
        for unit in units:
            if stop.is_set():
                return
            yield UnitOutcome(unit, function(unit))
        return
    with _started_pool(workers, memory_bytes) as pool:
        try:
            yield from _outcomes(pool, (Task(function, unit, timeout_s) for unit in units), workers, stop, recover)
        except BaseException:
            pool.stop()
            raise


class _LastingLocks(ForkServerContext):
    """Keeps the locks of a pool until its processes have ended.

    The pool itself lets go of them before, and a process that is only starting looks for them by their names.
    """

    def __init__(self) -> None:
        super().__init__()
        self._locks: list[RLock] = []

    def RLock(self) -> RLock:  # noqa: N802 - the name is that of multiprocessing
        """A lock that lives until this context does not."""
        self._locks.append(super().RLock())
        return self._locks[-1]


def _started_pool(workers: int, memory_bytes: int | None) -> ProcessPool:
    """A pool whose processes are born deaf to Ctrl-C, which a terminal sends to the parent and to all of them.

    They are started by threads of the pool, and threads and processes inherit which signals are blocked. They are forks
    of a server that has imported what they need, so that one that has died is replaced in milliseconds.
    """
    context: Any = _LastingLocks()
    context.set_forkserver_preload(PRELOADED)
    resource_tracker.ensure_running()  # unblocks Ctrl-C when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        initial = (memory_bytes, dict(os.environ))
        pool = ProcessPool(max_workers=workers, initializer=_prepare, initargs=initial, context=context)
        assert pool.active  # it starts its threads when first asked
        return pool
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def finish_recovery(recovery: Recovery[Result], *, memory_bytes: int | None = None) -> Result:
    """Run the tasks of a recovery one after another, each in a process of its own."""
    task = next(recovery)
    while True:
        (outcome,) = run_units(
            task.function, [task.unit], workers=1, timeout_s=task.timeout_s, memory_bytes=memory_bytes
        )
        try:
            task = recovery.send(outcome.result)
        except StopIteration as end:
            return cast("Result", end.value)


class _Slot:
    """A unit on its way through the pool; `ready` when its outcome is there."""

    __slots__ = ("_pool", "_recovery", "future", "ready", "result", "unit")

    def __init__(self, pool: ProcessPool, task: Task) -> None:
        self._pool, self.unit = pool, task.unit
        self._recovery: Recovery[Any] | None = None
        self.result: Any = None
        self.ready = False
        self._schedule(task)

    def _schedule(self, task: Task) -> None:
        self.future: Any = self._pool.schedule(task.function, args=[task.unit], timeout=task.timeout_s)

    def settle(self, recover: Recover[Any, Any] | None) -> None:
        """Take what has come back: an outcome, or a reason to go on with the recovery."""
        if self.ready or not self.future.done():
            return
        result = _result(self.future)
        try:
            if self._recovery is not None:
                self._schedule(self._recovery.send(result))
                return
            if isinstance(result, UnitFailure) and recover is not None:
                self._recovery = recover(self.unit, result)
                self._schedule(next(self._recovery))
                return
        except StopIteration as end:
            result = end.value
        self.result, self.ready = result, True


def _outcomes(
    pool: ProcessPool, tasks: Iterator[Task], workers: int, stop: threading.Event, recover: Recover[Any, Any] | None
) -> Iterator[UnitOutcome[Any, Any]]:
    """Keep the pool busy, also while the oldest unit takes its time, and give the outcomes in order."""
    slots: deque[_Slot] = deque()
    exhausted = False
    while True:
        unfinished = sum(not slot.ready for slot in slots)
        while not (exhausted or stop.is_set() or unfinished >= UNITS_PER_WORKER * workers or len(slots) >= 8 * workers):
            task = next(tasks, None)
            if task is None:
                exhausted = True
                break
            slots.append(_Slot(pool, task))
            unfinished += 1
        if not slots:
            return
        for slot in slots:
            slot.settle(recover)
        if slots[0].ready:
            slot = slots.popleft()
            yield UnitOutcome(slot.unit, slot.result)
        else:
            wait([slot.future for slot in slots if not slot.ready], return_when=FIRST_COMPLETED)


def _result(future: Any) -> Any:  # noqa: ANN401 - pebble's future is untyped
    try:
        return future.result()
    except ProcessExpired as error:
        return UnitFailure(RejectReason.WORKER_CRASHED, f"the worker process ended with code {error.exitcode}")
    except FutureTimeoutError:
        return UnitFailure(RejectReason.TIMEOUT, "the worker process took too long")
    except MemoryError:
        return UnitFailure(RejectReason.OUT_OF_MEMORY, "the worker process ran out of its memory limit")


@contextlib.contextmanager
def time_limit(seconds: float) -> Generator[None, None, None]:
    """End this worker process where the block takes longer, be it inside native code; nothing outside of a worker.

    The parent learns of it as of any other death of the process.
    """
    if _silence is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=_silence)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _prepare(memory_bytes: int | None, environment: dict[str, str]) -> None:
    """In each worker: leave Ctrl-C to the parent, bound the memory, open where a traceback may go unseen."""
    global _silence
    os.environ.clear()  # the server that this is a fork of may be older than the parent's environment
    os.environ.update(environment)
    _silence = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
