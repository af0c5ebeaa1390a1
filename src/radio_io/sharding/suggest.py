"""The best bins for a dataset: which cut-offs or rectangles pad its images to the fewest tokens.

Comes in: heights and widths of images in pixels, and the patch size. Goes out: `BinSuggestion`s, each with the tokens
it costs, to be compared with the thesis's cut-offs, with padding to the patch only and with packing. Refuses:
no images, more cut-offs than there are different sizes.

Everything works on the histogram of sizes in patches (at most a few thousand cells), so that the number of images does
not matter. Cut-offs on one axis are found exactly by dynamic programming for fixed cut-offs on the other axis, in turn
until neither changes, from several starts; rectangles are added greedily and then replaced one at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import DatasetError, UsageError

# Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), section 3.3.1.
THESIS_CUTOFFS = (1152, 1536, 1920, 2304, 2688, 3072)
STARTS = 8
MAX_SWEEPS = 30
REPLACEMENT_ROUNDS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeHistogram:
    """How many images have each size in patches: `counts[i, j]` images of i + 1 by j + 1 patches."""

    patch: int
    counts: NDArray[np.int64]

    @property
    def num_images(self) -> int:
        """Images in the histogram."""
        return int(self.counts.sum())

    @property
    def minimal_tokens(self) -> int:
        """Tokens with every image padded to the patch only."""
        rows = np.arange(1, self.counts.shape[0] + 1)
        columns = np.arange(1, self.counts.shape[1] + 1)
        return int((self.counts * rows[:, None] * columns[None, :]).sum())


@dataclass(frozen=True, kw_only=True, slots=True)
class BinSuggestion:
    """One choice of bins: (height, width) in pixels each, and what it costs."""

    bins: tuple[tuple[int, int], ...]
    argument: str
    tokens: int
    overhead: float
    smallest_bin: int
    empty_bins: int


def size_histogram(heights: NDArray[np.int64], widths: NDArray[np.int64], *, patch: int) -> SizeHistogram:
    """The histogram of sizes in patches; heights and widths are [images] in pixels.

    Raises:
        DatasetError: There is no image.
    """
    if not len(heights):
        raise DatasetError("no image to choose bins for; build shards first, or widen the selection")
    rows, columns = -(-heights // patch), -(-widths // patch)
    counts = np.zeros((int(rows.max()), int(columns.max())), np.int64)
    np.add.at(counts, (rows - 1, columns - 1), 1)
    return SizeHistogram(patch=patch, counts=counts)


def suggest_cutoffs(histogram: SizeHistogram, *, num_cutoffs: int, seed: int = 0) -> BinSuggestion:
    """The best `num_cutoffs` heights and as many widths; every pair of them is a bin.

    Raises:
        UsageError: There are fewer different sizes than cut-offs.
    """
    counts = histogram.counts
    occupied = min(int((counts.sum(1) > 0).sum()), int((counts.sum(0) > 0).sum()))
    if not 1 <= num_cutoffs <= occupied:
        raise UsageError(f"--cutoffs {num_cutoffs}: give 1 to {occupied}, the number of different sizes in patches")
    generator = np.random.default_rng(seed)
    best: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None
    for start in range(STARTS):
        found = _alternate(counts, _start_cutoffs(counts.shape[1], num_cutoffs, start, generator), num_cutoffs)
        if best is None or found[0] < best[0]:
            best = found
    assert best is not None
    return cutoffs_cost(histogram, best[1] * histogram.patch, best[2] * histogram.patch)


def suggest_rectangles(histogram: SizeHistogram, *, num_rectangles: int) -> BinSuggestion:
    """The best found `num_rectangles` free rectangles; the largest always covers every image.

    Raises:
        UsageError: `num_rectangles` is below 1.
    """
    if num_rectangles < 1:
        raise UsageError(f"--rectangles {num_rectangles}: give at least 1")
    height, width = histogram.counts.shape
    sizes = np.argwhere(histogram.counts > 0) + 1
    weights = histogram.counts[histogram.counts > 0].astype(np.float64)
    candidates = np.argwhere(np.ones((height, width), bool)) + 1
    cost = _rectangle_costs(candidates, sizes)
    chosen = [len(candidates) - 1]
    while len(chosen) < min(num_rectangles, len(candidates)):
        chosen.append(_best_addition(cost, cost[chosen].min(0), weights))
    for _ in range(REPLACEMENT_ROUNDS):
        before = list(chosen)
        for position in range(1, len(chosen)):
            others = cost[[c for p, c in enumerate(chosen) if p != position]].min(0)
            chosen[position] = _best_addition(cost, others, weights)
        if chosen == before:
            break
    return rectangles_cost(histogram, [tuple(int(v) * histogram.patch for v in candidates[c]) for c in set(chosen)])


def compare_bins(
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
    *,
    patch: int,
    num_cutoffs: int,
    num_rectangles: int | None = None,
) -> dict[str, BinSuggestion]:
    """The best bins beside the thesis's cut-offs and one fixed size; images above 3072 pixels count for none of them.

    `heights` and `widths` are [images] in pixels. A patch that does not divide the thesis's cut-offs rounds them up.
    """
    largest = -(-THESIS_CUTOFFS[-1] // patch) * patch
    covered = (heights <= largest) & (widths <= largest)
    histogram = size_histogram(heights[covered], widths[covered], patch=patch)
    thesis = [-(-cutoff // patch) * patch for cutoff in THESIS_CUTOFFS]
    choices = {
        "fixed size": cutoffs_cost(histogram, [largest], [largest]),
        "thesis cut-offs": cutoffs_cost(histogram, thesis, thesis),
        "best cut-offs": suggest_cutoffs(histogram, num_cutoffs=num_cutoffs),
    }
    if num_rectangles is not None:
        choices["best rectangles"] = suggest_rectangles(histogram, num_rectangles=num_rectangles)
    return choices


def cutoffs_cost(
    histogram: SizeHistogram, heights: Sequence[int] | NDArray[np.int64], widths: Sequence[int] | NDArray[np.int64]
) -> BinSuggestion:
    """What given cut-offs in pixels cost; images above the last are left out of the sum and of the minimum."""
    high = np.asarray(heights, np.int64) // histogram.patch
    wide = np.asarray(widths, np.int64) // histogram.patch
    covered = histogram.counts[: high[-1], : wide[-1]]
    row_bin = np.searchsorted(high, np.arange(1, covered.shape[0] + 1))
    column_bin = np.searchsorted(wide, np.arange(1, covered.shape[1] + 1))
    population = np.zeros((len(high), len(wide)), np.int64)
    np.add.at(population, (row_bin[:, None], column_bin[None, :]), covered)
    tokens = int((population * high[:, None] * wide[None, :]).sum())
    pixels = [(int(h) * histogram.patch, int(w) * histogram.patch) for h in high for w in wide]
    same = np.array_equal(high, wide)
    argument = ",".join(str(int(h) * histogram.patch) for h in high) if same else _rectangles_argument(pixels)
    return _suggestion(histogram, pixels, argument, tokens, population.ravel(), covered)


def rectangles_cost(histogram: SizeHistogram, rectangles: Sequence[tuple[int, ...]]) -> BinSuggestion:
    """What given (height, width) rectangles in pixels cost, each image in the smallest that holds it."""
    ordered = sorted(((r[0], r[1]) for r in rectangles), key=lambda r: (r[0] * r[1], r))
    candidates = np.array(ordered, np.int64) // histogram.patch
    sizes = np.argwhere(histogram.counts > 0) + 1
    weights = histogram.counts[histogram.counts > 0]
    cost = _rectangle_costs(candidates, sizes)
    choice, fits = cost.argmin(0), np.isfinite(cost.min(0))
    population = np.bincount(choice[fits], weights=weights[fits], minlength=len(ordered)).astype(np.int64)
    tokens = int((population * candidates.prod(1)).sum())
    covered = histogram.counts[: int(candidates[:, 0].max()), : int(candidates[:, 1].max())]
    return _suggestion(histogram, ordered, _rectangles_argument(ordered), tokens, population, covered)


def _suggestion(
    histogram: SizeHistogram,
    pixels: Sequence[tuple[int, int]],
    argument: str,
    tokens: int,
    population: NDArray[np.int64],
    covered: NDArray[np.int64],
) -> BinSuggestion:
    minimal = SizeHistogram(patch=histogram.patch, counts=covered).minimal_tokens
    occupied = population[population > 0]
    return BinSuggestion(
        bins=tuple(pixels),
        argument=argument,
        tokens=tokens,
        overhead=tokens / minimal - 1 if minimal else 0.0,
        smallest_bin=int(occupied.min()) if len(occupied) else 0,
        empty_bins=int((population == 0).sum()),
    )


def _rectangles_argument(rectangles: Sequence[tuple[int, int]]) -> str:
    return ",".join(f"{height}x{width}" for height, width in rectangles)


def _start_cutoffs(length: int, number: int, start: int, generator: np.random.Generator) -> NDArray[np.int64]:
    if start == 0 or number == 1:
        return np.unique(np.linspace(length / number, length, number).round().astype(np.int64))
    inner = generator.choice(np.arange(1, length), size=min(number - 1, length - 1), replace=False)
    return np.sort(np.append(inner, length)).astype(np.int64)


def _alternate(
    counts: NDArray[np.int64], widths: NDArray[np.int64], number: int
) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Best heights for the widths, best widths for the heights, and so on until nothing changes."""
    heights = widths
    tokens = -1
    for _ in range(MAX_SWEEPS):
        padded_width = widths[np.searchsorted(widths, np.arange(1, counts.shape[1] + 1))]
        heights, _ = best_cutoffs((counts * padded_width[None, :]).sum(1), number)
        padded_height = heights[np.searchsorted(heights, np.arange(1, counts.shape[0] + 1))]
        new_widths, tokens = best_cutoffs((counts * padded_height[:, None]).sum(0), number)
        if np.array_equal(new_widths, widths):
            break
        widths = new_widths
    return tokens, heights, widths


def best_cutoffs(weights: NDArray[np.int64], number: int) -> tuple[NDArray[np.int64], int]:
    """The `number` cut-offs that minimise the sum of weight times cut-off, exactly, and that sum.

    `weights[i]` is the weight of extent i + 1; the last cut-off is the largest extent. With fewer extents than cut-offs
    every extent becomes one.

    Example:
        >>> best_cutoffs(np.array([10, 0, 1, 5]), 2)
        (array([1, 4]), 34)
    """
    length = len(weights)
    number = min(number, length)
    cumulated = np.concatenate([[0], np.cumsum(weights)]).astype(np.float64)
    extents = np.arange(length + 1)
    # cost[b, e]: extents b + 1 .. e all padded to e
    cost = np.where(
        extents[:, None] <= extents[None, :], (cumulated[None, :] - cumulated[:, None]) * extents[None, :], np.inf
    )
    best = np.full(length + 1, np.inf)
    best[0] = 0.0
    choices = np.zeros((number + 1, length + 1), np.int64)
    for used in range(1, number + 1):
        total = best[:, None] + np.where(extents[:, None] < extents[None, :], cost, np.inf)
        choices[used] = total.argmin(0)
        best = total.min(0)
    cutoffs, end = [], length
    for used in range(number, 0, -1):
        cutoffs.append(end)
        end = int(choices[used, end])
    return np.array(cutoffs[::-1], np.int64), int(best[length])


def _rectangle_costs(candidates: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """[candidates, sizes] tokens of a size in a candidate; infinite where it does not fit."""
    fits = (sizes[None, :, 0] <= candidates[:, None, 0]) & (sizes[None, :, 1] <= candidates[:, None, 1])
    return np.where(fits, candidates.prod(1)[:, None], np.inf).astype(np.float32)


def _best_addition(cost: NDArray[np.float32], current: NDArray[np.float32], weights: NDArray[np.float64]) -> int:
    totals = np.empty(len(cost))
    for start in range(0, len(cost), 512):
        totals[start : start + 512] = np.minimum(cost[start : start + 512], current[None]) @ weights
    return int(totals.argmin())
