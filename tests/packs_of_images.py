"""Packs of small random images for the tests of the model."""

import numpy as np
import torch

from radio_io.loading.batch import Pack
from radio_train.model.config import MaeConfig

SMALL = MaeConfig(
    patch_size=4,
    base_grid=6,
    hidden_size=32,
    depth=2,
    heads=4,
    mlp_size=48,
    decoder_hidden_size=16,
    decoder_depth=2,
    decoder_heads=2,
    decoder_mlp_size=40,
)


def images(*grids, patch=4, seed=0):
    """Random uint16 images of these grids, and their keys."""
    rng = np.random.default_rng(seed)
    return [
        (f"{index:032x}", rng.integers(0, 4096, (h * patch, w * patch), dtype=np.uint16))
        for index, (h, w) in enumerate(grids)
    ]


def masked_count(image, patch=4, ratio=0.75):
    n = image.size // patch**2
    return n - int(n * (1 - ratio))


def make_pack(chosen, *, tokens, max_images, patch=4, ratio=0.75, step=None, epoch=0):
    """A pack of `chosen` images; `step` are all images of its step (default: those of the pack)."""
    step = chosen if step is None else step
    patches = np.zeros((tokens, patch * patch), np.uint16)
    positions = np.zeros((tokens, 2), np.int32)
    grids = np.zeros((max_images, 2), np.int32)
    scale = np.tile(np.array([0, 1], np.float32), (max_images, 1))
    offsets = np.zeros(max_images + 1, np.int32)
    row = 0
    for index, (_, image) in enumerate(chosen):
        h, w = image.shape[0] // patch, image.shape[1] // patch
        tiles = image.reshape(h, patch, w, patch).transpose(0, 2, 1, 3).reshape(h * w, -1)
        patches[row : row + h * w] = tiles
        positions[row : row + h * w] = np.stack([np.repeat(np.arange(h), w), np.tile(np.arange(w), h)], 1)
        grids[index], scale[index] = (h, w), (100 + index % 3, 3900)
        row += h * w
        offsets[index + 1 :] = row
    sizes = [image.size // patch**2 for _, image in step]
    return Pack(
        patches=torch.from_numpy(patches),
        positions=torch.from_numpy(positions),
        grids=torch.from_numpy(grids),
        offsets=torch.from_numpy(offsets),
        scale=torch.from_numpy(scale),
        keys=tuple(key for key, _ in chosen),
        num_images=len(chosen),
        epoch=epoch,
        step=0,
        pack_index=0,
        packs_in_step=1,
        step_images=len(step),
        step_tokens=sum(sizes) + len(sizes),
        step_masked=sum(masked_count(image, patch, ratio) for _, image in step),
        is_last_of_step=True,
    )


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
