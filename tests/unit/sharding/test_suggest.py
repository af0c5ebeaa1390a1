"""The suggested bins against brute force, and against the distribution of the thesis."""

from itertools import combinations

import numpy as np
import pytest

from radio_io.errors import DatasetError, UsageError
from radio_io.sharding.suggest import (
    best_cutoffs,
    cutoffs_cost,
    rectangles_cost,
    size_histogram,
    suggest_cutoffs,
    suggest_rectangles,
)

PATCH = 48


def brute_cutoffs(counts, number):
    height, width = counts.shape
    best = None
    for high in combinations(range(1, height), number - 1):
        for wide in combinations(range(1, width), number - 1):
            rows, columns = np.array([*high, height]), np.array([*wide, width])
            padded_rows = rows[np.searchsorted(rows, np.arange(1, height + 1))]
            padded_columns = columns[np.searchsorted(columns, np.arange(1, width + 1))]
            tokens = int((counts * padded_rows[:, None] * padded_columns[None]).sum())
            best = tokens if best is None else min(best, tokens)
    return best


@pytest.mark.parametrize("seed", range(8))
def test_finds_the_best_cutoffs_of_small_problems(seed):
    generator = np.random.default_rng(seed)
    heights, widths = generator.integers(1, 7 * PATCH, 60), generator.integers(1, 6 * PATCH, 60)
    heights[0], widths[0] = 7 * PATCH, 6 * PATCH
    histogram = size_histogram(heights, widths, patch=PATCH)
    for number in (1, 2, 3):
        assert suggest_cutoffs(histogram, num_cutoffs=number).tokens == brute_cutoffs(histogram.counts, number)


@pytest.mark.parametrize("seed", range(5))
def test_cuts_one_axis_exactly(seed):
    weights = np.random.default_rng(seed).integers(0, 20, 9)
    expected = min(
        sum(w * min(c for c in (*inner, 9) if c >= extent) for extent, w in enumerate(weights.tolist(), 1))
        for inner in combinations(range(1, 9), 2)
    )
    assert best_cutoffs(weights, 3)[1] == expected


def test_one_rectangle_a_size_has_no_overhead():
    heights, widths = np.array([100, 300, 500, 500]), np.array([200, 100, 500, 300])
    suggestion = suggest_rectangles(size_histogram(heights, widths, patch=PATCH), num_rectangles=4)
    assert suggestion.overhead == 0
    assert suggestion.smallest_bin == 1


def test_more_rectangles_never_cost_more():
    generator = np.random.default_rng(3)
    histogram = size_histogram(generator.integers(300, 1200, 500), generator.integers(300, 1200, 500), patch=PATCH)
    tokens = [suggest_rectangles(histogram, num_rectangles=number).tokens for number in (1, 2, 4, 8, 16)]
    assert tokens == sorted(tokens, reverse=True)


def test_the_argument_can_be_pasted():
    histogram = size_histogram(np.array([90, 200, 300]), np.array([100, 200, 310]), patch=PATCH)
    suggestion = suggest_rectangles(histogram, num_rectangles=2)
    rectangles = [tuple(int(v) for v in part.split("x")) for part in suggestion.argument.split(",")]
    assert rectangles_cost(histogram, rectangles).tokens == suggestion.tokens
    same = cutoffs_cost(histogram, [144, 336], [144, 336])
    assert same.argument == "144,336"


def test_counts_smallest_and_empty_bins():
    histogram = size_histogram(np.array([48, 96, 96]), np.array([48, 96, 96]), patch=PATCH)
    suggestion = cutoffs_cost(histogram, [48, 96], [48, 96])
    assert (suggestion.smallest_bin, suggestion.empty_bins) == (1, 2)
    assert suggestion.overhead == 0


def test_refuses_nothing_and_too_many():
    with pytest.raises(DatasetError, match="no image"):
        size_histogram(np.array([], np.int64), np.array([], np.int64), patch=PATCH)
    histogram = size_histogram(np.array([48, 96]), np.array([48, 96]), patch=PATCH)
    with pytest.raises(UsageError, match="1 to 2"):
        suggest_cutoffs(histogram, num_cutoffs=3)
