"""Images of which patches were dropped: what is left is trained on as if it were the whole image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from packs_of_images import SMALL, images, make_pack
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_noise, mask_pack, masked_patches

GRIDS = [(3, 5), (6, 6), (8, 3), (4, 4)]


def dropping(pack, kept):
    """The pack with only the patches `kept` of each image; its step is this pack."""
    starts = pack.offsets.tolist()
    rows = np.concatenate([starts[number] + np.array(places) for number, places in enumerate(kept)])
    counts = [len(places) for places in kept]
    patches, positions = torch.zeros_like(pack.patches.view(torch.int16)), torch.zeros_like(pack.positions)
    patches[: len(rows)], positions[: len(rows)] = pack.patches.view(torch.int16)[rows], pack.positions[rows]
    offsets = torch.full_like(pack.offsets, len(rows))
    offsets[: len(kept) + 1] = torch.tensor([0, *np.cumsum(counts).tolist()])
    masked = sum(count - int(count * 0.25) for count in counts)
    return replace(
        pack,
        patches=patches.view(torch.uint16),
        positions=positions,
        offsets=offsets,
        step_tokens=sum(counts) + len(counts),
        step_masked=masked,
    )


def some_of(grids, seed=0):
    """At least a third of the patches of each image."""
    generator = np.random.default_rng(seed)
    counts = [generator.integers(h * w // 3, h * w) for h, w in grids]
    return [
        sorted(generator.choice(h * w, count, replace=False).tolist())
        for (h, w), count in zip(grids, counts, strict=True)
    ]


def block(layer, x):
    """A transformer block over all of [tokens, size], by the formula."""
    heads, attention = layer.attention.heads, layer.attention
    y = layer.layernorm_before(x)
    q, k, v = (
        project(y).reshape(len(y), heads, -1).transpose(0, 1)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    weights = ((q @ k.transpose(1, 2)) / q.shape[-1] ** 0.5).softmax(-1)
    x = x + attention.o_proj((weights @ v).transpose(0, 1).reshape(len(y), -1))
    return x + layer.mlp(layer.layernorm_after(x))


def places_of(table, grid, base):
    """[h * w, size]: the positions of all patches of the image, interpolated by torch."""
    square = table[0, 1:].T.reshape(1, -1, base, base)
    return functional.interpolate(square, size=grid, mode="bilinear", align_corners=False)[0].flatten(1).T


def plain_loss(model, key, image, kept, scale, *, seed, epoch):
    """(sum of squared errors of the masked patches, how many) of one image alone, by the formulas of the paper."""
    config, patch = model.config, model.config.patch_size
    h, w = image.shape[0] // patch, image.shape[1] // patch
    tiles = image.reshape(h, patch, w, patch).transpose(0, 2, 1, 3).reshape(h * w, -1).astype(np.float64)
    pixels = torch.from_numpy(((tiles - scale[0]) / (scale[1] - scale[0])).clip(0, 1))
    noise = mask_noise(key, h * w, seed=seed, epoch=epoch)
    shuffled = sorted(kept, key=lambda place: noise[place])
    visible = sorted(shuffled[: int(len(kept) * (1 - config.mask_ratio))])
    masked = sorted(set(kept) - set(visible))
    embeddings, decoder = model.vit.embeddings, model.decoder
    projection = embeddings.patch_embeddings.projection
    x = pixels[visible] @ projection.weight.flatten(1).T + projection.bias
    x = x + places_of(embeddings.position_embeddings, (h, w), config.base_grid)[visible]
    x = torch.cat([embeddings.cls_token[0] + embeddings.position_embeddings[0, :1], x])
    for layer in model.vit.layers:
        x = block(layer, x)
    z = decoder.decoder_embed(model.vit.layernorm(x))
    rows = [z[1 + visible.index(place)] if place in visible else decoder.mask_token[0, 0] for place in kept]
    places = places_of(decoder.decoder_pos_embed, (h, w), config.base_grid)[kept]
    z = torch.cat([z[:1] + decoder.decoder_pos_embed[0, :1], torch.stack(rows) + places])
    for layer in decoder.decoder_layers:
        z = block(layer, z)
    predicted = decoder.decoder_pred(decoder.decoder_norm(z))[[1 + kept.index(place) for place in masked]]
    return ((predicted - pixels[masked]) ** 2).mean(-1).sum(), len(masked)


@pytest.mark.parametrize("weighting", ["token", "image"])
def test_the_loss_is_that_of_each_image_with_its_kept_patches_alone(weighting):
    config = replace(SMALL, weighting=weighting)
    torch.manual_seed(0)
    model = MaskedAutoencoder(config).double()
    every, kept = images(*GRIDS), some_of(GRIDS)
    pack = dropping(make_pack(every, tokens=110, max_images=6), kept)
    found = model(mask_pack(pack, config, seed=4, epoch=3, dtype=torch.float64))
    alone = [
        plain_loss(model, key, image, places, pack.scale[number].tolist(), seed=4, epoch=3)
        for number, ((key, image), places) in enumerate(zip(every, kept, strict=True))
    ]
    if weighting == "token":
        wanted = sum(loss for loss, _ in alone) / sum(count for _, count in alone)
    else:
        wanted = sum(loss / count for loss, count in alone) / len(alone)
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-12)
    found.backward()
    gradient = model.vit.layers[0].mlp.fc1.weight.grad.clone()
    model.zero_grad()
    wanted.backward()
    assert float((gradient - model.vit.layers[0].mlp.fc1.weight.grad).abs().max()) < 1e-12 * float(gradient.abs().max())


def test_dropping_keeps_the_numbers_of_all_other_patches():
    """The first to be visible of those left are the first of the whole image that are left."""
    every, kept = images((6, 6)), some_of([(6, 6)], seed=2)
    pack = dropping(make_pack(every, tokens=40, max_images=1), kept)
    masked = mask_pack(pack, SMALL, seed=1, epoch=0)
    noise = mask_noise(every[0][0], 36, seed=1, epoch=0)
    count = len(kept[0]) // 4
    assert masked_patches(pack, SMALL) == len(kept[0]) - count
    lowest = sorted(sorted(kept[0], key=lambda place: noise[place])[:count])
    shown = (masked.decoder_source >= 0).numpy()[1 : 1 + len(kept[0])]
    assert [place for place, seen in zip(kept[0], shown, strict=True) if seen] == lowest
