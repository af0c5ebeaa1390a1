"""What a loader delivered, image by image, and what it should have."""

import itertools
import os

import numpy as np

from radio_io.codecs.registry import get_codec
from radio_io.layout import DatasetLayout


def images_of_pack(pack):
    """(key, patches as an array) of each image of a pack."""
    patches, offsets = pack.patches.numpy(), pack.offsets.numpy()
    return [(key, patches[offsets[n] : offsets[n + 1]].copy()) for n, key in enumerate(pack.keys)]


def collect(loader, *, epochs=1):
    """{(epoch, step): {key: patches}} of the first epochs."""
    found = {}
    for pack in itertools.takewhile(lambda p: p.epoch < epochs, loader):
        found.setdefault((pack.epoch, pack.step), {}).update(images_of_pack(pack))
    return found


def delivered_keys(loader, *, epochs=1):
    """{(epoch, step): keys, sorted, repeated ones repeated} of the first epochs."""
    found = {}
    for pack in itertools.takewhile(lambda p: p.epoch < epochs, loader):
        found.setdefault((pack.epoch, pack.step), []).extend(pack.keys)
    return {step: sorted(keys) for step, keys in found.items()}


def expected_patches(root, table, row, patch):
    """The patches of an image, by the plainest way: open, seek, decode, pad, cut."""
    path = DatasetLayout(root).tar_path(table.shard_ids[table.shards[row]])
    with path.open("rb") as file:
        file.seek(int(table.offsets[row]))
        pixels = get_codec(table.codec).decode(file.read(int(table.sizes[row])))
    height, width = -(-pixels.shape[0] // patch), -(-pixels.shape[1] // patch)
    padded = np.zeros((height * patch, width * patch), np.uint16)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    return padded.reshape(height, patch, width, patch).transpose(0, 2, 1, 3).reshape(height * width, -1)


def damage(copy, table, row, *, at=0.5):
    """Flip a bit in the middle of an image."""
    path = DatasetLayout(copy).tar_path(table.shard_ids[table.shards[row]])
    with path.open("r+b") as file:
        file.seek(int(table.offsets[row]) + int(at * int(table.sizes[row])))
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))


def with_twins(table, patch=16):
    """Rows of different patch grids that at least one other image has."""
    found = {}
    for row in range(len(table)):
        grid = tuple(grid_of(table, row))
        if len(table.rows_of_grid(*grid, patch)) > 1:
            found.setdefault(grid, row)
    return list(found.values())


def grid_of(table, row, patch=16):
    """The patch grid of an image."""
    return table.grids_of(np.array([row]), patch)[0].tolist()
