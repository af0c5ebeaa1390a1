"""The doctor: names the stage that limits, forecasts what the loader then does, advises what helps that stage."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from radio_io.benchmarks.throttled_folder import throttled
from radio_io.errors import UsageError
from radio_io.loading import read_ahead
from radio_train.config import load_config
from radio_train.doctor import decode_sample, diagnose, forecast
from radio_train.run_folder import Selection

SMALL = Selection(where="rows <= 600 and columns <= 600")


@pytest.mark.parametrize(
    ("rates", "limited_by", "rate"),
    [((40, 140, 700), "reading", 40), ((400, 140, 700), "decoding", 140), ((900, 1400, 700), "model", 700)],
)
def test_the_slowest_stage_limits(rates, limited_by, rate):
    found = forecast(*rates)
    assert (found.limited_by, found.images_per_s) == (limited_by, rate)
    assert found.data_wait == pytest.approx(0 if limited_by == "model" else 1 - rate / 700)


def test_on_the_cpu_model_and_decoding_take_turns():
    found = forecast(10_000, 100, 100, model_on_cpu=True)
    assert (found.limited_by, found.images_per_s) == ("model", pytest.approx(50))


def test_decoding_is_timed_on_images_of_all_sizes():
    for images in (1, 47, 48, 49, 1000, 650_000):
        rows = decode_sample(images)
        assert len(rows) == len(set(rows)) == min(images, 48)
        assert rows[-1] >= images - 1 - images // 48
        assert max(np.diff(rows, append=images)) <= images // 48 + 1


@pytest.mark.slow
def test_a_slow_link_is_found_and_forecast(built, tmp_path, monkeypatch):
    monkeypatch.setattr(read_ahead, "MAX_WINDOW", 1)  # a window of several epochs would read these few images once
    try:
        with throttled(built.root, tmp_path / "mount", mbit_per_s=40, latency_ms=2) as mounted:
            config = load_config("tiny", assignments=[f"reading.store='{mounted.path}'"])
            found = diagnose(config, built.root, selection=SMALL, with_model=False, verify=True, probe_s=1.0)
    except UsageError as error:
        pytest.skip(f"no FUSE here: {error}")
    assert found.first_epoch.limited_by == "reading"
    assert found.storage.with_streams(8) == pytest.approx(5, rel=0.2)  # 40 Mbit/s
    assert found.storage.latency_ms >= 2
    assert found.error is not None
    assert abs(found.error) < 0.25  # 20 %, and what a busy machine adds
    assert any("--cache" in each.change for each in found.advice)


def test_measures_the_model(built):
    config = load_config("tiny")
    found = diagnose(config, built.root, selection=SMALL, probe_s=0.1)
    assert found.model_images_per_s is not None
    assert found.model_images_per_s > 0
    assert found.first_epoch.images_per_s <= found.model_images_per_s


def test_the_command_prints_json(built):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "radio_cli", "doctor", "--dataset", str(built.root), "--no-model", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["first_epoch"]["limited_by"] in ("reading", "decoding")
    assert found["storage"]["streams_mb_s"]
