"""Makes errors that a C extension prints and swallows count as errors.

Comes in: nothing. Goes out: `refuse_unraisable`.

imagecodecs 2026.3.6 raises OpenJPH's errors inside a function that cannot raise: Python prints "Exception ignored"
and the caller gets a half-decoded image. This can go when imagecodecs raises them.
"""

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_lock = threading.Lock()


@contextmanager
def refuse_unraisable() -> Generator[None]:
    """Raises what was swallowed inside, one thread at a time.

    Raises:
        RuntimeError: if an exception could not be raised where it occurred.
    """
    thread, swallowed = threading.get_ident(), list[str]()

    def take(unraisable: "UnraisableHookArgs") -> None:
        if threading.get_ident() == thread:
            swallowed.append(str(unraisable.exc_value))
        else:
            previous(unraisable)

    def ignore(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if threading.get_ident() != thread:  # Cython prints before it reports
            previous_printer(kind, value, trace)

    with _lock:
        previous, previous_printer = sys.unraisablehook, sys.excepthook
        sys.unraisablehook, sys.excepthook = take, ignore
        try:
            yield
        finally:
            sys.unraisablehook, sys.excepthook = previous, previous_printer
    if swallowed:
        raise RuntimeError(swallowed[0])
