"""CPU time of competing functions, taken in turns, and of other processes.

Comes in: functions, or the number of a process. Goes out: seconds of CPU; for each function the least of several
rounds. Refuses nothing.

Rounds are interleaved, so that a change of the machine's speed meets all of them; the least time is the one that other
processes disturbed least.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def cpu_seconds(functions: Mapping[str, Callable[[], object]], *, rounds: int = 5) -> dict[str, float]:
    """Least CPU seconds of one call of each function, over `rounds` rounds after one that does not count.

    Example:
        >>> sorted(cpu_seconds({"a": lambda: sum(range(10)), "b": lambda: None}, rounds=2))
        ['a', 'b']
    """
    best = dict.fromkeys(functions, float("inf"))
    for round_number in range(rounds + 1):
        for name, function in functions.items():
            started_s = time.process_time()
            function()
            elapsed_s = time.process_time() - started_s
            if round_number > 0:
                best[name] = min(best[name], elapsed_s)
    return best


def cpu_seconds_of(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended; 0 where it has ended itself.

    Source: proc_pid_stat(5), fields 14 to 17.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
