"""Files are whole or absent."""

import errno
import os
import zlib
from pathlib import Path

import pytest

from radio_io import atomic
from radio_io.errors import StorageError


def test_writes_and_replaces_a_file(tmp_path):
    path = tmp_path / "a"
    atomic.write_file(path, b"one")
    atomic.write_file(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "a"
    atomic.write_file(path, b"old")
    with pytest.raises(OverflowError), atomic.staged(path) as temp:
        temp.write_bytes((1 << 99).to_bytes(2, "big") if temp.write_bytes(b"half") else b"")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_refuses_what_reads_back_differently(tmp_path):
    path = tmp_path / "a"
    with (
        pytest.raises(StorageError, match="reads back differently"),
        atomic.staged(path, crc32=zlib.crc32(b"x")) as temp,
    ):
        temp.write_bytes(b"y")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "permission"),
        (errno.ESTALE, "mount"),
        (errno.EMFILE, "run the same command again"),
    ],
)
def test_says_what_to_do(tmp_path, number, advice):
    with pytest.raises(StorageError, match=advice), atomic.staged(tmp_path / "a"):
        raise OSError(number, os.strerror(number))


def test_syncs_data_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        calls.append("folder" if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir() else "data")
        fsync(descriptor)

    def note_replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    atomic.write_file(tmp_path / "a", b"x")
    assert calls == ["data", "rename", "folder"]


def test_removes_leftovers_at_any_depth_only(tmp_path):
    deep = tmp_path / "train" / "h1w1"
    atomic.make_folder(deep)
    for name in (".tmp-1-a.tar", "b.tar", ".hidden"):
        (deep / name).write_bytes(b"")
    assert atomic.remove_leftovers(tmp_path) == 1
    assert sorted(path.name for path in deep.iterdir()) == [".hidden", "b.tar"]


def test_makes_a_private_folder_with_its_parents(tmp_path):
    atomic.make_folder(tmp_path / "a" / "b", mode=0o700)
    atomic.make_folder(tmp_path / "a" / "b", mode=0o700)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a").stat().st_mode & 0o777 != 0o700


def test_refuses_a_full_disk_before_it_begins(tmp_path):
    atomic.require_free_space(tmp_path, 1)
    with pytest.raises(StorageError, match=r"GB free, about .* GB needed"):
        atomic.require_free_space(tmp_path, 1 << 60)
