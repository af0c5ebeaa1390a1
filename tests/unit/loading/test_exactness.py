"""Every image once an epoch, the same in the same step: whatever the ranks, policy, budget, workers, interruptions."""

import itertools
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loading_collect import collect
from made_tables import made_table
from radio_io.loading.batch import BatchPolicy, LoaderConfig
from radio_io.loading.order import OrderState, epoch_order, images_of_step, steps_per_epoch
from radio_io.loading.pack_images import cut_strips
from radio_io.loading.plan import pack_jobs
from radio_io.loading.torch_loader import PackLoader

RANKS = st.integers(1, 8)


def steps_of_ranks(table, state, config, ranks, steps):
    """{(epoch, step): rows} that `ranks` get together in some steps, after checks of what each gets."""
    found, packs = {}, {}
    for rank in range(ranks):
        jobs = pack_jobs(table, state, config, rank=rank, world_size=ranks)
        seen = []
        for job in jobs:
            at = job.plan.state.epoch, job.plan.state.step
            if at not in seen:
                if len(seen) == steps:
                    break
                seen.append(at)
            found.setdefault(at, []).extend(job.rows.tolist())
            packs.setdefault(at, {}).setdefault(rank, []).append((job.tokens, job.slots))
            assert job.starts[-1] + len(job.rows) <= job.tokens
    for by_rank in packs.values():  # the same number of packs on all ranks, of the same shapes at the same time
        assert len(by_rank) == ranks
        assert len({tuple(shapes) for shapes in by_rank.values()}) == 1
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_steps_do_not_depend_on_ranks_policy_budget_or_interruption(data):
    images = data.draw(st.integers(1, 300), "images")
    table = made_table(images, per_shard=data.draw(st.integers(1, 50), "images a shard"), seed=images)
    step_images = data.draw(st.integers(1, 80), "images a step")
    start = OrderState(seed=data.draw(st.integers(0, 2**63 - 1), "seed"), step_images=step_images)
    per_epoch = steps_per_epoch(images, step_images)
    first = data.draw(st.integers(0, per_epoch), "steps before the interruption")

    def config():
        return LoaderConfig(
            patch_size=16,
            token_budget=data.draw(st.integers(1000, 8000), "budget"),
            policy=data.draw(st.sampled_from(list(BatchPolicy)), "policy"),
        )

    before = steps_of_ranks(table, start, config(), data.draw(RANKS, "ranks"), first) if first else {}
    state = start
    for step in range(first):
        state = state.after(0, step, images)
    after = steps_of_ranks(table, state, config(), data.draw(RANKS, "ranks then"), per_epoch + 1 - first)
    assert not before.keys() & after.keys()
    steps = before | after
    for (epoch, step), rows in steps.items():
        planned = images_of_step(table, OrderState(seed=start.seed, epoch=epoch, step=step, step_images=step_images))
        assert Counter(rows) == Counter(planned.tolist())
    seen = Counter(row for (epoch, _), rows in steps.items() if epoch == 0 for row in rows)
    assert seen == Counter(range(images))


@pytest.mark.parametrize("policy", list(BatchPolicy))
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_pixels_do_not_depend_on_workers_or_policy(sharded, table, policy, workers):
    state = OrderState(seed=5, step=1, step_images=25)
    config = LoaderConfig(patch_size=16, token_budget=9000, workers=workers, policy=policy)
    with PackLoader(sharded.root, table, config, state) as loader:
        found = collect(loader)
    plain = LoaderConfig(patch_size=16, token_budget=9000, workers=1)
    with PackLoader(sharded.root, table, plain, state) as loader:
        wanted = collect(loader)
    assert found.keys() == wanted.keys()
    for step, images in wanted.items():
        assert found[step].keys() == images.keys()
        if policy is BatchPolicy.PACKED:
            assert all((found[step][key] == patches).all() for key, patches in images.items())
        else:
            assert all(patches.sum() == found[step][key].sum() for key, patches in images.items())


def test_interrupted_anywhere_the_rest_follows_once(sharded, table):
    config = LoaderConfig(patch_size=16, token_budget=9000, workers=2)
    whole = []
    with PackLoader(sharded.root, table, config, OrderState(seed=4, step_images=16)) as loader:
        for pack in itertools.takewhile(lambda pack: pack.epoch < 2, loader):
            whole.append((pack.epoch, pack.step, pack.keys))
            if pack.is_last_of_step and pack.epoch == 0:
                state = loader.state_after(pack)
                assert state.epoch * 10**6 + state.step > pack.epoch * 10**6 + pack.step
                with PackLoader(sharded.root, table, config, state) as resumed:
                    after = next(iter(resumed))
                assert (after.epoch, after.step, after.pack_index) == (state.epoch, state.step, 0)
    assert len({(epoch, key) for epoch, _, keys in whole for key in keys}) == 2 * len(table)


def test_an_epoch_of_the_thesis_is_ordered_within_two_seconds():
    table = made_table(650_000, per_shard=400, image_bytes=2_600_000)
    began_s = time.process_time()
    order = epoch_order(table, OrderState(seed=1))
    assert time.process_time() - began_s < 2
    assert (np.bincount(order, minlength=650_000) == 1).all()


def test_steps_vary_hardly_more_than_those_of_a_true_shuffle():
    table = made_table(200_000, per_shard=400, image_bytes=2_600_000)
    area = table.rows.astype(np.float64) * table.columns
    deviations, shards = [], []
    for order in (epoch_order(table, OrderState(seed=1)), np.random.default_rng(1).permutation(200_000)):
        steps = order[: 195 * 1024].reshape(195, 1024)
        deviations.append(area[steps].mean(axis=1).std())
        shards.append(np.mean([len(np.unique(table.shards[step])) for step in steps]))
    assert deviations[0] < 1.5 * deviations[1]  # of one image size a step, which bins make the hardest to mix
    assert shards[0] > 100
    epochs = [np.empty(200_000, np.int64) for _ in range(2)]
    for number, places in enumerate(epochs):
        places[epoch_order(table, OrderState(seed=1, epoch=number))] = np.arange(200_000) // 1024
    together = epochs[0][:-1] == epochs[0][1:]
    again = (epochs[1][:-1] == epochs[1][1:])[together].mean()
    assert again < 0.9  # neighbours of one epoch's step part in the next


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_cuts_strips_as_the_padded_image(data):
    rows, columns, patch = (data.draw(st.integers(1, most)) for most in (70, 70, 17))
    height, width = (
        -(-rows // patch) + data.draw(st.integers(0, 2)),
        -(-columns // patch) + data.draw(st.integers(0, 2)),
    )
    pixels = np.random.default_rng(rows * columns).integers(0, 65536, (rows, columns), dtype=np.uint16)
    padded = np.zeros((height * patch, width * patch), np.uint16)
    padded[:rows, :columns] = pixels
    expected = padded.reshape(height, patch, width, patch).swapaxes(1, 2).reshape(height * width, patch * patch)
    step = patch * data.draw(st.integers(1, 4))
    found = np.full_like(expected, 7)
    cut_strips((pixels[row : row + step] for row in range(0, rows, step)), width, patch, found)
    np.testing.assert_array_equal(found, expected)
