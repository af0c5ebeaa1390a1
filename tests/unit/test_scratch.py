"""Folders for a while: gone after the block, and after the death of their process."""

import signal
import subprocess
import sys
import tempfile

import pytest

from radio_io.scratch import scratch_folder

HOLD = """
import sys, time
from radio_io.scratch import scratch_folder
with scratch_folder("test") as folder:
    (folder / "data").write_bytes(bytes(1000))
    print(folder, flush=True)
    time.sleep(300)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def held():
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as words:
        words.readline()
    return process


def test_is_empty_private_and_gone_afterwards(place):
    with scratch_folder("test") as folder:
        assert list(folder.iterdir()) == []
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        (folder / "data").write_bytes(b"1")
    assert list(place.iterdir()) == []


def test_goes_with_an_error(place):
    with pytest.raises(ValueError, match="in the block"), scratch_folder("test"):
        raise ValueError("in the block")
    assert list(place.iterdir()) == []


def test_removes_what_a_killed_process_left_and_nothing_else(place):
    dead, alive = held(), held()
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        strangers = {"radio-test-strange", "radio-other-1"}
        for name in strangers:
            (place / name).mkdir()
        (place / "radio-other-1" / "lock").touch()
        assert len(list(place.iterdir())) == 4
        with scratch_folder("test"):
            left = {path.name for path in place.iterdir()}
        assert strangers < left
        assert len(left) == 4  # the one that lives, and the new one
        assert len(list(place.glob("radio-test-*/content/data"))) == 1
    finally:
        alive.kill()
        alive.wait()
