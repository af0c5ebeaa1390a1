"""Runs of `radio train pretrain` as processes, for the tests of training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from radio_train.checkpoint import checkpoints

BIN = Path(sys.executable).parent
SMALL = "rows <= 600 and columns <= 600"
FAST = ["run.precision=fp32", "optimizer.base_rate=2e-3", "data.step_images=24", "data.token_budget=1400"]


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
    """Between the final weights of two runs: of any tensor, relative to its largest value."""
    found, wanted = (load_file(checkpoints(each)[-1] / "tensors.safetensors") for each in (run, other))
    names = [name for name in wanted if name.startswith("model.") and wanted[name].any()]
    return max(
        float(np.abs(found[name].astype(np.float64) - wanted[name]).max() / np.abs(wanted[name]).max())
        for name in names
    )
