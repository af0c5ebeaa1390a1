"""Image tables without a dataset, for tests of planning at any scale."""

import numpy as np

from radio_io.loading.table import ImageTable


def made_table(images, *, per_shard=100, seed=0, image_bytes=None):
    """A table of `images` in shards that each hold a random sample of one bin."""
    generator = np.random.default_rng(seed)
    shards = np.arange(images) // per_shard
    bins = (np.arange(shards[-1] + 1) % 6 + 1) * 96
    heights = bins[shards]
    rows = generator.integers(heights - 95, heights + 1)
    columns = generator.integers(20, 400, images)
    sizes = rows * columns // 3 if image_bytes is None else np.full(images, image_bytes)
    offsets = np.zeros(images, np.int64)
    offsets[1:] = np.cumsum(sizes + 2048)[:-1]
    offsets -= offsets[shards * per_shard] - 1536
    keys = generator.integers(0, 256, (images, 16), dtype=np.uint8)
    return ImageTable(
        keys=keys,
        shards=shards.astype(np.int32),
        offsets=offsets,
        sizes=sizes.astype(np.uint32),
        crc32=np.zeros(images, np.uint32),
        rows=rows.astype(np.uint16),
        columns=columns.astype(np.uint16),
        bin_heights=heights.astype(np.uint16),
        bin_widths=np.full(images, 400, np.uint16),
        bits=np.full(images, 12, np.uint8),
        low=np.zeros(images, np.uint16),
        high=np.full(images, 4095, np.uint16),
        full_size_bytes=int(sizes.sum()),
        halvings=0,
        has_crc32=False,
        shard_ids=tuple(f"train/h{bins[n]}w400/{n:06}" for n in range(len(bins))),
        codec="htj2k",
    )
