"""Against Hugging Face's ViTMAE with repaired position tables: same weights, same masks, same loss and gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from packs_of_images import SMALL, gradients, images, make_pack
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_noise, mask_pack

transformers = pytest.importorskip("transformers", reason="the extra `oracle` is not installed (transformers)")

SQUARE, WIDE, MANY = [(6, 6)], [(3, 9)], [(6, 6), (3, 9), (7, 2), (4, 4)]


def oracle(config, dtype):
    """Hugging Face's model, its 1-D interpolation of the decoder's positions replaced by the 2-D one."""
    torch.manual_seed(1)
    theirs = transformers.ViTMAEForPreTraining(
        transformers.ViTMAEConfig(
            image_size=config.base_grid * config.patch_size,
            patch_size=config.patch_size,
            num_channels=1,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=config.mlp_size,
            decoder_hidden_size=config.decoder_hidden_size,
            decoder_num_hidden_layers=config.decoder_depth,
            decoder_num_attention_heads=config.decoder_heads,
            decoder_intermediate_size=config.decoder_mlp_size,
            mask_ratio=config.mask_ratio,
            norm_pix_loss=config.norm_pix,
            layer_norm_eps=config.layer_norm_eps,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    return theirs.to(dtype).eval()


def resized(table, grid, base):
    square = table[:, 1:].reshape(1, base, base, -1).permute(0, 3, 1, 2)
    patches = functional.interpolate(square, size=grid, mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return torch.cat([table[:, :1], patches.flatten(1, 2)], dim=1)


def their_loss(theirs, config, key, image, scale, dtype):
    grid = (image.shape[0] // config.patch_size, image.shape[1] // config.patch_size)
    encoder, decoder = theirs.vit.embeddings, theirs.decoder
    encoder.interpolate_pos_encoding = lambda *_: resized(encoder.position_embeddings, grid, config.base_grid)
    decoder.interpolate_pos_encoding = lambda *_: resized(decoder.decoder_pos_embed, grid, config.base_grid)
    low, high = scale
    pixels = ((torch.from_numpy(image.astype(np.float64)).to(dtype) - low) / (high - low)).clamp(0, 1)
    noise = torch.from_numpy(mask_noise(key, grid[0] * grid[1], seed=5, epoch=2))[None]
    return theirs(pixels[None, None], noise=noise, interpolate_pos_encoding=True).loss


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("norm_pix", [False, True])
@pytest.mark.parametrize("grids", [SQUARE, WIDE, MANY], ids=["square", "wide", "many"])
def test_loss_and_all_gradients_are_theirs(grids, norm_pix, dtype, tolerance):
    config = replace(SMALL, norm_pix=norm_pix, weighting="image")
    theirs, ours = oracle(config, dtype), MaskedAutoencoder(config).to(dtype)
    theirs.load_state_dict(ours.state_dict(), strict=True)  # the names are theirs, the tables are ours
    assert bool(theirs.decoder.decoder_pos_embed.any())
    every = images(*grids)
    pack = make_pack(every, tokens=sum(h * w for h, w in grids) + len(grids) + 5, max_images=len(grids) + 1)

    found = ours(mask_pack(pack, config, seed=5, epoch=2, dtype=dtype))
    found.backward()
    wanted = sum(
        their_loss(theirs, config, key, image, pack.scale[i].to(dtype), dtype) for i, (key, image) in enumerate(every)
    ) / len(every)
    wanted.backward()

    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=tolerance)
    mine, other = gradients(ours), gradients(theirs)
    # A key's bias shifts all scores of a query alike, which softmax ignores: its true gradient is 0, and ours has none.
    useless = {name for name in other if name.endswith("k_proj.bias")}
    assert mine.keys() == other.keys() - useless
    assert len(useless) == config.depth + config.decoder_depth
    for name, gradient in other.items():
        if name in useless:
            assert float(gradient.abs().max()) <= tolerance, name
        else:
            assert float((mine[name] - gradient).abs().max()) <= tolerance * float(gradient.abs().max()), name


def test_predictions_are_theirs():
    config, dtype = SMALL, torch.float64
    theirs, ours = oracle(config, dtype), MaskedAutoencoder(config).to(dtype)
    theirs.load_state_dict(ours.state_dict())
    every = images((6, 6))
    masked = mask_pack(make_pack(every, tokens=37, max_images=1), config, seed=5, epoch=2, dtype=dtype)
    key, image = every[0]
    pixels = ((torch.from_numpy(image.astype(np.float64)) - 100) / 3800).clamp(0, 1)
    noise = torch.from_numpy(mask_noise(key, 36, seed=5, epoch=2))[None]
    result = theirs(pixels[None, None], noise=noise)
    wanted = result.logits[0][result.mask[0].bool()]
    torch.testing.assert_close(ours.predict(masked)[masked.weight > 0], wanted, atol=1e-12, rtol=1e-12)
