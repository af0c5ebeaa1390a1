"""Packs of images in memory, for the benchmark of policies.

Comes in: a number of images. Goes out: their sizes, as in the thesis; plans of packs, and the packs with made content.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_io.loading.batch import Pack
from radio_io.loading.packing import PlannedPack, pack_step, visible_patches
from radio_io.sharding.bins import DEFAULT_NOTATION, Bins
from radio_train.config import PretrainConfig

REAL_PATCH = 48
"""Sizes in patches are those of real images in patches of 48 pixels, whatever the model's patch size."""

Grid = tuple[int, int]


def thesis_grids(images: int, seed: int) -> tuple[list[Grid], list[Grid]]:
    """Sizes in patches as in the thesis's data, and those of their bins."""
    from radio_io.synth.sizes import REGIONS, draw_size, region_counts

    generator = np.random.default_rng(seed)
    sizes: list[Grid] = []
    for region, count in region_counts(images).items():
        for _ in range(count):
            small = bool(generator.random() < REGIONS[region].small_share)
            sizes.append(draw_size(region, generator, small=small))
    bins = Bins.parse(DEFAULT_NOTATION)
    chosen = [bins.assign(*size) for size in sizes]
    in_patches = [(-(-h // REAL_PATCH), -(-w // REAL_PATCH)) for h, w in sizes]
    padded = [(b.height // REAL_PATCH, b.width // REAL_PATCH) for b in chosen if b is not None]
    return in_patches, padded


def full_budget(token_counts: NDArray[np.int64], near: int) -> int:
    """The smallest budget with as many packs as the tokens would fill at a budget of `near`.

    Example:
        >>> full_budget(np.array([6, 3, 4, 7]), 12)
        10
    """
    total, packs = int(token_counts.sum()), max(1, round(int(token_counts.sum()) / near))
    budget = max(-(-total // packs), int(token_counts.max()))
    while len(pack_step(token_counts, budget, len(token_counts))) > packs:
        budget += 1
    return budget


def own_bins(bins: Sequence[Grid], budget: int) -> list[PlannedPack]:
    """Batches of images of one bin each; the last batch of a bin has fewer images, and nothing to fill it up."""
    planned: list[PlannedPack] = []
    for grid in sorted(set(bins)):
        members = [index for index, each in enumerate(bins) if each == grid]
        tokens = grid[0] * grid[1] + 1
        size = max(1, budget // tokens)
        for start in range(0, len(members), size):
            chosen = np.array(members[start : start + size], np.int64)
            planned.append(PlannedPack(images=chosen, tokens=len(chosen) * tokens, grid=grid))
    return planned


def tokens_of(grids: Sequence[Grid]) -> NDArray[np.int64]:
    """[images]: their tokens, CLS tokens included."""
    return np.array([h * w + 1 for h, w in grids], np.int64)


def alone(index: int, grid: Grid) -> PlannedPack:
    """A pack of one image."""
    return PlannedPack(images=np.array([index], np.int64), tokens=grid[0] * grid[1] + 1, grid=grid)


def packs_of(
    config: PretrainConfig, grids: Sequence[Grid], shapes: Sequence[Grid], planned: Sequence[PlannedPack]
) -> list[Pack[Tensor]]:
    """The packs of a step; image i has `grids[i]` patches of content, padded with 0 to `shapes[i]`."""
    patches = np.array([h * w for h, w in shapes])
    masked = int((patches - visible_patches(patches, config.model.mask_ratio)).sum())
    whole = {"step_images": len(shapes), "step_tokens": int(patches.sum()) + len(shapes), "step_masked": masked}
    most = max(len(pack.images) for pack in planned)
    return [
        _pack(config.model.patch_size, grids, shapes, pack, most if pack.grid is None else len(pack.images), whole)
        for pack in planned
    ]


def _pack(
    patch: int,
    grids: Sequence[Grid],
    shapes: Sequence[Grid],
    planned: PlannedPack,
    slots: int,
    whole: dict[str, int],
) -> Pack[Tensor]:
    pixels = np.zeros((planned.tokens, patch * patch), np.uint16)
    positions = np.zeros((planned.tokens, 2), np.int32)
    sizes = np.zeros((slots, 2), np.int32)
    offsets = np.zeros(slots + 1, np.int32)
    start = 0
    for number, index in enumerate(planned.images.tolist()):
        (h, w), (rows, columns) = grids[index], shapes[index]
        image = np.zeros((rows, columns, patch * patch), np.uint16)
        image[:h, :w] = _content(index, h, w, patch)
        end = start + rows * columns
        pixels[start:end] = image.reshape(rows * columns, -1)
        positions[start:end] = np.stack([np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)], 1)
        sizes[number], offsets[number + 1 :] = (rows, columns), end
        start = end
    return Pack(
        patches=torch.from_numpy(pixels),
        positions=torch.from_numpy(positions),
        grids=torch.from_numpy(sizes),
        offsets=torch.from_numpy(offsets),
        scale=torch.tensor([[0.0, 4_095.0]]).repeat(slots, 1),
        keys=tuple(f"{index:032x}" for index in planned.images.tolist()),
        num_images=len(planned.images),
        epoch=0,
        step=0,
        pack_index=0,
        packs_in_step=1,
        is_last_of_step=True,
        **whole,
    )


def _content(index: int, h: int, w: int, patch: int) -> NDArray[np.uint16]:
    """[h, w, pixels]: a bright ellipse with noise, which 12 bits hold."""
    generator = np.random.default_rng(index)
    y, x = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    bright = 2_000 * np.clip(1 - x**2 - y**2, 0, 1)[..., None] + 500
    return (bright + generator.integers(0, 500, (h, w, patch * patch))).astype(np.uint16)
