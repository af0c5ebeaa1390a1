"""All benchmarks in one run, at tiny sizes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from radio_io.benchmarks.ratios import from_json, to_json
from radio_io.errors import DatasetError, UsageError
from radio_train import bench_all
from radio_train.bench_all import BENCHES, QUICK, chosen_benches, run_benches

RADIO = str(Path(sys.executable).parent / "radio")
TINY = replace(QUICK, images=6, scale=0.04, token_images=400)


def test_gives_ratios_or_reasons():
    report = run_benches(TINY, ["codec", "tokens", "gpu"])
    found = {each.bench: each for each in report.outcomes}
    assert list(found) == ["codec", "tokens", "gpu"]
    assert all(ratio.value > 0 for ratio in report.ratios.values())
    assert found["gpu"].not_run
    assert any(name.startswith("codec: htj2k") for name in report.ratios)
    assert report.quick


def test_lists_what_fails_and_goes_on(monkeypatch):
    def mistaken(_):
        raise ZeroDivisionError("a value")

    def impossible(_):
        raise DatasetError("not here")

    monkeypatch.setattr(bench_all, "BENCHES", {"first": mistaken, "second": impossible, "tokens": BENCHES["tokens"]})
    first, second, tokens = run_benches(TINY).outcomes
    assert (first.failed, "a value" in str(first.not_run)) == (True, False)
    assert (second.failed, second.not_run) == (False, "not here")
    assert tokens.ratios


def test_refuses_unknown_names():
    assert chosen_benches("codec, io") == ("codec", "io")
    with pytest.raises(UsageError, match="unknown benchmark 'codex'"):
        chosen_benches("codex")


def radio(*arguments, cwd):
    return subprocess.run([RADIO, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


def test_the_guard_ends_with_1_where_a_ratio_became_worse(tmp_path):
    report = run_benches(TINY, ["tokens"])
    (tokens,) = report.outcomes
    better = replace(tokens, ratios=tuple(replace(ratio, value=ratio.value / 2) for ratio in tokens.ratios))
    for name, each in (("old.json", replace(report, outcomes=(better,))), ("new.json", report)):
        (tmp_path / name).write_text(to_json(each), encoding="utf-8")
    same = radio("bench", "compare", "new.json", "new.json", cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    guarded = radio("bench", "compare", "old.json", "new.json", cwd=tmp_path)
    assert guarded.returncode == 1
    assert "worse by 100%: tokens: fixed 3072 x 3072: computation" in guarded.stderr
    lenient = radio("bench", "compare", "old.json", "new.json", "--tolerance", "1.01", "--json", cwd=tmp_path)
    assert lenient.returncode == 0
    assert json.loads(lenient.stdout)["worse"] == []


@pytest.mark.slow
def test_every_benchmark_runs_or_says_why_not(tmp_path):
    options = ["--quick", "--out", "results"]
    assert "nothing was written" in radio("bench", "all", *options, "--dry-run", cwd=tmp_path).stderr
    assert list(tmp_path.iterdir()) == []
    done = radio("bench", "all", *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "results").glob("*.json")
    assert json.loads(done.stdout) == json.loads(path.read_text())
    assert path.with_suffix(".md").read_text().startswith("# ")
    outcomes = {each.bench: each for each in from_json(path).outcomes}
    assert set(outcomes) == set(BENCHES)
    assert all(bool(each.ratios) != bool(each.not_run) for each in outcomes.values())
