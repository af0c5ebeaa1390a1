"""How long work tells its caller where it stands, without knowing about terminals.

Comes in: nothing. Goes out: the `Progress` protocol that library functions accept, and `NoProgress`.
"""

from typing import Protocol


class Progress(Protocol):
    """Receives the course of one stage after another; the command line draws it, tests record it."""

    def start(self, stage: str, *, total: int | None, unit: str) -> None:
        """A stage begins; `total` is None where it is not known yet."""
        ...

    def advance(self, count: int = 1, *, size_bytes: int = 0) -> None:
        """`count` more units are done, which read or wrote `size_bytes`."""
        ...

    def finish(self) -> None:
        """The stage is over."""
        ...


class NoProgress:
    """A `Progress` that shows nothing."""

    def start(self, stage: str, *, total: int | None, unit: str) -> None:
        """Ignore the stage."""

    def advance(self, count: int = 1, *, size_bytes: int = 0) -> None:
        """Ignore the units."""

    def finish(self) -> None:
        """Ignore the end."""
