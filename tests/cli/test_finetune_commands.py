"""`radio train finetune`, `compare` and `evaluate` as a user meets them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelled_tasks import truth_by_key

RADIO = str(Path(sys.executable).parent / "radio")
SMALL = "rows * columns <= 21000"
QUICK = ["--preset", "tiny", "--where", SMALL, "--set", "training.workers=1", "--set", "training.token_budget=1024"]
SHORT = ["--set", "training.epochs=2", "--set", "training.warmup_epochs=1", "--set", "training.base_rate=1e-3"]


def radio(*arguments, cwd=None, code=0):
    result = subprocess.run([RADIO, "train", *arguments], capture_output=True, text=True, cwd=cwd, check=False)
    assert result.returncode == code, result.stderr
    return result


@pytest.fixture(scope="module")
def labels(built, tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "legs.csv"
    rows = [(key, int(row["region"] in ("Knee", "Ankle", "Foot"))) for key, row in truth_by_key(built).items()]
    path.write_text("key,label\n" + "".join(f"{key},{label}\n" for key, label in rows), encoding="utf-8")
    return path


def test_finetunes_and_prints_tables(built, labels, tmp_path):
    arguments = ["finetune", "--task", "legs", "--labels", str(labels), "--dataset", str(built.root), *QUICK, *SHORT]
    dry = radio(*arguments, "--run", "run", "--dry-run", cwd=tmp_path)
    assert "would train 1 classifiers of 2 classes" in dry.stderr
    assert not (tmp_path / "run").exists()
    shown = radio(*arguments, "--run", "run", cwd=tmp_path)
    assert "balanced accuracy" in shown.stdout
    again = json.loads(radio(*arguments, "--run", "run", "--json", cwd=tmp_path).stdout)
    assert again["classes"] == ["0", "1"]
    assert again["results"][0]["metrics"]["auroc"]["value"] is not None
    judged = radio("evaluate", "run", "--resamples", "50", cwd=tmp_path)
    assert "sensitivity" in judged.stdout
    assert (tmp_path / "run/evaluation/roc.svg").exists()
    assert json.loads(radio("evaluate", "run", "--json", cwd=tmp_path).stdout)["task"] == "legs"


def test_what_cannot_be_meant_is_a_usage_error(built, labels, tmp_path):
    common = ["finetune", "--task", "legs", "--dataset", str(built.root), *QUICK]
    assert "no labels of task 'legs'" in radio(*common, cwd=tmp_path, code=1).stderr
    both = radio(*common, "--labels", str(labels), "--freeze", "--linear-probe", cwd=tmp_path, code=2)
    assert "give one of them" in both.stderr
    assert "numbers with commas" in radio(*common, "--label-fraction", "few", cwd=tmp_path, code=2).stderr
    assert "expected one of binary" in radio(*common, "--kind", "vague", cwd=tmp_path, code=2).stderr
    single = radio("compare", "region", "--inits", "random", "--dataset", str(built.root), cwd=tmp_path, code=2)
    assert "at least two" in single.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_numbers(built, labels, tmp_path):
    common = ["finetune", "--task", "legs", "--labels", str(labels), "--dataset", str(built.root), *QUICK]
    common += ["--set", "training.epochs=8", "--set", "training.base_rate=1e-3", "--seeds", "2", "--json"]
    whole = json.loads(radio(*common, "--run", "whole", cwd=tmp_path).stdout)
    environment = dict(os.environ)
    killed = 0
    while killed < 3:
        process = subprocess.Popen(
            [RADIO, "train", *common, "--run", "cut"],
            cwd=tmp_path,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started = len(list(tmp_path.glob("cut/**/epochs.jsonl")))
        seen = sum(len(path.read_text().splitlines()) for path in tmp_path.glob("cut/**/epochs.jsonl"))
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            now = sum(len(path.read_text().splitlines()) for path in tmp_path.glob("cut/**/epochs.jsonl"))
            if now >= seen + 2 or len(list(tmp_path.glob("cut/**/epochs.jsonl"))) > started + 1:
                break
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
    cut = json.loads(radio(*common, "--run", "cut", cwd=tmp_path).stdout)
    assert cut["results"] == whole["results"]
