"""What a loader delivered, image by image, and what it should have."""

import itertools

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
