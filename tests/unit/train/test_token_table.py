"""The table of the thesis: its totals are met, packing hardly wastes, computation is counted exactly."""

import numpy as np
import pytest

from radio_train.model.config import MaeConfig
from radio_train.model.flops import pretraining_flops
from radio_train.token_table import compare_batching, thesis_sizes


@pytest.fixture(scope="module")
def costs():
    heights, widths = thesis_sizes(20_480)
    return {cost.batching: cost for cost in compare_batching(heights, widths, MaeConfig())}


def test_meets_the_ratios_of_the_thesis(costs):
    assert costs["36 bins of the thesis"].token_ratio == pytest.approx(1.19, abs=0.01)
    assert costs["fixed 3072 x 3072"].token_ratio == pytest.approx(2.84, abs=0.05)


def test_full_packs_of_a_step_waste_under_a_thousandth_and_a_half(costs):
    packed = costs["packed into 24,576"]
    assert packed.waste_in_full_packs < 0.0015
    assert packed.waste < 0.004
    assert packed.token_ratio < 1.004


def test_eight_ranks_wait_for_few_empty_tokens():
    heights, widths = thesis_sizes(10_240)
    packed = compare_batching(heights, widths, MaeConfig(), ranks=8)[1]
    assert packed.waste < 0.025  # whole packs alone: 0.062


def test_the_order_of_costs_is_that_of_tokens(costs):
    by_flops = sorted(costs, key=lambda name: costs[name].flops)
    assert by_flops == sorted(costs, key=lambda name: costs[name].tokens)
    assert by_flops[-1] == "fixed 3072 x 3072"


def test_counts_tokens_and_computation_of_each_image():
    heights, widths = np.array([48, 100, 3072]), np.array([48, 96, 3072])
    costs = compare_batching(heights, widths, MaeConfig(), token_budget=4200)
    assert costs[0].tokens == 1 + 3 * 2 + 64 * 64
    assert costs[0].flops == sum(pretraining_flops(MaeConfig(), patches) for patches in (1, 6, 4096))
    assert costs[1].tokens == 4200 - 3
    fixed = costs[-1]
    assert fixed.tokens == 3 * 4096
    assert fixed.flops == 3 * pretraining_flops(MaeConfig(), 4096)
