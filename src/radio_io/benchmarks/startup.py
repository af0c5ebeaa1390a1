"""How much CPU short commands take as whole processes, beside bare Python and a bare DuckDB count.

Comes in: command lines. Goes out: `CommandCost`s: least and median CPU seconds of the process and its children, and the
median of the time on the clock. Refuses commands that fail.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from radio_io.errors import StorageError

BARE = "python -c pass"
COUNT = "python, duckdb count"


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandCost:
    """What a command took, over its repetitions."""

    name: str
    least_cpu_s: float
    cpu_s: float
    wall_s: float


def measure_commands(commands: Mapping[str, Sequence[str]], *, repetitions: int = 5) -> list[CommandCost]:
    """Each command `repetitions` times, in turns, after one time that does not count.

    Raises:
        StorageError: A command failed.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(repetitions + 1):
        for name, command in commands.items():
            cpu_s, wall_s = _run(name, command)
            if number:
                taken[name].append((cpu_s, wall_s))
    return [
        CommandCost(
            name=name,
            least_cpu_s=min(cpu for cpu, _ in each),
            cpu_s=statistics.median(cpu for cpu, _ in each),
            wall_s=statistics.median(wall for _, wall in each),
        )
        for name, each in taken.items()
    ]


def start_commands(dataset: Path | None) -> dict[str, list[str]]:
    """Bare Python, `radio --help`, and counts in the index of a dataset."""
    radio = [str(Path(sys.executable).parent / "radio")]
    commands = {BARE: [sys.executable, "-c", "pass"], "radio --help": [*radio, "--help"]}
    if dataset is not None:
        query = "select count(*) from images"
        count = f"import duckdb, sys; duckdb.connect(sys.argv[1], read_only=True).sql({query!r}).fetchall()"
        commands[COUNT] = [sys.executable, "-c", count, str(dataset / "index.duckdb")]
        commands["radio query --count"] = [*radio, "query", "region='Knee'", "--count", "--dataset", str(dataset)]
    return commands


def _run(name: str, command: Sequence[str]) -> tuple[float, float]:
    before, began_s = _children_s(), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    wall_s = time.perf_counter() - began_s
    if done.returncode:
        raise StorageError(f"{name} ended with code {done.returncode}; run it alone to see why")
    return _children_s() - before, wall_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
