"""Half a file under the temporary name of each file, as killed processes leave them: nothing takes one for the file."""

import shutil

import pytest

from dataset_changes import OPERATIONS, outcome, prepare
from radio_io.atomic import temporary_path
from radio_io.layout import DatasetLayout


@pytest.mark.parametrize("operation", OPERATIONS)
def test_takes_no_half_written_file_for_a_whole_one(tmp_path, operation):
    folder, before = tmp_path / "run", tmp_path / "before"
    prepare(operation, folder)
    shutil.copytree(folder, before)
    OPERATIONS[operation](folder / "d")
    expected = outcome(folder)
    assert expected["d faults"] == expected["d temporary files"] == []

    shutil.rmtree(folder)
    shutil.copytree(before, folder)
    layout = DatasetLayout(folder / "d")
    for path in [path for each in (layout.root, layout.private) for path in each.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        temporary_path(path, pid=30_259).write_bytes(data[: len(data) // 2])
    OPERATIONS[operation](folder / "d")
    found = outcome(folder)
    if operation in ("rebin", "merge"):  # they leave the dataset that they copy as it is
        found, expected = (
            {name: each for name, each in both.items() if name.startswith("new")} for both in (found, expected)
        )
    assert found == expected
