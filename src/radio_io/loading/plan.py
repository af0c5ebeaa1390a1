"""Which packs a step has: the same plan on every rank.

Comes in: an `ImageTable`, the rows of a step, a `LoaderConfig`. Goes out: `StepPlan`: the packs of all ranks with the
totals that make losses exact, and of each pack (`PackJob`) the shapes and places of its images. Refuses an image that
is larger than the token budget.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radio_io.loading.batch import BatchPolicy, LoaderConfig
from radio_io.loading.order import OrderState, orders
from radio_io.loading.packing import PlannedPack, bin_step, pack_for_ranks, pack_step, share_packs, visible_patches
from radio_io.loading.table import ImageTable, Rows

TYPICAL_LEAST_TOKENS = 64
"""Images of a pack at most: those that would fit if all had so few tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlan:
    """The packs of a step over all ranks, with the totals that make losses exact."""

    state: OrderState
    rows: Rows
    packs: tuple[PlannedPack, ...]
    tokens: int
    masked: int
    dropped: int = 0
    """Patches of background that are left out."""


def plan_step(
    table: ImageTable, rows: Rows, state: OrderState, config: LoaderConfig, *, max_images: int, world_size: int = 1
) -> StepPlan:
    """How the images of a step are packed; the same on every rank.

    Raises:
        UsageError: An image is larger than the token budget.
    """
    grids = table.grids_of(rows, config.patch_size)
    patches = table.patches_of(rows, config.patch_size)
    dropped = int(grids.astype(np.int64).prod(axis=1).sum() - patches.sum())
    if config.policy is BatchPolicy.BINS:
        packs = bin_step(grids, table.bin_grids_of(rows, config.patch_size), config.token_budget)
        for pack in packs:
            if pack.grid is not None:
                patches[pack.images] = pack.grid[0] * pack.grid[1]
    elif config.small_packs:
        packs = pack_for_ranks(patches + 1, config.token_budget, max_images, world_size)
    else:
        packs = pack_step(patches + 1, config.token_budget, max_images)
    masked = int((patches - visible_patches(patches, config.mask_ratio)).sum())
    shared = tuple(share_packs(packs, world_size))
    tokens = int(patches.sum()) + len(rows)
    return StepPlan(state=state, rows=rows, packs=shared, tokens=tokens, masked=masked, dropped=dropped)


@dataclass(frozen=True, kw_only=True, slots=True)
class PackJob:
    """One pack of this rank, before its images are read.

    `grids` is [images, 2], what each image is padded to in patches; `starts` [images + 1] its rows in the pack, fewer
    than its grid has where background is dropped; `slots` the images that the shape has room for.
    """

    plan: StepPlan
    index: int
    packs_in_step: int
    rows: Rows
    tokens: int
    slots: int
    grids: NDArray[np.int32]
    starts: NDArray[np.int64]


def pack_slots(config: LoaderConfig) -> int:
    """Images of a `packed` pack at most."""
    return config.max_images or max(1, config.token_budget // TYPICAL_LEAST_TOKENS)


def pack_jobs(
    table: ImageTable, start: OrderState, config: LoaderConfig, *, rank: int = 0, world_size: int = 1
) -> Iterator[PackJob]:
    """The packs of a rank from a state on, without end.

    Raises:
        UsageError: An image is larger than the token budget.
    """
    most = pack_slots(config)
    for state, rows in orders(table, start, shuffle=config.shuffle):
        plan = plan_step(table, rows, state, config, max_images=most, world_size=world_size)
        own = plan.packs[rank::world_size]
        for index, planned in enumerate(own):
            yield _job(table, plan, planned, index, len(own), config)


def _job(
    table: ImageTable, plan: StepPlan, planned: PlannedPack, index: int, packs: int, config: LoaderConfig
) -> PackJob:
    patch_size, most, budget = config.patch_size, pack_slots(config), config.token_budget
    rows = plan.rows[planned.images]
    if planned.grid is None:
        grids, slots = table.grids_of(rows, patch_size), max(1, most * planned.tokens // budget)
        patches = table.patches_of(rows, patch_size)
    else:
        grids = np.tile(np.array(planned.grid, np.int32), (len(rows), 1))
        slots = max(1, planned.tokens // (planned.grid[0] * planned.grid[1]))
        patches = grids.astype(np.int64).prod(axis=1)
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(patches, out=starts[1:])
    return PackJob(
        plan=plan,
        index=index,
        packs_in_step=packs,
        rows=rows,
        tokens=planned.tokens,
        slots=slots,
        grids=grids,
        starts=starts,
    )
