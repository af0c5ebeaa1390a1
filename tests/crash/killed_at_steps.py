"""Kills an operation on a small dataset at each of its steps, runs it again, and says where the outcome differs.

A step is whatever changes a folder: a file opened for writing, renamed, removed, a folder made. The process dies just
before it; a file that was about to get its final name is cut in half first, as if it was being written.

Example: python tests/crash/killed_at_steps.py build /tmp/steps 0 1
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

from radio_io.atomic import TEMP_PREFIX  # noqa: E402
from radio_io.checksum import crc32_of  # noqa: E402
from radio_io.config import BuildConfig  # noqa: E402
from radio_io.dataset_file import read_dataset_file  # noqa: E402
from radio_io.errors import RejectReason  # noqa: E402
from radio_io.labels.identifiers import open_dataset_key  # noqa: E402
from radio_io.labels.import_labels import store_labels  # noqa: E402
from radio_io.layout import DatasetLayout  # noqa: E402
from radio_io.progress import NoProgress  # noqa: E402
from radio_io.sharding.build import publish_index  # noqa: E402
from radio_io.sharding.derive import DeriveConfig, merge_datasets, rebin_dataset  # noqa: E402
from radio_io.sharding.forget import forget  # noqa: E402
from radio_io.sharding.forget_request import ForgetRequest, tombstones_for  # noqa: E402
from radio_io.sharding.from_tars import rebuild_from_tars  # noqa: E402
from radio_io.sharding.repair import repair_dataset  # noqa: E402
from radio_io.sharding.retry import request_retry  # noqa: E402
from small_datasets import NEW, build, faults, files_of, rows, write_source  # noqa: E402

WRITES = os.O_WRONLY | os.O_RDWR
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
TABLES = ("images", "shards", "rejects", "labels")


def grow(root: Path) -> None:
    build(root, root.parent / "source")


def try_again(root: Path) -> None:
    if not (DatasetLayout(root).private / "retried").exists():  # who asked once and was killed need not ask again
        request_retry(DatasetLayout(root), frozenset({RejectReason.TRUNCATED}))
        (DatasetLayout(root).private / "retried").touch()
    grow(root)


def withdraw(root: Path) -> None:
    request = ForgetRequest(patients=("P3",))
    forget(root, tombstones_for(request, open_dataset_key(root)), NoProgress())


def copied(*roots: Path) -> DeriveConfig:
    return DeriveConfig(sources=roots, out=roots[0].parent / "new", workers=0)


def label(root: Path) -> None:
    store_labels(root, "even", {key: "0" for (key,) in rows(root, "SELECT key FROM images")}, replace=True)


def repair(root: Path) -> None:
    repair_dataset(root, NoProgress(), config=BuildConfig(dataset=root, workers=0), workers=0)


OPERATIONS: dict[str, Callable[[Path], object]] = {
    "build": grow,
    "extend": grow,
    "retry": try_again,
    "index": lambda root: publish_index(DatasetLayout(root), read_dataset_file(root)),
    "label": label,
    "rebin": lambda root: rebin_dataset(copied(root), NEW, NoProgress()),
    "merge": lambda root: merge_datasets(copied(root, root.parent / "other"), NoProgress()),
    "forget": withdraw,
    "repair": repair,
    "from-tars": lambda root: rebuild_from_tars(root, NoProgress()),
}


def prepare(operation: str, folder: Path) -> None:
    """The state in which the operation begins."""
    write_source(folder / "source", range(6))
    cut = folder / "source" / "001"
    cut.write_bytes(cut.read_bytes()[:-100])
    root = folder / "d"
    if operation == "build":
        layout = DatasetLayout(root)
        layout.private.mkdir(mode=0o700)
        layout.key_file.write_bytes(bytes(range(32)))
        layout.key_file.chmod(0o600)
        return
    build(root, folder / "source")
    store_labels(root, "odd", {key: "1" for (key,) in rows(root, "SELECT key FROM images")})
    if operation == "extend":
        write_source(folder / "source" / "more", range(10, 16))
    elif operation == "merge":
        write_source(folder / "other.source", range(4, 10))
        build(folder / "other", folder / "other.source")
    elif operation == "repair":
        first, second = DatasetLayout(root).record_paths()[:2]
        first.with_suffix(".tar").unlink()
        second.unlink()
        (root / "labels" / "odd.parquet").unlink()
    elif operation == "from-tars":
        for record in DatasetLayout(root).record_paths():
            record.unlink()


def outcome(folder: Path) -> dict[str, object]:
    """Every file and row of the datasets, and what is left lying about."""
    found: dict[str, object] = {}
    for root in (folder / "d", folder / "new"):
        if root.exists():
            left = [path.name for each in (root, DatasetLayout(root).private) for path in each.rglob(f"{TEMP_PREFIX}*")]
            found |= {f"{root.name}/{name}": crc32_of(data) for name, data in files_of(root).items()}
            found |= {f"{root.name} {name}": rows(root, f"SELECT * FROM {name} ORDER BY ALL") for name in TABLES}
            found |= {f"{root.name} faults": faults(root), f"{root.name} temporary files": left}
    return found


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
    base, folder = Path(place) / "base", Path(place) / "run"
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
