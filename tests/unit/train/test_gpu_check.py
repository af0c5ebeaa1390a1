"""The check for GPU machines: says when there is none, works without the packages that reading needs."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[3] / "bench" / "gpu_check.py"


@pytest.fixture
def gpu_check(monkeypatch):
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DEVICE", "cpu")
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_says_that_there_is_no_gpu():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no CUDA device" in done.stderr
    assert "nothing measured" in done.stderr


@pytest.mark.parametrize("size", [32, 64])
def test_attention_passes_its_own_check(gpu_check, size, capsys):
    gpu_check.check_attention(size)
    assert f"head size {size}: 4 divisions" in capsys.readouterr().out


def test_the_check_finds_wrong_attention(gpu_check, monkeypatch):
    from radio_train.model import attention

    right = attention.segment_attention
    monkeypatch.setattr(attention, "segment_attention", lambda q, k, v, o, n: right(q, k, v, o[[0, 3, 8]], n))
    with pytest.raises(SystemExit, match="differs by"):
        gpu_check.check_attention(32)


def test_the_model_can_be_measured_without_the_packages_for_reading():
    # The first finder gets the packages although they are installed here.
    code = f"""
import importlib.util, sys
from dataclasses import replace
spec = importlib.util.spec_from_file_location("gpu_check", {str(SCRIPT)!r})
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)
sys.meta_path.insert(0, check.AbsentFinder())
import radio_train.config as config
small = config.TRAIN_PRESETS["tiny"]
small = replace(small, model=replace(small.model, patch_size=2, depth=1, decoder_depth=1), preset="tiny")
config.PretrainConfig = lambda: replace(small, run=replace(small.run, precision="fp32"))
import radio_train.bench_train as bench
measured = bench.bench_policies
def eager(config, **options):
    return measured(replace(config, run=replace(config.run, compile=False)), **options)
bench.bench_policies = eager
check.measure_model(8, 1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MFU, packed" in done.stdout
    assert "target for an H100 at least 40.0%" in done.stdout
