"""Runs of `radio train pretrain` as processes, for the tests of training."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from radio_train.checkpoint import checkpoints

BIN = Path(sys.executable).parent
SMALL = "rows <= 600 and columns <= 600"
TWENTY_STEPS = ["run.max_steps=20", "run.save_every_steps=10"]
FAST = ["run.precision=fp32", "optimizer.base_rate=2e-3", "data.step_images=24", "data.token_budget=1400"]
TOLERANCE = 1e-5
"""Float32 sums in another order differ in their last bits; 20 steps of Adam make about 1e-6 of it."""


def pretrain_command(dataset, run, *options, ranks=1, settings=()):
    """The command line; several packs a step, so that ranks have something to share."""
    command = [str(BIN / "radio"), "train", "pretrain", "--preset", "tiny", "--where", SMALL]
    command += ["--dataset", str(dataset), "--run", str(run), *options]
    for setting in (*FAST, *settings):
        command += ["--set", setting]
    if ranks == 1:
        return command
    return [str(BIN / "torchrun"), "--nproc-per-node", str(ranks), "--standalone", "--no-python", "--", *command]


def start(command):
    """The process, in a group of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True
    )


def finish(command, code=0):
    """What the command printed, once it has ended with this code."""
    process = start(command)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == code, output
    return output


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def losses(run):
    return [line["loss"] for line in metrics(run)]


def final_tensors(run):
    return (checkpoints(run)[-1] / "tensors.safetensors").read_bytes()


def largest_difference(run, other):
    """Between the final weights of two runs, relative, in the L2 norm: the tensor that differs most.

    Not value by value: Adam moves a bias whose gradient is next to zero as far as any other, so that rounding shows.
    """
    found, wanted = (load_file(checkpoints(each)[-1] / "tensors.safetensors") for each in (run, other))
    names = [name for name in wanted if name.startswith("model.") and wanted[name].any()]
    return max(
        float(np.linalg.norm(found[name].astype(np.float64) - wanted[name]) / np.linalg.norm(wanted[name]))
        for name in names
    )


def assert_same_curve(run, other):
    assert [line["images_digest"] for line in metrics(run)] == [line["images_digest"] for line in metrics(other)]
    assert [line["images"] for line in metrics(run)] == [line["images"] for line in metrics(other)]
    np.testing.assert_allclose(losses(run), losses(other), rtol=TOLERANCE)
    assert largest_difference(run, other) <= TOLERANCE


def stop_after(command, run, steps, *, last):
    """Run the command; ask it to end once so many steps are in the log."""
    process = start(command)
    while not last and process.poll() is None and (not run.exists() or count_lines(run) < steps):
        time.sleep(0.02)
    if not last:
        os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert not last or process.returncode == 0, output
    assert checkpoints(run), output


def count_lines(run):
    path = run / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0
