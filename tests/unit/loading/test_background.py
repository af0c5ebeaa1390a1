"""Patches of background: which they are, how many, and packs without them that are otherwise the same."""

import itertools
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from loading_collect import damage, expected_patches, images_of_pack, with_twins
from made_tables import made_table
from radio_io.errors import StorageError, UsageError
from radio_io.layout import DatasetLayout
from radio_io.loading import background_counts
from radio_io.loading.background import LEAST_KEPT, kept_count, patch_spans, richest
from radio_io.loading.background_counts import count_background, uncounted, with_kept, with_kept_now
from radio_io.loading.background_file import BackgroundFile, forget_counts
from radio_io.loading.batch import BatchPolicy, Decoder, LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.pack_images import image_scale
from radio_io.loading.plan import pack_jobs
from radio_io.loading.table import load_image_table
from radio_io.loading.torch_loader import PackLoader
from radio_io.progress import NoProgress

CONFIG = LoaderConfig(patch_size=16, token_budget=3000, workers=2, background_permille=150)
STATE = OrderState(seed=3, step_images=16)


def plain_kept(pixels, low, high, patch, permille):
    """The places that are kept, patch by patch and pixel by pixel."""
    spans = []
    for top in range(0, pixels.shape[0], patch):
        for left in range(0, pixels.shape[1], patch):
            values = [min(max(int(p), low), high) for p in pixels[top : top + patch, left : left + patch].flat]
            spans.append(max(values) - min(values))
    kept = [place for place, span in enumerate(spans) if span * 1000 > permille * (high - low)]
    if len(kept) < LEAST_KEPT:
        kept = sorted(sorted(range(len(spans)), key=lambda place: (-spans[place], place))[:LEAST_KEPT])
    return kept


def plain_of(root, table, row, config=CONFIG):
    """(all patches, places that are kept) of an image of a dataset."""
    patch = config.patch_size
    patches = expected_patches(root, table, row, patch)
    height, width = table.grids_of(np.array([row]), patch)[0].tolist()
    cells = patches.reshape(height, width, patch, patch).transpose(0, 2, 1, 3)
    rows, columns = table.shape(row)
    pixels = cells.reshape(height * patch, width * patch)[:rows, :columns]
    low, high = (int(value) for value in image_scale(table, row, config))
    return patches, plain_kept(pixels, low, high, patch, config.background_permille)


@pytest.fixture(scope="module")
def counted(sharded, table, tmp_path_factory):
    """A copy of the dataset with all images counted, and its table with what is kept."""
    root = tmp_path_factory.mktemp("counted") / "shards"
    shutil.copytree(sharded.root, root)
    every = np.arange(len(table))
    assert count_background(root, table, CONFIG, every, NoProgress()) == len(table)
    return root, with_kept(root, table, CONFIG, every)


@pytest.mark.parametrize("shape", [(40, 37), (32, 48), (7, 90), (100, 5), (3, 3)])
@pytest.mark.parametrize("permille", [0, 20, 300])
def test_finds_what_a_plain_loop_finds(shape, permille):
    generator = np.random.default_rng(sum(shape))
    pixels = generator.integers(500, 3000, shape).astype(np.uint16)
    pixels[:, : shape[1] // 2] = generator.integers(100, 180, (shape[0], shape[1] // 2))
    pixels[: shape[0] // 3] = 65535
    scale = (150.0, 2800.0)
    spans = patch_spans(pixels, scale, 8)
    kept = richest(spans, kept_count(spans, scale, permille))
    assert kept.tolist() == plain_kept(pixels, 150, 2800, 8, permille)


def test_counts_are_those_of_a_plain_loop(counted, table):
    root, kept = counted
    for row in range(0, len(table), 3):
        assert kept.kept[row] == len(plain_of(root, table, row)[1])
    whole = table.grids(16).prod(axis=1)
    assert (kept.kept <= whole).all()
    assert kept.kept.sum() < 0.9 * whole.sum()  # there is something to drop


def test_every_image_once_with_its_kept_patches_in_their_places(counted, table):
    root, kept = counted
    rows = {table.key(row): row for row in range(len(table))}
    seen = Counter()
    with PackLoader(root, kept, CONFIG, STATE) as loader:
        for pack in itertools.takewhile(lambda pack: pack.epoch == 0, loader):
            assert int(pack.offsets[-1]) + pack.num_images <= len(pack.patches)
            assert not pack.patches.numpy()[int(pack.offsets[-1]) :].any()
            offsets = pack.offsets.tolist()
            for number, (key, patches) in enumerate(images_of_pack(pack)):
                wanted, places = plain_of(root, table, rows[key])
                assert (patches == wanted[places]).all()
                height, width = pack.grids[number].tolist()
                assert [height, width] == table.grids_of(np.array([rows[key]]), 16)[0].tolist()
                positions = pack.positions[offsets[number] : offsets[number + 1]].numpy()
                assert (positions[:, 0] * width + positions[:, 1]).tolist() == places
                seen[key] += 1
    assert seen == Counter(list(rows))


def test_steps_have_the_images_and_totals_of_what_is_left(counted, table):
    root, kept = counted
    whole, left = ({}, {})
    for chosen, found in ((table, whole), (kept, left)):
        with PackLoader(root, chosen, CONFIG, STATE) as loader:
            for pack in itertools.takewhile(lambda pack: pack.epoch == 0, loader):
                keys, *_ = found.setdefault(pack.step, ([], pack.step_tokens, pack.step_dropped, pack.step_masked))
                keys.extend(pack.keys)
    for step, (keys, tokens, dropped, _) in left.items():
        assert sorted(keys) == sorted(whole[step][0])
        assert tokens + dropped == whole[step][1]
        counts = [int(kept.kept[row]) for row in range(len(table)) if table.key(row) in keys]
        assert left[step][3] == sum(count - count // 4 for count in counts)
    assert sum(each[2] for each in left.values()) > 0
    assert {each[2] for each in whole.values()} == {0}


@pytest.mark.parametrize("ranks", [1, 3])
def test_packs_keep_to_the_budget_and_ranks_to_each_other(ranks):
    table = made_table(400)
    kept = np.random.default_rng(0).integers(1, table.grids(16).prod(axis=1) + 1).astype(np.int32)
    table = replace(table, kept=kept)
    found, shapes = Counter(), []
    for rank in range(ranks):
        jobs = pack_jobs(table, OrderState(seed=1, step_images=64), CONFIG, rank=rank, world_size=ranks)
        mine = list(itertools.takewhile(lambda job: job.plan.state.epoch == 0, jobs))
        for job in mine:
            assert int(job.starts[-1]) + len(job.rows) <= job.tokens
            assert (np.diff(job.starts) == kept[job.rows]).all()
            assert job.plan.tokens == int(kept[job.plan.rows].sum()) + len(job.plan.rows)
            found.update(job.rows.tolist())
        shapes.append([(job.tokens, job.slots) for job in mine])
    assert found == Counter(range(400))
    assert all(each == shapes[0] for each in shapes)


def test_a_stand_in_has_as_many_patches(counted, table, tmp_path):
    root, kept = counted
    copy = tmp_path / "shards"
    shutil.copytree(root, copy)
    bad = {table.key(row): row for row in with_twins(table)[:3]}
    for row in bad.values():
        damage(copy, table, row)
    rows = {table.key(row): row for row in range(len(table))}
    shapes = {}
    for where in (root, copy):
        with PackLoader(where, kept, CONFIG, STATE) as loader:
            packs = list(itertools.takewhile(lambda pack: pack.epoch == 0, loader))
            shapes[where] = [(pack.offsets.tolist(), pack.grids.tolist(), pack.step_tokens) for pack in packs]
            stand_ins = {each.replaced_by for each in loader.bad_images}
            if where == copy:
                assert {each.key for each in loader.bad_images} == set(bad)
                keys = [key for pack in packs for key in pack.keys]
                assert not set(keys) & set(bad)
                for pack in packs:
                    for key, patches in images_of_pack(pack):
                        if key in stand_ins:
                            every = {each.tobytes() for each in plain_of(root, table, rows[key])[0]}
                            assert all(each.tobytes() in every for each in patches)
    assert shapes[root] == shapes[copy]


def test_counts_only_what_is_new_and_goes_on_after_an_interruption(sharded, table, tmp_path, monkeypatch):
    root = tmp_path / "shards"
    shutil.copytree(sharded.root, root)
    every = np.arange(len(table))
    monkeypatch.setattr(background_counts, "AT_ONCE", 8)

    class Interrupted(NoProgress):
        def advance(self, count=1, *, size_bytes=0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_background(root, table, CONFIG, every, Interrupted())
    assert len(uncounted(root, table, CONFIG, every)) == len(table) - 8
    assert count_background(root, table, CONFIG, every, NoProgress()) == len(table) - 8
    assert count_background(root, table, CONFIG, every, NoProgress()) == 0
    some = load_image_table(root, "train", where="rows <= 600 and columns <= 600 and rows > 150")
    assert len(uncounted(root, some, CONFIG, np.arange(len(some)))) == 0  # another selection of the same images
    for other in (
        replace(CONFIG, patch_size=32),
        replace(CONFIG, background_permille=151),
        replace(CONFIG, scale="bits"),
    ):
        assert len(uncounted(root, table, other, every)) == len(table)


def test_counts_of_images_that_changed_are_made_again(counted, table):
    root, _ = counted
    every = np.arange(len(table))
    changed = table.crc32.copy()
    changed[5] ^= 1
    assert uncounted(root, replace(table, crc32=changed), CONFIG, every).tolist() == [5]


def test_counts_at_half_resolution_are_those_of_the_halved_image(counted):
    root, _ = counted
    config = replace(CONFIG, halvings=1, patch_size=8)
    half = load_image_table(root, "train", where="rows <= 600 and columns <= 600", halvings=1)
    assert len(uncounted(root, half, config, np.arange(len(half)))) == len(half)
    rows = np.arange(0, len(half), 9)
    found = with_kept_now(root, half, config, rows)
    assert not BackgroundFile(root, config).path.exists()
    with PackLoader(root, half, replace(config, shuffle=False), STATE) as loader:
        whole = {}
        for pack in itertools.takewhile(lambda pack: pack.epoch == 0, loader):
            whole.update(images_of_pack(pack))
    for row in rows.tolist():
        height, width = half.grids_of(np.array([row]), 8)[0].tolist()
        cells = whole[half.key(row)].reshape(height, width, 8, 8).transpose(0, 2, 1, 3)
        pixels = cells.reshape(height * 8, width * 8)[: half.shape(row)[0], : half.shape(row)[1]]
        low, high = (int(value) for value in image_scale(half, row, config))
        assert found.kept[row] == len(plain_kept(pixels, low, high, 8, config.background_permille))
    others = np.setdiff1d(np.arange(len(half)), rows)
    assert (found.kept[others] == half.grids(8).prod(axis=1)[others]).all()


def test_an_image_that_cannot_be_read_keeps_all_patches_and_is_looked_at_again(counted, table, tmp_path):
    root, kept = counted
    copy = tmp_path / "shards"
    shutil.copytree(root, copy)
    file = BackgroundFile(copy, CONFIG)
    file.path.unlink()
    row = with_twins(table)[0]
    path = DatasetLayout(copy).tar_path(table.shard_ids[table.shards[row]])
    whole = path.read_bytes()
    damage(copy, table, row)
    rows = np.flatnonzero(table.shards == table.shards[row])
    count_background(copy, table, CONFIG, rows, NoProgress())
    assert len(uncounted(copy, table, CONFIG, rows)) == 0
    assert with_kept(copy, table, CONFIG, rows).kept[row] == table.grids(16)[row].prod()
    path.write_bytes(whole)
    assert count_background(copy, table, CONFIG, rows, NoProgress()) == 1
    assert with_kept(copy, table, CONFIG, rows).kept[row] == kept.kept[row]


def test_a_damaged_file_is_no_file_and_withdrawn_images_leave_it(counted, table, tmp_path):
    root, _ = counted
    copy = tmp_path / "shards"
    shutil.copytree(root / "background", copy / "background")
    every = np.arange(len(table))
    forget_counts(copy, [table.key(row) for row in range(1, len(table))])
    assert uncounted(copy, table, CONFIG, every).tolist() == [0]
    path = BackgroundFile(copy, CONFIG).path
    assert table.keys[0].tobytes() not in path.read_bytes()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert len(uncounted(copy, table, CONFIG, every)) == len(table)


def test_refuses_what_cannot_drop_background(counted, table, tmp_path):
    root, kept = counted
    for config in (replace(CONFIG, policy=BatchPolicy.BINS), replace(CONFIG, decoder=Decoder.DALI_CPU)):
        with pytest.raises(UsageError, match="policy packed and decoder threads"):
            PackLoader(root, kept, config, STATE)
    with pytest.raises(UsageError, match="background_permille"):
        replace(CONFIG, background_permille=1000)
    (tmp_path / "background").write_text("in the way")
    with pytest.raises(StorageError, match="background"):
        count_background(tmp_path, table, CONFIG, np.arange(3), NoProgress())
