"""The order: every image once an epoch, from any state, on any number of ranks; steps do not depend on ranks."""

import itertools

import numpy as np
import pytest

from radio_io.loading.batch import BatchPolicy, LoaderConfig
from radio_io.loading.order import OrderState, images_of_step, steps_per_epoch
from radio_io.loading.plan import plan_step
from radio_io.loading.table import load_image_table
from radio_io.loading.torch_loader import PackLoader

SMALL = "rows <= 600 and columns <= 600"


@pytest.fixture(scope="module")
def table(built):
    return load_image_table(built.root, "train", where=SMALL)


def test_an_epoch_holds_every_image_once_in_another_order(table):
    epochs = []
    for epoch in (0, 1):
        steps = range(steps_per_epoch(len(table), 16))
        states = [OrderState(seed=3, epoch=epoch, step=step, step_images=16) for step in steps]
        epochs.append(np.concatenate([images_of_step(table, state) for state in states]))
        assert sorted(epochs[-1].tolist()) == list(range(len(table)))
    assert epochs[0].tolist() != epochs[1].tolist()


@pytest.mark.parametrize("policy", list(BatchPolicy))
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_ranks_share_the_same_steps_also_after_an_interruption(built, table, policy, ranks):
    config = LoaderConfig(patch_size=16, token_budget=6000, policy=policy, workers=1)
    steps = steps_per_epoch(len(table), 20)
    seen: dict[int, list[str]] = {step: [] for step in range(steps)}
    for rank in range(ranks):
        start = OrderState(seed=1, step=1, step_images=20)  # as after one step on another number of ranks
        with PackLoader(built.root, table, config, start, rank=rank, world_size=ranks) as loader:
            for pack in itertools.takewhile(lambda p: p.epoch == 0, loader):
                seen[pack.step].extend(pack.keys)
    for step in range(1, steps):
        rows = images_of_step(table, OrderState(seed=1, step=step, step_images=20))
        assert sorted(seen[step]) == sorted(table.key(row) for row in rows)


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("small_packs", [True, False])
def test_without_small_packs_all_packs_have_one_shape(table, small_packs, ranks):
    config = LoaderConfig(patch_size=16, token_budget=2400, small_packs=small_packs)
    found = set()
    for step in range(steps_per_epoch(len(table), 20)):
        state = OrderState(seed=1, step=step, step_images=20)
        rows = images_of_step(table, state)
        plan = plan_step(table, rows, state, config, max_images=64, world_size=ranks)
        assert sorted(np.concatenate([pack.images for pack in plan.packs]).tolist()) == list(range(len(rows)))
        assert len(plan.packs) % ranks == 0
        found |= {pack.tokens for pack in plan.packs}
    assert (600 in found) == small_packs
    assert found <= {600, 2400}


def test_a_selection_is_a_part_of_the_whole(built, table):
    keys = [table.key(row) for row in range(5)]
    chosen = load_image_table(built.root, "train", keys=keys)
    assert sorted(chosen.key(row) for row in range(len(chosen))) == sorted(keys)
