"""Kills an operation on a small dataset at each of its steps, runs it again, and says where the outcome differs.

A step is whatever changes a folder: a file opened for writing, renamed, removed, a folder made. The process dies just
before it; a file that was about to get its final name is cut in half first, as if it was being written.

Example: python tests/crash/killed_at_steps.py build steps 0 1
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from dataset_changes import OPERATIONS, outcome, prepare  # noqa: E402

WRITES = os.O_WRONLY | os.O_RDWR
AMISS = (" faults", " temporary files")
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")


class Steps:
    """Counts the changes below a folder; ends the process before one of them."""

    def __init__(self, folder: Path, last: int | None) -> None:
        self.folder, self.last, self.count = str(folder), last, 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & WRITES):
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        if not str(path).startswith(self.folder):
            return
        if self.count == self.last:
            if event == "os.rename" and Path(str(path)).is_file():
                last, self.last = self.last, None
                os.truncate(str(path), Path(str(path)).stat().st_size // 2)
                self.last = last
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1


def in_child(work: Callable[[], object]) -> tuple[int, str]:
    """The status and the words of a process that does this work."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        with os.fdopen(writing, "w", encoding="utf-8") as report:
            try:
                report.write(json.dumps(work(), default=str))
                status = 0
            except BaseException:  # noqa: BLE001 - the parent reports it
                report.write(traceback.format_exc())
        os._exit(status)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as report:
        words = report.read()
    return os.waitpid(child, 0)[1], words


def run(operation: str, folder: Path, last: int | None) -> int:
    steps = Steps(folder, last)
    sys.addaudithook(steps)
    OPERATIONS[operation](folder / "d")
    return steps.count


def again(operation: str, folder: Path) -> dict[str, object]:
    OPERATIONS[operation](folder / "d")
    return outcome(folder)


def _differences(found: dict[str, object], expected: dict[str, object]) -> str:
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return "; ".join(f"{name}: {found.get(name)!r:.200}, expected {expected.get(name)!r:.200}" for name in names)


def main(operation: str, place: str, first: int, stride: int) -> int:
    """Prints what differs after each step that went wrong, and the number of steps; the status is 0 if none did."""
    base, folder = Path(place).absolute() / "base", Path(place).absolute() / "run"
    status, words = in_child(lambda: prepare(operation, folder))
    assert status == 0, words
    folder.rename(base)

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base, folder)

    fresh()
    status, words = in_child(lambda: run(operation, folder, None))
    assert status == 0, words
    total = int(words)
    status, expected = in_child(lambda: outcome(folder))
    assert status == 0, expected
    amiss = {name: value for name, value in json.loads(expected).items() if name.endswith(AMISS) and value}
    assert not amiss, amiss
    wrong = 0
    for step in range(first, total, stride):
        fresh()
        status, words = in_child(lambda at=step: run(operation, folder, at))
        assert status == signal.SIGKILL, (step, words)
        status, words = in_child(lambda: again(operation, folder))
        if status != 0 or words != expected:
            wrong += 1
            differs = words if status else _differences(json.loads(words), json.loads(expected))
            sys.stdout.write(f"step {step}: {differs}\n")
    sys.stdout.write(f"{total} steps, {wrong} wrong\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
