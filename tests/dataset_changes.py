"""Whatever changes a dataset, on a small one: the state before, the change, and the outcome."""

from collections.abc import Callable
from pathlib import Path

from radio_io.atomic import TEMP_PREFIX
from radio_io.checksum import crc32_of
from radio_io.config import BuildConfig
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import RejectReason
from radio_io.labels.identifiers import open_dataset_key
from radio_io.labels.import_labels import store_labels
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.build import publish_index
from radio_io.sharding.derive import DeriveConfig, merge_datasets, rebin_dataset
from radio_io.sharding.forget import forget
from radio_io.sharding.forget_request import ForgetRequest, tombstones_for
from radio_io.sharding.from_tars import rebuild_from_tars
from radio_io.sharding.locking import locked
from radio_io.sharding.repair import repair_dataset
from radio_io.sharding.retry import request_retry
from small_datasets import NEW, build, faults, files_of, rows, write_source

TABLES = ("images", "shards", "rejects", "labels")


def grow(root: Path) -> None:
    build(root, root.parent / "source")


def try_again(root: Path) -> None:
    if not (DatasetLayout(root).private / "retried").exists():  # who asked once and was killed need not ask again
        request_retry(DatasetLayout(root), frozenset({RejectReason.TRUNCATED}))
        (DatasetLayout(root).private / "retried").touch()
    grow(root)


def withdraw(root: Path) -> None:
    request = ForgetRequest(patients=("P1",))
    forget(root, tombstones_for(request, open_dataset_key(root)), NoProgress())


def copied(*roots: Path) -> DeriveConfig:
    return DeriveConfig(sources=roots, out=roots[0].parent / "new", workers=0)


def label(root: Path) -> None:
    store_labels(root, "even", {key: "0" for (key,) in rows(root, "SELECT key FROM images")}, replace=True)


def index_again(root: Path) -> None:
    with locked(DatasetLayout(root)):
        publish_index(DatasetLayout(root), read_dataset_file(root))


def repair(root: Path) -> None:
    repair_dataset(root, NoProgress(), config=BuildConfig(dataset=root, workers=0), workers=0)


OPERATIONS: dict[str, Callable[[Path], object]] = {
    "build": grow,
    "extend": grow,
    "retry": try_again,
    "index": index_again,
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
