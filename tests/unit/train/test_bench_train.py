"""The benchmark of policies: the same images, the same loss, the thesis's padding."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from radio_io.loading.packing import pack_step
from radio_train.bench_packs import full_budget, own_bins, thesis_grids
from radio_train.bench_train import IMAGES, bench_config, bench_policies
from radio_train.config import load_config


def small(*settings):
    config = load_config("tiny", assignments=["run.precision=fp32", "data.token_budget=4100", *settings])
    tiny = replace(config.model, patch_size=2, hidden_size=8, heads=2, mlp_size=8, depth=1, decoder_hidden_size=8)
    return replace(config, model=replace(tiny, decoder_heads=2, decoder_mlp_size=8, decoder_depth=1))


def test_sizes_have_the_padding_of_the_thesis():
    grids, bins = thesis_grids(20_000, seed=0)
    tokens, padded = (sum(h * w for h, w in each) for each in (grids, bins))
    assert padded / tokens == pytest.approx(1.193, abs=0.01)
    assert tokens / len(grids) == pytest.approx(9.22e8 / 639_877, rel=0.02)
    assert all(h <= b and w <= c for (h, w), (b, c) in zip(grids, bins, strict=True))


def test_every_image_is_once_in_a_batch_of_its_bin():
    _, bins = thesis_grids(300, seed=1)
    planned = own_bins(bins, 6_000)
    assert sorted(index for pack in planned for index in pack.images.tolist()) == list(range(300))
    assert {pack.tokens for pack in planned if len(pack.images) > 1} <= set(range(6_001))
    assert all(bins[index] == pack.grid for pack in planned for index in pack.images.tolist())


def test_policies_have_equal_losses_with_one_thread():
    threads, before = [], torch.get_num_threads()
    result = bench_policies(small(), images=10, rounds=1, note=lambda text: threads.append(torch.get_num_threads()))
    assert set(threads) == {1}
    assert torch.get_num_threads() == before
    packed, bins, single = result.policies
    assert packed.loss == pytest.approx(single.loss, rel=1e-5)
    assert bins.loss == pytest.approx(result.bins_packed_loss, rel=1e-5)
    assert result.ratio("packed") == 1
    assert packed.cpu_s > 0
    assert packed.memory_bytes > 0
    assert bins.tokens > single.tokens


def test_the_default_images_have_the_padding_and_the_full_packs_of_a_whole_step():
    grids, bins = thesis_grids(IMAGES, seed=0)
    tokens, padded = (np.array([h * w for h, w in each]) for each in (grids, bins))
    assert padded.sum() / tokens.sum() == pytest.approx(1.193, abs=0.01)
    for near in (6_144, 24_576):
        budget = full_budget(tokens + 1, near)
        packs = pack_step(tokens + 1, budget, IMAGES)
        assert budget == pytest.approx(near, rel=0.05)
        assert len(packs) * budget / (tokens.sum() + IMAGES) < 1.01


def test_a_full_budget_holds_the_largest_image():
    assert full_budget(np.array([50, 3, 4]), 10) == 50


def test_a_cpu_computes_in_float32_unless_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench_config("tiny").run.precision == "fp32"
    assert bench_config("tiny", ["run.precision=bf16"]).run.precision == "bf16"


@pytest.mark.slow
def test_packing_is_faster_than_padding_to_bins():
    result = bench_policies(bench_config("tiny"), rounds=1)
    packed, bins, single = result.policies
    assert result.ratio("bins") > 1.2
    assert packed.loss == pytest.approx(single.loss, rel=1e-6)
    assert bins.loss == pytest.approx(result.bins_packed_loss, rel=1e-6)
