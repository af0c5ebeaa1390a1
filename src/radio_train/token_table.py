"""What each way of batching costs: tokens and computation of one epoch, as the thesis's Table 4.1.

Comes in: heights and widths of images, the sizes of a model, a token budget. Goes out: `BatchingCost`s, the first being
that of padding each image to the patch only. Refuses no images.

Padded tokens are counted where they are computed on: all of a bin, and the empty rows of packs. The computation is that
of `radio_train.model.flops`, exact per image, where the thesis squares the ratio of tokens.

Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), Table 4.1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_io.loading.packing import pack_for_ranks, share_packs
from radio_io.loading.plan import TYPICAL_LEAST_TOKENS
from radio_io.sharding.suggest import THESIS_CUTOFFS, size_histogram, suggest_cutoffs
from radio_io.synth.sizes import LARGEST, REGIONS, draw_size, region_counts
from radio_train.model.config import MaeConfig
from radio_train.model.flops import pretraining_flops

THESIS_IMAGES = 639_877


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingCost:
    """One way of batching; ratios are to padding to the patch only.

    `waste` is the share of computed tokens that hold no patch of an image and no CLS; of packs, `waste_in_full_packs`
    leaves the end of each step apart: its last full pack and the small ones.
    """

    batching: str
    tokens: int
    token_ratio: float
    flops: float
    flops_ratio: float
    waste: float
    waste_in_full_packs: float | None = None


def thesis_sizes(images: int = THESIS_IMAGES, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Heights and widths drawn from the distribution that is fitted to the thesis's totals."""
    generator = np.random.default_rng(seed)
    sizes: list[tuple[int, int]] = []
    for region, count in region_counts(images).items():
        small = generator.random(count) < REGIONS[region].small_share
        sizes.extend(draw_size(region, generator, small=bool(each)) for each in small)
    found = np.array(sizes, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def compare_batching(
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
    model: MaeConfig,
    *,
    token_budget: int = 24_576,
    step_images: int = 1_024,
    ranks: int = 1,
    seed: int = 0,
) -> list[BatchingCost]:
    """The cost of an epoch by minimal padding, packed, in the thesis's and the best 36 bins, and at a fixed size.

    Packs are those of all ranks, with the ones that keep them in step.
    """
    patch = model.patch_size
    grids = -(-np.stack([heights, widths], axis=1) // patch)
    patches = grids.prod(axis=1)
    side = max(-(-LARGEST // patch), int(grids.max()))
    thesis = _to_cutoffs(grids, np.array([-(-end // patch) for end in THESIS_CUTOFFS]), side)
    histogram = size_histogram(heights, widths, patch=patch)
    costs = [
        _cost("padded to the patch", patches, patches, model),
        _packed(patches, model, token_budget, step_images, ranks, seed),
        _cost("36 bins of the thesis", thesis, patches, model),
    ]
    if min((histogram.counts.sum(axis).astype(bool).sum() for axis in (0, 1)), default=0) >= len(THESIS_CUTOFFS):
        best = suggest_cutoffs(histogram, num_cutoffs=len(THESIS_CUTOFFS))
        bins = np.array(best.bins) // patch
        rows, columns = (_ceiling(grids[:, axis], np.unique(bins[:, axis]), side) for axis in (0, 1))
        costs.append(_cost("36 best bins", rows * columns, patches, model))
    costs.append(_cost(f"fixed {side * patch} x {side * patch}", np.full(len(patches), side * side), patches, model))
    return [_relative(cost, costs[0]) for cost in costs]


def _cost(name: str, computed: NDArray[np.int64], patches: NDArray[np.int64], model: MaeConfig) -> BatchingCost:
    tokens = int(computed.sum())
    empty = tokens - int(patches.sum())
    return BatchingCost(
        batching=name,
        tokens=tokens,
        token_ratio=1.0,
        flops=_flops(computed, model),
        flops_ratio=1.0,
        waste=empty / (tokens + len(patches)),
    )


def _packed(
    patches: NDArray[np.int64], model: MaeConfig, budget: int, step_images: int, ranks: int, seed: int
) -> BatchingCost:
    order = np.random.default_rng(seed).permutation(len(patches))
    most = max(1, budget // TYPICAL_LEAST_TOKENS)
    empty: list[int] = []
    empty_of_full = full = computed = 0
    for start in range(0, len(order), step_images):
        counts = patches[order[start : start + step_images]] + 1
        packs = share_packs(pack_for_ranks(counts, budget, most, ranks), ranks)
        rests = [pack.tokens - int(counts[pack.images].sum()) for pack in packs]
        whole = sum(pack.tokens == budget and len(pack.images) > 0 for pack in packs) - 1
        empty.extend(rests)
        computed += sum(pack.tokens for pack in packs)
        empty_of_full, full = empty_of_full + sum(rests[:whole]), full + whole
    unused = np.array(empty, np.int64)
    return BatchingCost(
        batching=f"packed into {budget:,}",
        tokens=int(patches.sum() + unused.sum()),
        token_ratio=1.0,
        # Empty rows are computed on in segments no longer than an image of the base grid.
        flops=_flops(patches, model) + _flops(_segments(unused, model.base_grid**2), model),
        flops_ratio=1.0,
        waste=float(unused.sum()) / computed,
        waste_in_full_packs=empty_of_full / (full * budget) if full else 0.0,
    )


def _segments(unused: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
    """Empty rows as the model computes on them."""
    return np.concatenate([np.full(int((unused // longest).sum()), longest), unused % longest])


def _flops(patches: NDArray[np.int64], model: MaeConfig) -> float:
    sizes, counts = np.unique(patches, return_counts=True)
    each = [pretraining_flops(model, int(size)) for size in sizes]
    return float(np.dot(np.array(each, np.float64), counts))


def _relative(cost: BatchingCost, least: BatchingCost) -> BatchingCost:
    return BatchingCost(
        batching=cost.batching,
        tokens=cost.tokens,
        token_ratio=cost.tokens / least.tokens,
        flops=cost.flops,
        flops_ratio=cost.flops / least.flops,
        waste=cost.waste,
        waste_in_full_packs=cost.waste_in_full_packs,
    )


def _to_cutoffs(grids: NDArray[np.int64], cutoffs: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    return _ceiling(grids[:, 0], cutoffs, side) * _ceiling(grids[:, 1], cutoffs, side)


def _ceiling(sizes: NDArray[np.int64], cutoffs: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """The least cut-off that holds each size; beyond the last, the size itself."""
    ends = np.append(cutoffs, max(side, int(cutoffs.max())))
    return np.maximum(ends[np.minimum(np.searchsorted(ends, sizes), len(ends) - 1)], sizes)
