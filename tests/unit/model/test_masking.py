"""Masks: by seed, epoch and key alone; static shapes; weights that sum to 1 over a step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from packs_of_images import SMALL, images, make_pack
from radio_train.model.masking import budgets, mask_noise, mask_pack

GRIDS = [(3, 5), (6, 6), (2, 2), (1, 7), (8, 3), (1, 1)]


def test_the_noise_depends_on_seed_epoch_and_key_alone():
    key = "0" * 32
    first = mask_noise(key, 50, seed=1, epoch=2)
    assert np.array_equal(first, mask_noise(key, 50, seed=1, epoch=2))
    for other in (
        mask_noise(key, 50, seed=2, epoch=2),
        mask_noise(key, 50, seed=1, epoch=3),
        mask_noise("1" * 32, 50, seed=1, epoch=2),
    ):
        assert not np.array_equal(first, other)


def test_the_noise_is_the_same_for_ever():
    """Runs replay across versions: these numbers must never change."""
    found = mask_noise("00112233445566778899aabbccddeeff", 4, seed=7, epoch=3)
    assert found.tolist() == [0.2523032154812471, 0.6935340315669177, 0.9862579946472757, 0.25422031388215427]


def test_masks_the_same_patches_whatever_else_is_in_the_pack():
    every = images(*GRIDS)
    together = mask_pack(make_pack(every, tokens=120, max_images=8), SMALL, seed=3, epoch=1)
    weights = together.weight > 0
    of_all = {tuple(row) for row in together.target[weights].tolist()}
    found = set()
    for index, one in enumerate(every):
        pack = make_pack([one], tokens=64, max_images=2)
        pack = replace(pack, scale=torch.tensor([[100 + index % 3, 3900], [0, 1]], dtype=torch.float32))
        alone = mask_pack(pack, SMALL, seed=3, epoch=1)
        found |= {tuple(row) for row in alone.target[alone.weight > 0].tolist()}
    assert found == of_all


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.75, 0.9])
def test_no_pack_exceeds_its_budgets(ratio):
    rng = np.random.default_rng(0)
    for _ in range(300):
        tokens, most = int(rng.integers(10, 200)), int(rng.integers(1, 9))
        sizes = []
        while len(sizes) < most and (room := tokens - sum(sizes) - len(sizes) - 1) > 0:
            sizes.append(int(rng.integers(1, room + 1)))
        encoder, masked = budgets(tokens, most, ratio)
        keep = [int(n * (1 - ratio)) for n in sizes]
        assert sum(keep) + len(keep) <= encoder <= tokens
        assert sum(sizes) - sum(keep) <= masked <= tokens


def test_shapes_depend_on_the_shape_of_the_pack_alone():
    def shapes(chosen):
        masked = mask_pack(make_pack(chosen, tokens=120, max_images=8), SMALL, seed=0, epoch=0)
        found = {}
        for name in masked.__dataclass_fields__:
            value = getattr(masked, name)
            found[name] = tuple(value.shape) if isinstance(value, torch.Tensor) else value
        return found

    assert shapes(images(*GRIDS)) == shapes(images((6, 6))) == shapes([])


@pytest.mark.parametrize("weighting", ["token", "image"])
def test_the_weights_of_all_packs_of_a_step_sum_to_1(weighting):
    every = images(*GRIDS)
    config = replace(SMALL, weighting=weighting)
    packs = [make_pack(part, tokens=80, max_images=4, step=every) for part in (every[:2], every[2:5], every[5:], [])]
    total = sum(float(mask_pack(pack, config, seed=0, epoch=0).weight.sum()) for pack in packs)
    assert total == pytest.approx(1, abs=1e-6)  # float32


def test_images_count_equally_when_weighted_by_image():
    every = images((6, 6), (2, 2))
    masked = mask_pack(
        make_pack(every, tokens=60, max_images=3),
        replace(SMALL, weighting="image"),
        seed=0,
        epoch=0,
        dtype=torch.float64,
    )
    assert float(masked.weight[:27].sum()) == pytest.approx(0.5)
    assert float(masked.weight[27:30].sum()) == pytest.approx(0.5)


def test_masks_nothing_at_ratio_0():
    every = images(*GRIDS)
    pack = make_pack(every, tokens=120, max_images=8, ratio=0.0)
    masked = mask_pack(pack, replace(SMALL, mask_ratio=0.0), seed=0, epoch=0)
    assert not masked.weight.any()
    assert int((masked.decoder_source >= 0).sum()) == pack.step_tokens


def test_scales_16_bits_to_0_and_1_and_clips():
    pixels = np.array([[0, 100, 4000, 65535]] * 4, np.uint16)
    pack = make_pack([("0" * 32, pixels)], tokens=4, max_images=1, ratio=0.0)
    masked = mask_pack(pack, replace(SMALL, mask_ratio=0.0), seed=0, epoch=0)
    row = masked.visible[1, :4]  # after CLS; low 100, high 3900
    assert row.tolist() == [0, 0, 1, 1]


def test_fill_has_segments_of_its_own():
    every = images((3, 3), (2, 4))
    masked = mask_pack(make_pack(every, tokens=100, max_images=4), SMALL, seed=0, epoch=0)
    assert masked.decoder_offsets.tolist()[:3] == [0, 10, 19]
    assert masked.decoder_offsets[-1] == 100
    assert int(masked.decoder_offsets.diff().max()) <= masked.decoder_max


def test_bounds_segments_of_images_beyond_the_base_grid():
    masked = mask_pack(make_pack(images((10, 9)), tokens=100, max_images=1), SMALL, seed=0, epoch=0)
    assert int(masked.decoder_offsets.diff().max()) == 91 <= masked.decoder_max
