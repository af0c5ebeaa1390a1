"""Finding files below the sources."""

import os
import socket
import tracemalloc
from pathlib import Path

from radio_io.dicom.walk import MAX_DEPTH, FoundFile, UnusablePath, walk_sources
from radio_io.errors import RejectReason


def found(*sources):
    return list(walk_sources(sources))


def names(results, root):
    return [os.path.relpath(result.path, root) for result in results]


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def test_gives_size_and_time_of_each_file(tmp_path):
    make(tmp_path, "a.dcm")
    os.utime(tmp_path / "a.dcm", ns=(5, 1_234_567_891))
    assert found(tmp_path) == [FoundFile(path=str(tmp_path / "a.dcm"), size_bytes=5, modified_ns=1_234_567_891)]


def test_sorts_by_the_bytes_of_names(tmp_path):
    make(tmp_path, "b/2", "b/10", "a", "B", "é", "z", "c.dcm", "c/x")
    assert names(found(tmp_path), tmp_path) == ["B", "a", "b/10", "b/2", "c/x", "c.dcm", "z", "é"]


def test_goes_through_the_sources_in_their_order(tmp_path):
    make(tmp_path, "one/1", "two/2", "three")
    results = found(tmp_path / "two", str(tmp_path / "three"), tmp_path / "one")
    assert names(results, tmp_path) == ["two/2", "three", "one/1"]


def test_survives_names_that_are_no_utf8(tmp_path):
    folder = tmp_path / os.fsdecode(b"M\xfcller\xff")
    folder.mkdir()
    (folder / os.fsdecode(b"\xe9.dcm")).write_bytes(b"x")
    (result,) = found(tmp_path)
    assert os.fsencode(result.path) == os.fsencode(tmp_path) + b"/M\xfcller\xff/\xe9.dcm"
    assert Path(result.path).read_bytes() == b"x"


def test_ends_at_a_folder_that_contains_itself(tmp_path):
    make(tmp_path, "a/b/file")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path)
    results = found(tmp_path)
    loops = [result for result in results if isinstance(result, UnusablePath)]
    assert names(loops, tmp_path) == ["a/b/up", "self"]
    assert {loop.reason for loop in loops} == {RejectReason.SYMLINK_LOOP}
    assert sum(isinstance(result, FoundFile) for result in results) == 1


def test_ends_at_links_that_lead_in_a_circle(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert [result.reason for result in found(tmp_path)] == [RejectReason.SYMLINK_LOOP] * 2


def test_follows_a_link_to_files_and_folders_outside(tmp_path):
    make(tmp_path, "outside/file", "source/own")
    (tmp_path / "source/link").symlink_to(tmp_path / "outside")
    (tmp_path / "source/other").symlink_to(tmp_path / "outside/file")
    assert names(found(tmp_path / "source"), tmp_path) == ["source/link/file", "source/other", "source/own"]


def test_does_not_multiply_where_folders_link_to_each_other(tmp_path):
    """Twelve folders with links to all others have more than 10**8 paths without a circle."""
    folders = [tmp_path / f"{index}" for index in range(12)]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_bytes(b"x")
        for other in folders:
            if other != folder:
                (folder / f"to-{other.name}").symlink_to(other)
    results = found(tmp_path)
    assert len(results) < 1000
    assert {result.reason for result in results if isinstance(result, UnusablePath)} <= {
        RejectReason.SYMLINK_LOOP,
        RejectReason.DUPLICATE,
    }


def test_says_that_a_source_is_missing(tmp_path):
    assert found(tmp_path / "missing") == [
        UnusablePath(path=str(tmp_path / "missing"), reason=RejectReason.VANISHED, detail="the file is gone")
    ]


def test_tells_a_broken_link_from_a_vanished_file(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    (result,) = found(tmp_path)
    assert result.reason is RejectReason.VANISHED
    assert "link" in result.detail


def test_goes_on_when_a_file_vanishes_between_listing_and_looking(tmp_path):
    make(tmp_path, "a", "b", "c")
    walk = walk_sources([tmp_path])
    first = next(walk)
    (tmp_path / "b").unlink()
    second, third = walk
    assert isinstance(first, FoundFile)
    assert (second.reason, type(third)) == (RejectReason.VANISHED, FoundFile)


def test_never_opens_a_fifo_or_a_socket(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(tmp_path)  # socket paths are short
        unix.bind("socket")
        results = found(tmp_path)
    assert [(result.reason, result.detail.split(",")[0]) for result in results] == [
        (RejectReason.UNREADABLE, "a FIFO"),
        (RejectReason.UNREADABLE, "a socket"),
    ]


def test_goes_on_past_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    make(tmp_path, "a/1", "b/2")
    listdir = os.listdir

    def refuse(path):
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    first, second = found(tmp_path)
    assert first == UnusablePath(path=str(tmp_path / "a"), reason=RejectReason.UNREADABLE, detail="Permission denied")
    assert isinstance(second, FoundFile)


def test_refuses_paths_that_no_file_can_have(tmp_path):
    results = found(f"{tmp_path}/\0", f"{tmp_path}/{'x' * 300}")
    assert [result.reason for result in results] == [RejectReason.UNREADABLE] * 2
    assert all(str(tmp_path) not in result.detail for result in results)


def test_ends_below_absurdly_deep_folders(tmp_path):
    deep = tmp_path
    for _ in range(MAX_DEPTH + 5):
        deep /= "d"
        deep.mkdir()
    (result,) = found(tmp_path)
    assert result.reason is RejectReason.UNREADABLE
    assert "deeper" in result.detail


def test_keeps_no_more_in_memory_than_one_folder(tmp_path):
    for index in range(50):
        make(tmp_path, *(f"{index:02}/{number:03}" for number in range(40)))
    tracemalloc.start()
    try:
        count = sum(1 for _ in walk_sources([tmp_path]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 2000
    # 50 + 40 names of some 60 bytes and the frames; 2,000 records alone would take 400 KB.
    assert peak < 60_000
