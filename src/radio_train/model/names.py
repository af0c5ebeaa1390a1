"""What others call our parameters: Hugging Face before version 5, timm, facebookresearch/mae.

Comes in: tensors by name. Goes out: the same tensors under other names. Our own names are those of Hugging Face's
ViTMAE from version 5 on. Query, key and value are three matrices here and in Hugging Face, one in timm.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]

_HUB = (
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)
_TIMM_LAYER = (
    ("attention.o_proj", "attn.proj"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("mlp.fc1", "mlp.fc1"),
    ("mlp.fc2", "mlp.fc2"),
)
_TIMM_SINGLE = (
    ("vit.embeddings.cls_token", "cls_token"),
    ("vit.embeddings.position_embeddings", "pos_embed"),
    ("vit.embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("vit.layernorm", "norm"),
    ("classifier", "head"),
    ("decoder.mask_token", "mask_token"),
    ("decoder.decoder_pos_embed", "decoder_pos_embed"),
    ("decoder.decoder_embed", "decoder_embed"),
    ("decoder.decoder_norm", "decoder_norm"),
    ("decoder.decoder_pred", "decoder_pred"),
)
_TIMM_LISTS = (("vit.layers", "blocks"), ("decoder.decoder_layers", "decoder_blocks"))
_TIMM_UNUSED = ("head_", "fc_norm.", "pre_logits.", "mask_token", "decoder_")
"""Behind the features, or of pre-training: they change no feature."""
_PARTS = ("q_proj", "k_proj", "v_proj")


def to_hub(weights: Weights) -> dict[str, Tensor]:
    """Names of the files on the Hugging Face hub, which versions 4 and 5 of transformers read."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        new = re.sub(r"^vit\.layers\.", "vit.encoder.layer.", name)
        for ours, theirs in _HUB:
            new = new.replace(f".{ours}.", f".{theirs}.")
        renamed[new] = tensor
    return renamed


def from_hub(weights: Weights) -> dict[str, Tensor]:
    """Our names for those of the Hugging Face hub, with or without the prefix `vit.`."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        new = re.sub(r"(^|\.)encoder\.layer\.", r"\1layers.", name)
        # transformers 5 (seen in 5.24) takes the decoder's `layers` for the encoder's when it writes the old names.
        new = new.replace("decoder.decoder_encoder.layer.", "decoder.decoder_layers.")
        for ours, theirs in _HUB:  # the attention's "output.dense" comes before the MLP's
            new = new.replace(f".{theirs}.", f".{ours}.")
        renamed[new if new.startswith(("vit.", "decoder.", "classifier.")) else f"vit.{new}"] = tensor
    return renamed


def to_timm(weights: Weights, *, decoder: bool = False) -> dict[str, Tensor]:
    """Names of timm's VisionTransformer; with the decoder, those of facebookresearch/mae."""
    renamed: dict[str, Tensor] = {}
    for ours, theirs in _TIMM_SINGLE:
        for name, tensor in weights.items():
            if (name == ours or name.startswith(ours + ".")) and (decoder or ours.startswith("vit.")):
                renamed[theirs + name.removeprefix(ours)] = tensor
    for ours, theirs in _TIMM_LISTS if decoder else _TIMM_LISTS[:1]:
        for layer in range(_count(weights, ours)):
            start, new = f"{ours}.{layer}", f"{theirs}.{layer}"
            for kind in ("weight", "bias"):
                parts = [weights[f"{start}.attention.{part}.{kind}"] for part in _PARTS]
                renamed[f"{new}.attn.qkv.{kind}"] = torch.cat(parts)
                for mine, other in _TIMM_LAYER:
                    renamed[f"{new}.{other}.{kind}"] = weights[f"{start}.{mine}.{kind}"]
    return renamed


def from_timm(weights: Weights) -> dict[str, Tensor]:
    """Our names for those of timm and facebookresearch/mae; what we have no place for is left out."""
    renamed: dict[str, Tensor] = {}
    for ours, theirs in _TIMM_SINGLE:
        for name, tensor in weights.items():
            if name == theirs or name.startswith(theirs + "."):
                renamed[ours + name.removeprefix(theirs)] = tensor
    for ours, theirs in _TIMM_LISTS:
        for layer in range(_count(weights, theirs)):
            start, new = f"{theirs}.{layer}", f"{ours}.{layer}"
            for kind in ("weight", "bias"):
                parts = weights[f"{start}.attn.qkv.{kind}"].chunk(3)
                renamed |= {f"{new}.attention.{part}.{kind}": t for part, t in zip(_PARTS, parts, strict=True)}
                renamed |= {f"{new}.{mine}.{kind}": weights[f"{start}.{other}.{kind}"] for mine, other in _TIMM_LAYER}
    return renamed


def unlike_ours(weights: Weights) -> list[str]:
    """What timm's names say of parts that compute something and that our encoder lacks, such as registers."""
    single = tuple(f"{theirs}." for _, theirs in _TIMM_SINGLE)
    layers = "|".join(re.escape(part) for part in ("attn.qkv", *(theirs for _, theirs in _TIMM_LAYER)))
    known = re.compile(rf"(decoder_)?blocks\.\d+\.({layers})\.(weight|bias)")
    whole = {theirs for _, theirs in _TIMM_SINGLE}
    return [
        name
        for name in weights
        if name not in whole and not name.startswith((*single, *_TIMM_UNUSED)) and not known.fullmatch(name)
    ]


def _count(weights: Weights, prefix: str) -> int:
    found = {int(match[1]) for name in weights if (match := re.match(re.escape(prefix) + r"\.(\d+)\.", name))}
    return max(found) + 1 if found else 0
