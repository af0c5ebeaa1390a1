"""A classifier on top of the encoder: one linear layer on the CLS token or on the mean of the patches.

Comes in: a `MaskedPack` with nothing masked. Goes out: pooled vectors or logits, a row an image. The encoder is the
one that pre-training made, so a pack of images of any sizes is classified in one pass.

Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), section 3.3.3 (a linear layer on the CLS token).
"""

from enum import StrEnum

import torch
from torch import Tensor, nn

from radio_train.model.mae import Encoder
from radio_train.model.masking import MaskedPack


class Pooling(StrEnum):
    """What stands for an image."""

    CLS = "cls"
    MEAN = "mean"


class Classifier(nn.Module):
    """Encoder, pooling and a linear layer.

    `frozen` keeps the encoder as it is (a linear probe): it gets no gradients. The linear layer begins with small
    random weights and zero biases.
    """

    def __init__(self, encoder: Encoder, size: int, classes: int, *, pooling: Pooling, frozen: bool = False) -> None:
        super().__init__()
        self.vit = encoder
        self.pooling = pooling
        self.frozen = frozen
        self.classifier = nn.Linear(size, classes)
        nn.init.trunc_normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, pack: MaskedPack, images: int) -> Tensor:
        """[images, classes] logits; `images` is S of the pack (rows beyond its images mean nothing)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens = self.vit(pack)  # [E, size]
        pooled = pool(tokens, pack, images, self.pooling)  # [S, size]
        return self.classifier(pooled)


def pool(tokens: Tensor, pack: MaskedPack, images: int, pooling: Pooling) -> Tensor:
    """[images, size]: one vector an image, from [E, size] encoded tokens.

    The first `images` segments of the encoder are the images; static shapes keep a compiled model one graph.
    """
    starts, ends = pack.encoder_offsets[:images].long(), pack.encoder_offsets[1 : images + 1].long()
    if pooling is Pooling.CLS:
        return tokens[starts.clamp(max=tokens.shape[0] - 1)]
    rows = torch.arange(tokens.shape[0], device=tokens.device)
    segment = torch.searchsorted(ends, rows, right=True)  # [E], image of each token; `images` where there is none
    patches = torch.where(pack.encoder_is_cls[:, None], 0, tokens)
    sums = tokens.new_zeros(images + 1, tokens.shape[1]).index_add(0, segment, patches)[:images]
    return sums / (ends - starts - 1).clamp(min=1)[:, None]
