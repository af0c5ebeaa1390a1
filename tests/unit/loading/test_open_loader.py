"""The loader in one call: what a training loop of one's own uses."""

import shutil
import subprocess
import sys

import pytest

import radio_io
from radio_io.errors import DatasetError
from radio_io.loading import LoaderConfig, OrderState, make_loader

SMALL = LoaderConfig(patch_size=16, token_budget=2048, shuffle=False)


def keys_of_epoch(loader):
    keys = []
    for pack in loader:
        if pack.epoch > 0:
            return keys
        keys.extend(pack.keys)
    raise AssertionError


def test_gives_the_selected_images_of_a_split(built):
    data = radio_io.open_dataset(built.root)
    wanted = data.keys("split = 'train' AND region = 'Knee' AND rows <= 500")
    state = OrderState(seed=0, step_images=8)
    with make_loader(data, where="region = 'Knee' AND rows <= 500", config=SMALL, state=state) as loader:
        assert sorted(keys_of_epoch(loader)) == sorted(wanted)
        assert repr(loader).startswith(f"<PackLoader: {len(wanted)} images, ")


def test_takes_a_folder_or_keys(built):
    data = radio_io.open_dataset(built.root)
    wanted = data.keys("rows <= 500")[:5]
    with make_loader(str(built.root), split=None, keys=wanted, config=SMALL) as loader:
        assert sorted(keys_of_epoch(loader)) == sorted(wanted)


def test_goes_on_where_a_pack_ended(built):
    state = OrderState(seed=3, step_images=8)
    config = LoaderConfig(patch_size=16, token_budget=2048)
    with make_loader(built.root, where="rows <= 500", config=config, state=state) as loader:
        packs = iter(loader)
        while not (pack := next(packs)).is_last_of_step:
            pass
        following = next(packs)
        resumed = loader.state_after(pack)
    with make_loader(built.root, where="rows <= 500", config=config, state=resumed) as loader:
        assert next(iter(loader)).keys == following.keys


def test_drops_background(built, tmp_path):
    shutil.copytree(built.root, tmp_path / "shards")
    tokens = []
    for drop in (False, True):
        with make_loader(tmp_path / "shards", where="rows <= 500", config=SMALL, drop_background=drop) as loader:
            pack = next(iter(loader))
            tokens.append((pack.step_tokens, pack.step_dropped, pack.step_images))
    whole, left = tokens
    assert left[1] > 0
    assert (left[0] + left[1], 0, left[2]) == whole


def test_refuses_what_selects_nothing(built):
    with pytest.raises(DatasetError, match="no image in split train"):
        make_loader(built.root, where="region = 'Nowhere'")


def test_a_pack_says_in_a_line_what_it_is(built):
    with make_loader(built.root, where="rows <= 500", config=SMALL) as loader:
        text = repr(next(iter(loader)))
    assert text.startswith("<Pack 0 of ")
    assert "rows of 256 pixels" in text


def test_costs_no_torch_before_a_loader_is_made():
    code = "import sys, radio_io, radio_io.loading; radio_io.make_loader; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
