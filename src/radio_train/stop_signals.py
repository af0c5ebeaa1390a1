"""Signals that ask a run to end: noted, and obeyed after the step.

Comes in: SIGTERM, SIGINT, and SIGUSR1 (which SLURM sends before it preempts: `sbatch --signal=USR1@90`). Goes out:
whether one came. A second SIGINT ends the process at once.
"""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopSignals:
    """Catches the signals while its block lasts; in another thread than the main one it catches nothing."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._previous = {number: signal.signal(number, self._request) for number in SIGNALS}
        except ValueError:  # not the main thread
            self._previous = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
