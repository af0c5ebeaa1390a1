"""`radio train` and `radio bench train` as a user meets them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RADIO = str(Path(sys.executable).parent / "radio")
FEW = ["--preset", "tiny", "--where", "rows <= 300", "--set", "data.step_images=16", "--set", "data.token_budget=1400"]


def radio(*arguments, **environment):
    variables = {name: value for name, value in os.environ.items() if name != "RADIO_DATASET"} | environment
    return subprocess.run([RADIO, *arguments], capture_output=True, text=True, env=variables, check=False)


def test_sweep_prints_a_table_and_what_to_take(built, tmp_path):
    command = ["train", "sweep", *FEW, "--dataset", str(built.root), "--run", str(tmp_path / "s")]
    dry = radio(*command, "--images", "8", "--dry-run")
    assert "would train 4 times on 8 images" in dry.stderr
    assert not (tmp_path / "s").exists()
    done = radio(*command, "--images", "8", "--epochs", "1", "--rates", "1e-3,1e-5")
    assert done.returncode == 0, done.stderr
    assert "Learning rates, best first" in done.stdout
    best = json.loads((tmp_path / "s" / "sweep.json").read_text())[0]["rate"]
    assert f"take it with --set optimizer.base_rate={best:g}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["sweep", "--rates", "fast"], 2, "expected numbers separated by commas"),
        (["pretrain", "--init", "/nowhere"], 2, "/nowhere does not exist"),
    ],
)
def test_errors_are_one_message(built, tmp_path, arguments, code, message):
    done = radio("train", *arguments, *FEW, "--dataset", str(built.root), "--run", str(tmp_path / "r"))
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_refuses_a_damaged_environment_of_torchrun(built, tmp_path):
    command = ["train", "pretrain", *FEW, "--dataset", str(built.root), "--run", str(tmp_path / "r")]
    refused = radio(*command, RANK="x", WORLD_SIZE="2")
    assert refused.returncode == 2
    assert "expected numbers as torchrun sets them" in refused.stderr


def test_resume_names_what_differs_and_how_to_accept_it(built, tmp_path):
    run = ["--dataset", str(built.root), "--run", str(tmp_path / "r")]
    first = radio("train", "pretrain", *FEW, *run, "--set", "run.max_steps=1")
    assert first.returncode == 0, first.stderr
    other = ["train", "pretrain", *FEW, *run, "--resume", "--set", "data.scale=bits", "--set", "run.max_steps=2"]
    refused = radio(*other)
    assert refused.returncode == 1
    assert "data.scale was percentile, now bits" in refused.stderr
    assert "--allow data" in refused.stderr
    assert len((tmp_path / "r" / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_dry_runs_write_nothing(built, tmp_path):
    pytest.importorskip("kornia", reason="the extra train is not installed")
    run, dataset = tmp_path / "r", ["--dataset", str(built.root)]
    first = radio("train", "pretrain", *FEW, *dataset, "--run", str(run), "--set", "run.max_steps=1")
    assert first.returncode == 0, first.stderr
    sheet = radio("train", "reconstruct", str(run), "--out", str(tmp_path / "sheet.png"), "--images", "2", *dataset)
    assert sheet.returncode == 0, sheet.stderr
    before = sorted(tmp_path.rglob("*"))
    for command in (
        ["reconstruct", str(run), "--out", str(tmp_path / "new.png"), *dataset],
        ["embed", str(run), "--out", str(tmp_path / "new.parquet"), *dataset],
        ["export", str(run), "--out", str(tmp_path / "new")],
        ["background", *FEW, *dataset],
        ["augment-preview", "--out", str(tmp_path / "new.png"), *dataset],
    ):
        done = radio("train", *command, "--dry-run")
        assert (done.returncode, "nothing was written" in done.stderr) == (0, True), done.stderr
    assert sorted(tmp_path.rglob("*")) == before
