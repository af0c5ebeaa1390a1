"""Reading: large ranges, every image once; faults are retried, replaced alike everywhere, or named; nothing waits."""

import errno
import itertools
import os
import shutil
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loading_collect import collect, damage, delivered_keys, expected_patches, grid_of, with_twins
from radio_io.errors import TrainingError, UsageError
from radio_io.layout import DatasetLayout
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.reading import ReadConfig, parse_size, plan_ranges
from radio_io.loading.store import LocalStore, MemoryStore, RemoteStore, read_fully
from radio_io.loading.torch_loader import PackLoader

PATCH = 16
START = OrderState(seed=1, step_images=20)


@pytest.fixture
def copy(sharded, tmp_path):
    """Shards that a test may damage; the index stays where it is."""
    return shutil.copytree(sharded.root, tmp_path / "shards")


def configured(copy=None, **changes):
    reading = {"store": str(copy) if copy else None, "retry_pause_s": 0.001} | changes.pop("reading", {})
    return LoaderConfig(patch_size=PATCH, token_budget=6000, workers=2, reading=ReadConfig(**reading), **changes)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_ranges_hold_every_image_once_and_stay_in_their_bounds(table, data):
    rows = np.array(data.draw(st.lists(st.integers(0, len(table) - 1), min_size=1, unique=True)))
    config = ReadConfig(
        range_bytes=data.draw(st.integers(1, 400_000)), gap_bytes=data.draw(st.sampled_from([0, 3000, 10**6]))
    )
    ranges = plan_ranges(table, rows, config)
    assert sorted(place for each in ranges for place in each.places) == list(range(len(rows)))
    for each in ranges:
        own = rows[list(each.places)]
        starts, ends = table.offsets[own], table.offsets[own] + table.sizes[own]
        assert (table.shards[own] == each.shard).all()
        assert (each.offset, each.offset + each.size) == (starts.min(), ends.max())
        assert len(own) == 1 or each.size <= config.range_bytes
        assert (np.sort(starts)[1:] - np.sort(ends)[:-1] <= config.gap_bytes).all()


def test_a_whole_selection_is_read_in_few_large_requests(sharded, table):
    with PackLoader(sharded.root, table, configured(), OrderState(seed=1, step_images=len(table))) as loader:
        first = collect(loader)
        counts = loader.counts
    assert len(first[0, 0]) == len(table)
    epochs_read = counts.store_bytes / int(table.sizes.sum())
    assert counts.requests <= 1.5 * len(table.shard_ids) * epochs_read
    assert len(table) > 3 * len(table.shard_ids)


def test_delivers_the_pixels_of_the_shards(sharded, table):
    with PackLoader(sharded.root, table, configured(reading={"range_bytes": 50_000}), START) as loader:
        images = {key: patches for step in collect(loader).values() for key, patches in step.items()}
    for row in range(len(table)):
        assert (images[table.key(row)] == expected_patches(sharded.root, table, row, PATCH)).all()


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN])
def test_opens_again_after_a_transient_fault(sharded, table, monkeypatch, code):
    opened, failures, real_open, real_read = [], [], os.open, os.pread

    def failing(descriptor, size, offset):
        if len(failures) < 2:
            failures.append(code)
            raise OSError(code, os.strerror(code))
        return real_read(descriptor, size, offset)

    def counting(path, *arguments):
        opened.append(path)
        return real_open(path, *arguments)

    monkeypatch.setattr(os, "pread", failing)
    monkeypatch.setattr(os, "open", counting)
    store = LocalStore(sharded.root, pause_s=0.001)
    assert len(store.read(table.shard_ids[0], 0, 1000)) == 1000
    store.close()
    assert len(opened) == 3


def test_a_lasting_fault_is_not_retried_for_ever(sharded, monkeypatch, table):
    monkeypatch.setattr(os, "pread", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        LocalStore(sharded.root, pause_s=0.001).read(table.shard_ids[0], 0, 10)


def test_short_reads_are_completed(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(range(200)))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: real(descriptor, min(size, 7), offset))
    with (tmp_path / "file").open("rb") as file:
        assert read_fully(file.fileno(), 10, 100) == bytes(range(10, 110))
        assert read_fully(file.fileno(), 150, 100) == bytes(range(150, 200))


def test_a_damaged_image_is_replaced_alike_on_any_number_of_ranks(sharded, table, copy, tmp_path):
    bad = with_twins(table)[:3]
    for row in bad:
        damage(copy, table, row)
    found = []
    for ranks in (1, 3):
        together: dict[tuple[int, int], list[str]] = {}
        for rank in range(ranks):
            config = configured(copy, quarantine=tmp_path / f"{ranks}.jsonl")
            with PackLoader(sharded.root, table, config, START, rank=rank, world_size=ranks) as loader:
                for step, keys in delivered_keys(loader).items():
                    together.setdefault(step, []).extend(keys)
                assert {image.key for image in loader.bad_images} <= {table.key(row) for row in bad}
        found.append({step: sorted(keys) for step, keys in together.items()})
    assert found[0] == found[1]
    delivered = [key for keys in found[0].values() for key in keys]
    assert len(delivered) == len(table)
    assert not {table.key(row) for row in bad} & set(delivered)
    lines = [(tmp_path / f"{ranks}.jsonl").read_text().splitlines() for ranks in (1, 3)]
    first_epoch = [sorted({line for line in each if '"epoch": 0' in line}) for each in lines]
    assert first_epoch[0] == first_epoch[1]
    assert len(first_epoch[0]) == 3


def test_stand_ins_keep_the_planned_tokens(sharded, table, copy):
    twin = with_twins(table)[0]
    damage(copy, table, twin)
    with PackLoader(sharded.root, table, configured(copy), START) as loader:
        packs = list(itertools.takewhile(lambda pack: pack.epoch == 0, loader))
        image = loader.bad_images[0]
    assert sum(pack.num_images for pack in packs) == len(table)
    for step in {pack.step for pack in packs}:
        own = [pack for pack in packs if pack.step == step]
        assert sum(int(pack.offsets[-1]) + pack.num_images for pack in own) == own[0].step_tokens
    assert image.replaced_by is not None
    row = next(row for row in range(len(table)) if table.key(row) == image.replaced_by)
    assert grid_of(table, row) == grid_of(table, twin)


def test_without_shuffling_a_damaged_image_is_left_out(sharded, table, copy):
    damage(copy, table, 4)
    with PackLoader(sharded.root, table, configured(copy, shuffle=False), START) as loader:
        images = {key: patches for step in collect(loader).values() for key, patches in step.items()}
    assert set(images) == {table.key(row) for row in range(len(table)) if row != 4}
    for row in (3, 5):
        assert (images[table.key(row)] == expected_patches(sharded.root, table, row, PATCH)).all()


def test_a_vanished_shard_stops_the_run_and_is_named(sharded, table, copy):
    shard_id = table.shard_ids[int(np.bincount(table.shards).argmax())]
    DatasetLayout(copy).tar_path(shard_id).unlink()
    with (
        PackLoader(sharded.root, table, configured(copy, max_bad=3), START) as loader,
        pytest.raises(TrainingError, match=f"in shard {shard_id}.*radio shard verify"),
    ):
        collect(loader)


def test_a_truncated_shard_costs_only_what_is_cut_off(sharded, table, copy):
    shard = int(np.bincount(table.shards).argmax())
    own = np.flatnonzero(table.shards == shard)
    cut = own[len(own) // 2]
    os.truncate(DatasetLayout(copy).tar_path(table.shard_ids[shard]), int(table.offsets[cut]) + 10)
    with PackLoader(sharded.root, table, configured(copy), START) as loader:
        collect(loader)
        assert {image.key for image in loader.bad_images} == {table.key(row) for row in own[len(own) // 2 :]}


def test_a_storage_that_never_answers_is_given_up(sharded, table, monkeypatch):
    answer = threading.Event()
    real = LocalStore.read
    stuck = table.shard_ids[0]

    def read(self, shard_id, offset, size):
        if shard_id == stuck:
            answer.wait(60)
        return real(self, shard_id, offset, size)

    monkeypatch.setattr(LocalStore, "read", read)
    config = configured(max_bad=0, reading={"timeout_s": 0.3})
    began_s = time.monotonic()
    with PackLoader(sharded.root, table, config, START) as loader, pytest.raises(TrainingError, match="no answer"):
        collect(loader)
    assert time.monotonic() - began_s < 20
    answer.set()


def test_memory_for_reading_ahead_is_bounded(sharded, table):
    least = int(np.sort(table.sizes)[-1])
    config = configured(reading={"read_ahead_bytes": least})
    with PackLoader(sharded.root, table, config, START) as loader:
        assert sum(map(len, collect(loader).values())) == len(table)


def test_reads_object_stores_like_folders(sharded, table):
    import fsspec

    memory = fsspec.filesystem("memory")
    for shard_id in table.shard_ids:
        memory.pipe(f"/loading-test/{shard_id}.tar", DatasetLayout(sharded.root).tar_path(shard_id).read_bytes())
    with PackLoader(sharded.root, table, configured(reading={"store": "memory://loading-test"}), START) as loader:
        remote = collect(loader)
    with PackLoader(sharded.root, table, configured(), START) as loader:
        local = collect(loader)
    assert remote.keys() == local.keys()
    for step in local:
        assert all((remote[step][key] == patches).all() for key, patches in local[step].items())


def test_images_in_memory_are_read_like_shards(sharded, table):
    config = LoaderConfig(patch_size=16, token_budget=2048, workers=1, reading=ReadConfig(read_ahead_bytes=1 << 20))
    memory = MemoryStore(LocalStore(sharded.root), table)
    with PackLoader(sharded.root, table, config, OrderState(seed=3), store=memory) as loader:
        packs = list(itertools.islice(loader, 3))
    with PackLoader(sharded.root, table, config, OrderState(seed=3)) as loader:
        for pack, same in zip(packs, loader, strict=False):
            assert pack.keys == same.keys
            assert (pack.patches.numpy() == same.patches.numpy()).all()
    assert not loader.bad_images


def test_an_object_store_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="nowhere"):
        RemoteStore("nowhere://bucket")


@pytest.mark.parametrize(("text", "size"), [("800GB", 800 * 10**9), ("1.5 TB", 1_500 * 10**9), ("12", 12)])
def test_sizes_are_powers_of_ten(text, size):
    assert parse_size(text) == size


def test_refuses_what_is_no_size():
    with pytest.raises(UsageError, match="800GB"):
        parse_size("much")
