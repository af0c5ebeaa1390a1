"""Floating-point operations, against torch's own counter."""

from dataclasses import replace
from itertools import pairwise

import torch
from torch.utils.flop_counter import FlopCounterMode

from packs_of_images import SMALL, images, make_pack
from radio_train.model.flops import encoder_flops, forward_flops, pretraining_flops
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack


def attention_flops(*arguments, backward=False):
    offsets, (_, heads, size) = arguments[-1], arguments[0].shape
    squares = sum((b - a) ** 2 for a, b in pairwise(offsets.tolist()))
    return (2 if backward else 1) * 4 * squares * heads * size  # flash recomputes scores; MFU does not count that


MAPPING = {
    torch.ops.radio.segment_attention: lambda *a, **_: attention_flops(*a),
    torch.ops.radio.segment_attention_backward: lambda *a, **_: attention_flops(*a, backward=True),
}


def counted(run):
    for function in MAPPING.values():
        function._get_raw = True
    with FlopCounterMode(display=False, custom_mapping=MAPPING) as counter:
        run()
    return counter.get_total_flops()


def test_counts_what_torch_counts():
    model = MaskedAutoencoder(SMALL)
    masked = mask_pack(make_pack(images((6, 6)), tokens=37, max_images=1), SMALL, seed=0, epoch=0)
    fill = 2 * SMALL.decoder_hidden_size * SMALL.patch_pixels * (masked.target.shape[0] - 27)  # rows beyond the masked
    cls = 2 * SMALL.hidden_size * SMALL.patch_pixels  # its row is embedded, too, for nothing
    assert counted(lambda: model(masked)) == forward_flops(SMALL, 36) + fill + cls
    assert counted(lambda: model(masked).backward()) == pretraining_flops(SMALL, 36) + 3 * fill + 2 * cls


def test_counts_an_encoder_that_sees_everything():
    config = replace(SMALL, mask_ratio=0.0)
    model = MaskedAutoencoder(config)
    masked = mask_pack(make_pack(images((5, 7)), tokens=36, max_images=1, ratio=0.0), config, seed=0, epoch=0)
    assert counted(lambda: model.vit(masked)) == encoder_flops(config, 35) + 2 * SMALL.hidden_size * SMALL.patch_pixels
