"""CPU time of competing functions, taken in turns.

Comes in: functions. Goes out: seconds of CPU for each, least of several rounds. Refuses nothing.

Rounds are interleaved, so that a change of the machine's speed meets all of them; the least time is the one that other
processes disturbed least.
"""

import time
from collections.abc import Callable, Mapping


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
