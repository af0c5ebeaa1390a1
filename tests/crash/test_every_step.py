"""Whatever changes a dataset is killed before each of its steps; after a second run all is as if nothing had been."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_at_steps.py")
OPERATIONS = ("build", "extend", "retry", "index", "label", "rebin", "merge", "forget", "repair", "from-tars")


def killed(operation, folder, first, stride):
    """How many steps there are, of which each `stride`-th is tried."""
    command = [sys.executable, SCRIPT, operation, folder, str(first), str(stride)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (count,) = re.findall(r"(\d+) steps, 0 wrong", ended.stdout)
    return int(count)


@pytest.mark.parametrize(("operation", "stride"), [("build", 12), ("label", 4), ("forget", 5)])
def test_goes_on_after_a_death_at_some_steps(tmp_path, operation, stride):
    assert killed(operation, tmp_path, 2, stride) >= 10


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_goes_on_after_a_death_at_any_step(tmp_path, operation):
    assert killed(operation, tmp_path, 0, 1) >= 9
