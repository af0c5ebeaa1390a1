"""Files of labels: the same labels come back, damaged and foreign ones are refused."""

import pytest

from radio_io.errors import DatasetError
from radio_io.index.label_file import encode_labels
from radio_io.labels.store import read_task, task_path, write_task
from radio_io.layout import DatasetLayout

LABELS = {f"{number:032x}": "yes" if number % 3 else "no" for number in range(50)}


@pytest.fixture
def path(tmp_path):
    layout = DatasetLayout(tmp_path)
    write_task(layout, "fracture", LABELS)
    return task_path(layout, "fracture")


def test_gives_the_labels_back(path):
    assert read_task(path) == LABELS


@pytest.mark.parametrize("bit", [1, 32])
def test_refuses_a_flipped_bit_wherever_it_is(path, bit):
    whole = path.read_bytes()
    for position in range(0, len(whole), 5):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
        with pytest.raises(DatasetError, match=r"fracture\.parquet is damaged, .*import the labels again"):
            read_task(path)


def test_refuses_the_labels_of_another_task(path):
    path.write_bytes(encode_labels("pneumonia", LABELS))
    with pytest.raises(DatasetError, match="has the labels of task 'pneumonia'"):
        read_task(path)


def test_refuses_another_version(path, monkeypatch):
    monkeypatch.setattr("radio_io.index.label_file.LABEL_FORMAT_VERSION", 2)
    with pytest.raises(DatasetError, match="format version 1, this radio reads 2"):
        read_task(path)
