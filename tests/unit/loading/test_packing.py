"""Packing: every image once, within the budget, hardly any waste; the same packs whatever the ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radio_io.errors import UsageError
from radio_io.loading.packing import SMALL_SHARE, bin_step, pack_for_ranks, pack_step, share_packs


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(2, 400), min_size=1, max_size=80), st.integers(400, 900), st.integers(1, 12))
def test_holds_every_image_once_within_the_budget(tokens, budget, max_images):
    counts = np.array(tokens)
    packs = pack_step(counts, budget, max_images)
    assert sorted(np.concatenate([pack.images for pack in packs]).tolist()) == list(range(len(tokens)))
    assert all(counts[pack.images].sum() <= budget and len(pack.images) <= max_images for pack in packs)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(2, 400), min_size=1, max_size=80),
    st.integers(400, 4_000),
    st.integers(1, 12),
    st.integers(1, 8),
)
def test_ranks_share_full_and_small_packs(tokens, budget, max_images, ranks):
    counts = np.array(tokens)
    packs = share_packs(pack_for_ranks(counts, budget, max_images, ranks), ranks)
    assert sorted(np.concatenate([pack.images for pack in packs]).tolist()) == list(range(len(tokens)))
    most = {budget: max_images, budget // SMALL_SHARE: max(1, max_images // SMALL_SHARE)}
    assert all(counts[pack.images].sum() <= pack.tokens and len(pack.images) <= most[pack.tokens] for pack in packs)
    for start in range(0, len(packs), ranks):
        assert len({pack.tokens for pack in packs[start : start + ranks]}) == 1  # all ranks on the same shape
    whole = share_packs(pack_step(counts, budget, max_images), ranks)
    assert sum(pack.tokens for pack in packs) <= sum(pack.tokens for pack in whole)


def test_an_image_larger_than_a_small_pack_ends_its_step_in_full_packs():
    packs = pack_for_ranks(np.array([90, 90, 30]), 100, 8, ranks=1)
    assert [pack.tokens for pack in packs] == [100, 100, 100]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=60), st.integers(1, 8))
def test_bins_hold_every_image_in_a_grid_that_fits(sizes, ranks):
    grids = np.array(sizes, np.int32)
    bins = np.array([[3 * -(-h // 3), 3 * -(-w // 3)] for h, w in sizes], np.int32)
    packs = share_packs(bin_step(grids, bins, 200), ranks)
    assert len(packs) % ranks == 0
    assert sorted(np.concatenate([pack.images for pack in packs]).tolist()) == list(range(len(sizes)))
    for pack in packs:
        assert pack.grid is not None
        assert (grids[pack.images] <= np.array(pack.grid)).all()
    for start in range(0, len(packs), ranks):
        assert len({pack.grid for pack in packs[start : start + ranks]}) == 1


def test_wastes_under_half_a_percent_on_radiographs():
    generator = np.random.default_rng(0)
    factor = np.exp(0.25 * generator.standard_normal((2, 1024)))
    patches = np.ceil(np.minimum(2000 * factor[0], 3072) / 48) * np.ceil(np.minimum(1500 * factor[1], 3072) / 48)
    packs = pack_step(patches.astype(np.int64) + 1, 24_576, 384)
    assert 1 - (patches.sum() + 1024) / (24_576 * (len(packs) - 1) + patches[packs[-1].images].sum()) < 0.005


def test_fills_the_packs_of_a_step_to_a_token_while_images_are_left_to_choose_from():
    counts = np.random.default_rng(0).integers(300, 4_097, 1024)
    used = [int(counts[pack.images].sum()) for pack in pack_step(counts, 24_576, 384)]
    assert sum(24_576 - each for each in used[:-4]) <= len(used)


def test_refuses_an_image_above_the_budget():
    with pytest.raises(UsageError, match="token_budget"):
        pack_step(np.array([10, 700]), 600, 8)


def test_ranks_get_equal_numbers_of_packs():
    packs = pack_step(np.full(10, 100), 300, 8)
    for ranks in range(1, 9):
        shared = share_packs(packs, ranks)
        assert len(shared) % ranks == 0
        assert sum(len(pack.images) for pack in shared) == 10
