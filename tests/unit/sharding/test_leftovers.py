"""Half a file under the temporary name of each file, as killed processes leave them: nothing takes one for the file."""

import pytest

from radio_io.atomic import temporary_path
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import RejectReason
from radio_io.labels.identifiers import open_dataset_key
from radio_io.labels.store import write_task
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.build import publish_index
from radio_io.sharding.derive import DeriveConfig, merge_datasets, rebin_dataset
from radio_io.sharding.forget import forget
from radio_io.sharding.forget_request import ForgetRequest, tombstones_for
from radio_io.sharding.repair import repair_dataset
from radio_io.sharding.retry import request_retry
from small_datasets import NEW, build, copy_of, faults, files_of, rows, write_source


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leftovers")
    write_source(folder / "source", range(24))
    cut = folder / "source" / "000"
    cut.write_bytes(cut.read_bytes()[:-100])
    build(folder / "whole" / "d", folder / "source")
    layout = DatasetLayout(folder / "whole" / "d")
    write_task(layout, "odd", {key: "1" for (key,) in rows(layout.root, "SELECT key FROM images")})
    publish_index(layout, read_dataset_file(layout.root))
    return layout.root


def from_these(*roots):
    return DeriveConfig(sources=roots, out=roots[0].parent / "new", workers=0)


def withdraw(root):
    return forget(root, tombstones_for(ForgetRequest(patients=("P3",)), open_dataset_key(root)), NoProgress())


def try_again(root):
    request_retry(DatasetLayout(root), frozenset({RejectReason.TRUNCATED}))
    return build(root, root.parents[1] / "source")


OPERATIONS = {
    "build": lambda root: build(root, root.parents[1] / "source"),
    "retry": try_again,
    "index": lambda root: publish_index(DatasetLayout(root), read_dataset_file(root)),
    "repair": lambda root: repair_dataset(root, NoProgress(), workers=0),
    "rebin": lambda root: rebin_dataset(from_these(root), NEW, NoProgress()),
    "merge": lambda root: merge_datasets(from_these(root, root.parents[1] / "whole" / "d"), NoProgress()),
    "forget": withdraw,
}


def outcome(root, operation):
    """Every file and every row that the operation leaves in the dataset, and in the one that it makes."""
    OPERATIONS[operation](root)
    found = {}
    for each in (root, root.parent / "new"):
        if each.exists():
            files = {name: data for name, data in files_of(each).items() if ".tmp-" not in name}
            tables = {
                name: rows(each, f"SELECT * FROM {name} ORDER BY ALL")
                for name in ("images", "shards", "rejects", "labels")
            }
            found[each.name] = (files, tables)
            assert [fault for fault in faults(each) if ".tmp-" not in fault] == []
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_takes_no_half_written_file_for_a_whole_one(whole, operation):
    folder = whole.parents[1]
    expected = outcome(copy_of(whole, folder / f"{operation}.clean" / "d"), operation)
    root = copy_of(whole, folder / f"{operation}.killed" / "d")
    files = [path for each in (root, DatasetLayout(root).private) for path in each.rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        data = path.read_bytes()
        temporary_path(path, pid=30_259).write_bytes(data[: len(data) // 2])
    assert outcome(root, operation) == expected
