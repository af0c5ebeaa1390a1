"""A file that is checked while it is written holds what was written, or says that it does not."""

import errno
import itertools
import os

import pytest

from radio_io import checked_file
from radio_io.checked_file import ALIGNMENT, PART_BYTES, CheckedFile
from radio_io.errors import StorageError

SIZES = (1, 511, ALIGNMENT - 1, ALIGNMENT, 3 * ALIGNMENT + 7, 0, 20 * ALIGNMENT, 5)


@pytest.fixture(params=["direct", "plain"])
def opening(request, monkeypatch):
    """Whether the file system lets the page cache be passed by."""
    if request.param == "direct":
        return
    plain = os.open

    def refuse_direct(path, flags, *arguments, **options):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no direct access")
        return plain(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse_direct)


@pytest.fixture
def checked(monkeypatch):
    """The ranges that were read back, of a file in small parts."""
    monkeypatch.setattr(checked_file, "PART_BYTES", 4 * ALIGNMENT)
    ranges = []
    check = checked_file._check
    monkeypatch.setattr(
        checked_file,
        "_check",
        lambda path, start, end, crc32: (ranges.append((start, end)), check(path, start, end, crc32)),
    )
    return ranges


@pytest.mark.parametrize("rounds", [1, 5])
def test_reads_back_each_byte_once(tmp_path, opening, checked, rounds):
    pieces = [os.urandom(size) for size in SIZES * rounds]
    with CheckedFile(tmp_path / "file") as file:
        for piece in pieces:
            file.write(piece)
        file.finish()
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)
    assert len(checked) > rounds
    assert checked[0][0] == 0
    assert checked[-1][1] == sum(map(len, pieces))
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(checked))


@pytest.mark.parametrize("position", [0, 5 * ALIGNMENT - 1, PART_BYTES - 2])
def test_refuses_a_disk_that_gives_back_other_bytes(tmp_path, opening, position):
    with CheckedFile(tmp_path / "file") as file:
        file.write(bytes(PART_BYTES - 1))
        with (tmp_path / "file").open("r+b") as disk:
            disk.seek(position)
            disk.write(b"\x01")
        file.write(b"\0")
        with pytest.raises(StorageError, match="reads back differently"):
            file.finish()


def test_refuses_a_file_that_has_become_shorter(tmp_path, opening):
    with CheckedFile(tmp_path / "file") as file:
        file.write(os.urandom(2 * ALIGNMENT))
        os.truncate(tmp_path / "file", ALIGNMENT)
        with pytest.raises(StorageError, match="reads back differently"):
            file.finish()


def test_a_damaged_part_ends_the_writing_of_the_next_ones(tmp_path, checked):
    with CheckedFile(tmp_path / "file") as file:
        file.write(os.urandom(ALIGNMENT))
        os.truncate(tmp_path / "file", 0)
        with pytest.raises(StorageError, match="reads back differently"):
            _write_on(file)


def _write_on(file):
    for _ in range(20):
        file.write(os.urandom(ALIGNMENT))
