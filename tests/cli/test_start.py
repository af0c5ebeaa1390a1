"""Ctrl-C before and behind the command tree: the process ends without a traceback."""

import signal
import subprocess
import sys

import pytest

START = """
import atexit, os, signal, sys
from radio_cli.__main__ import start

class AtImport:
    def find_spec(self, name, path, target=None):
        if name == "radio_cli.main":
            os.kill(os.getpid(), signal.SIGINT)

if sys.argv.pop(1) == "import":
    sys.meta_path.insert(0, AtImport())
else:
    atexit.register(os.kill, os.getpid(), signal.SIGINT)
start()
"""


@pytest.mark.parametrize(("moment", "printed"), [("import", ""), ("end", "radio ")])
def test_ctrl_c_shows_no_traceback(moment, printed):
    ended = subprocess.run(
        [sys.executable, "-c", START, moment, "--version"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr == ""
    assert ended.stdout.startswith(printed)
    assert bool(ended.stdout) == bool(printed)
