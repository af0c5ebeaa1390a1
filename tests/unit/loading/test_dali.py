"""DALI on the CPU: the same packs as our own path, bit by bit, damaged images included."""

import shutil

import numpy as np
import pytest
import torch

from loading_collect import collect, damage, with_twins
from radio_io.errors import UsageError
from radio_io.loading.batch import BatchPolicy, Decoder, LoaderConfig
from radio_io.loading.dali_assemble import DaliPipeline, patches_on_device, without_on_device
from radio_io.loading.order import OrderState
from radio_io.loading.pack_images import cut_into
from radio_io.loading.plan import pack_jobs
from radio_io.loading.reading import ReadConfig
from radio_io.loading.table import load_image_table
from radio_io.loading.torch_loader import PackLoader

pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")
FIELDS = ("patches", "positions", "grids", "offsets", "scale")


def packs_of_epoch(root, table, config):
    with PackLoader(root, table, config, OrderState(seed=6, step_images=30)) as loader:
        packs = []
        for pack in loader:
            if pack.epoch:
                return packs
            packs.append(pack)
    return packs


@pytest.mark.parametrize("policy", list(BatchPolicy))
@pytest.mark.parametrize("halvings", [0, 1, 2, 3])
def test_packs_are_those_of_the_cpu_path(built, policy, halvings):
    table = load_image_table(built.root, None, halvings=halvings)
    both = []
    for decoder in (Decoder.THREADS, Decoder.DALI_CPU):
        config = LoaderConfig(
            patch_size=32, token_budget=12_000, workers=2, decoder=decoder, policy=policy, halvings=halvings
        )
        both.append(packs_of_epoch(built.root, table, config))
    assert len(both[0]) == len(both[1]) > 0
    for ours, theirs in zip(*both, strict=True):
        assert ours.keys == theirs.keys
        for name in FIELDS:
            assert torch.equal(getattr(ours, name).view(torch.uint8), getattr(theirs, name).view(torch.uint8)), name


def test_a_damaged_image_takes_the_cpu_path(sharded, table, tmp_path):
    copy = shutil.copytree(sharded.root, tmp_path / "shards")
    bad = with_twins(table)[:2]
    for row in bad:
        damage(copy, table, row)
    found = []
    for decoder in (Decoder.THREADS, Decoder.DALI_CPU):
        reading = ReadConfig(store=str(copy), retry_pause_s=0.001)
        config = LoaderConfig(patch_size=16, token_budget=6000, workers=2, decoder=decoder, reading=reading)
        with PackLoader(sharded.root, table, config, OrderState(seed=1, step_images=20)) as loader:
            found.append(collect(loader))
            assert {image.key for image in loader.bad_images} == {table.key(row) for row in bad}
    for step, images in found[0].items():
        assert images.keys() == found[1][step].keys()
        assert all((found[1][step][key] == patches).all() for key, patches in images.items())


def test_the_pipeline_survives_what_does_not_decode(built):
    from radio_io.codecs.htj2k import HTJ2K

    pixels = np.arange(64 * 80, dtype=np.uint16).reshape(64, 80)
    pipeline = DaliPipeline(Decoder.DALI_CPU, threads=1, device_id=None)
    whole = HTJ2K.encode(pixels)
    for _ in range(2):
        assert pipeline.decode([whole, b"no image at all"]) is None
        images = pipeline.decode([whole, whole])
        assert images is not None
        assert all((image[..., 0] == pixels).all() for image in images)


def test_refuses_the_codec_that_dali_does_not_know(built, table):
    from dataclasses import replace

    config = LoaderConfig(patch_size=16, token_budget=6000, decoder=Decoder.DALI_CPU)
    other = replace(table, codec="fast")
    with PackLoader(built.root, other, config, OrderState(seed=1)) as loader, pytest.raises(UsageError, match="htj2k"):
        next(iter(loader))


@pytest.mark.parametrize(("rows", "columns"), [(32, 48), (33, 47), (1, 1), (16, 17), (100, 31)])
def test_cuts_on_a_device_as_on_the_host(rows, columns):
    pixels = np.random.default_rng(rows).integers(0, 65_536, (rows, columns), dtype=np.uint16)
    grid = -(-rows // 16), -(-columns // 16)
    host = np.full((grid[0] * grid[1], 256), 7, np.uint16)
    cut_into(pixels, grid, 16, host)
    device = patches_on_device(torch.from_numpy(pixels.view(np.int16)), grid, 16)
    assert (device.numpy().view(np.uint16) == host).all()


def test_leaves_out_on_a_device_what_is_missing(table):
    config = LoaderConfig(patch_size=16, token_budget=6000)
    job = next(pack_jobs(table, OrderState(seed=0, step_images=5), config))
    patches = torch.zeros((job.tokens, 4), dtype=torch.int16)
    for place in range(len(job.rows)):
        patches[job.starts[place] : job.starts[place + 1]] = place + 1
    left = without_on_device(patches, job, [1])
    wanted = [place + 1 for place in range(len(job.rows)) if place != 1]
    assert left.shape == patches.shape
    assert [value for value in torch.unique_consecutive(left[:, 0]).tolist() if value] == wanted
