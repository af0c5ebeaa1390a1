"""The next file is read while the current one is worked on."""

import threading

import pytest

from radio_io.errors import ImageRejectedError
from radio_io.sharding import file_ahead
from radio_io.sharding.file_ahead import files_ahead


@pytest.fixture
def paths(tmp_path):
    names = [str(tmp_path / f"{number}.dcm") for number in range(4)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes([number]) * (number + 1))
    return names


def test_gives_each_file_in_order_and_out_of_it(paths):
    with files_ahead([paths[0], paths[0], *paths[1:]], None) as ahead:
        taken = [ahead.take(paths[number]) for number in (0, 1, 3, 2, 0)]
    assert taken == [bytes([number]) * (number + 1) for number in (0, 1, 3, 2, 0)]


def test_reads_the_next_one_meanwhile(paths, monkeypatch):
    begun, original = threading.Event(), file_ahead.read_bytes

    def noting(path, archives):
        if path == paths[1]:
            begun.set()
        return original(path, archives)

    monkeypatch.setattr(file_ahead, "read_bytes", noting)
    with files_ahead(paths, None) as ahead:
        ahead.take(paths[0])
        assert begun.wait(10)


def test_a_failure_is_that_of_its_file(paths, tmp_path):
    (tmp_path / "1.dcm").unlink()
    with files_ahead(paths, None) as ahead:
        assert ahead.take(paths[0]) == b"\0"
        with pytest.raises(ImageRejectedError, match="VANISHED"):
            ahead.take(paths[1])
        assert ahead.take(paths[2]) == b"\2\2\2"
