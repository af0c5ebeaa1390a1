"""Runs units of work in processes that may crash, hang or be interrupted, and loses nothing but the guilty unit.

Comes in: a top-level function, units that pickle, the number of processes. Goes out: each unit with its result, or with
a `UnitFailure` that says how its process ended. Refuses nothing; what the function itself raises is raised here.

A first Ctrl-C stops handing out units and lets those in flight finish; a second one stops at once.
"""

import contextlib
import faulthandler
import multiprocessing
import os
import resource
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TextIO, TypeVar

from pebble import ProcessExpired, ProcessPool

from radio_io.errors import RejectReason

Unit = TypeVar("Unit")
Result = TypeVar("Result")
UNITS_PER_WORKER = 2
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
) -> Iterator[UnitOutcome[Unit, Result]]:
    """Run `function` on each unit, in processes (`workers` 0: in this one), and give the outcomes in their order.

    `timeout_s` bounds one unit, `memory_bytes` the address space of a process. Units are taken from the iterable as
    processes become free, so it may be endless.
    """
    stop = interruption.requested if interruption is not None else threading.Event()
    if workers == 0:
        for unit in units:
            if stop.is_set():
                return
            yield UnitOutcome(unit, function(unit))
        return
    context: Any = multiprocessing.get_context("spawn")
    with ProcessPool(max_workers=workers, initializer=_prepare, initargs=(memory_bytes,), context=context) as pool:
        waiting: deque[tuple[Unit, Any]] = deque()
        source = iter(units)
        exhausted = False
        try:
            while True:
                while not exhausted and not stop.is_set() and len(waiting) < UNITS_PER_WORKER * workers:
                    try:
                        unit = next(source)
                    except StopIteration:
                        exhausted = True
                        break
                    waiting.append((unit, pool.schedule(function, args=[unit], timeout=timeout_s)))
                if not waiting:
                    break
                unit, future = waiting.popleft()
                yield UnitOutcome(unit, _result(future))
        except BaseException:
            pool.stop()
            raise


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


def _prepare(memory_bytes: int | None) -> None:
    """In each worker: leave Ctrl-C to the parent, bound the memory, open where a traceback may go unseen."""
    global _silence
    _silence = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
