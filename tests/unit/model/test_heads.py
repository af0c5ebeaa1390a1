"""Pooling and classification of a pack."""

from dataclasses import replace

import pytest
import torch

from packs_of_images import SMALL, images, make_pack
from radio_train.model.heads import Classifier, Pooling, pool
from radio_train.model.mae import Encoder
from radio_train.model.masking import mask_pack

CONFIG = replace(SMALL, mask_ratio=0.0)
GRIDS = [(3, 5), (2, 2), (6, 6)]


def whole(every, tokens=80, most=5):
    return mask_pack(make_pack(every, tokens=tokens, max_images=most, ratio=0.0), CONFIG, seed=0, epoch=0)


@pytest.mark.parametrize("pooling", list(Pooling))
def test_pools_each_image_by_itself(pooling):
    masked = whole(images(*GRIDS))
    tokens = torch.randn(masked.visible.shape[0], 32)
    found = pool(tokens, masked, 5, pooling)
    assert found.shape == (5, 32)
    start = 0
    for image, (h, w) in enumerate(GRIDS):
        part = tokens[start : start + h * w + 1]
        want = part[0] if pooling is Pooling.CLS else part[1:].mean(0)
        torch.testing.assert_close(found[image], want)
        start += h * w + 1


@pytest.mark.parametrize("pooling", list(Pooling))
def test_a_pack_without_fill_pools_too(pooling):
    masked = whole(images((2, 2)), tokens=5, most=1)
    tokens = torch.randn(5, 32)
    want = tokens[0] if pooling is Pooling.CLS else tokens[1:].mean(0)
    torch.testing.assert_close(pool(tokens, masked, 1, pooling)[0], want)


@pytest.mark.parametrize("pooling", list(Pooling))
def test_the_logits_of_an_image_do_not_depend_on_its_pack(pooling):
    torch.manual_seed(0)
    model = Classifier(Encoder(CONFIG), 32, 3, pooling=pooling).double()
    every = images(*GRIDS)

    def logits(chosen):
        pack = replace(make_pack(chosen, tokens=80, max_images=5, ratio=0.0), scale=torch.tensor([[0.0, 4095.0]] * 5))
        return model(mask_pack(pack, CONFIG, seed=0, epoch=0, dtype=torch.float64), 5)

    together = logits(every)
    for image, one in enumerate(every):
        torch.testing.assert_close(logits([one])[0], together[image], atol=1e-13, rtol=1e-13)


def test_a_frozen_encoder_gets_no_gradient():
    model = Classifier(Encoder(CONFIG), 32, 3, pooling=Pooling.CLS, frozen=True)
    model(whole(images(*GRIDS)), 5).sum().backward()
    assert all(p.grad is None for p in model.vit.parameters())
    assert model.classifier.weight.grad is not None
