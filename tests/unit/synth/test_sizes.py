"""Shares of regions and sizes of images."""

import numpy as np

from radio_io.synth.sizes import LARGEST, REGIONS, SMALLEST, draw_size, region_counts


def test_gives_each_region_its_share_of_the_thesis():
    counts = region_counts(1000)
    assert sum(counts.values()) == 1000
    assert [counts[name] for name in ("Knee", "Shoulder", "Ankle", "Elbow", "Foot", "Wrist", "Hand")] == [
        265, 167, 128, 87, 83, 68, 64,
    ]  # fmt: skip
    assert all(counts[name] > 0 for name in REGIONS)


def test_adds_up_for_any_number():
    for images in (1, 2, 13, 14, 99):
        assert sum(region_counts(images).values()) == images


def test_draws_sizes_as_large_as_those_of_the_thesis():
    generator = np.random.default_rng(0)
    sizes: list[tuple[int, int]] = []
    for region, count in region_counts(8000).items():
        for _ in range(count):
            small = generator.random() < REGIONS[region].small_share
            sizes.append(draw_size(region, generator, small=small))
    height, width = np.array(sizes).T
    assert height.min() >= SMALLEST
    assert max(height.max(), width.max()) == LARGEST
    assert abs(np.mean(-(-height // 48) * -(-width // 48)) - 9.22e8 / 639_877) < 30  # 2 %: mean of 8000
    assert 0.6 < len(set(sizes)) / 8000 < 0.9
