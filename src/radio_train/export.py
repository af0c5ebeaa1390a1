"""A trained model as files that others read.

Comes in: a model. Goes out: a folder with `model.safetensors` and a `config.json`: for `hf`, as `from_pretrained` of
transformers takes it (ViTMAEForPreTraining, ViTMAEModel, ViTModel); for `timm`, the encoder under timm's names, with
what `timm.create_model` must be told; for `safetensors`, all tensors under our names, with the sizes as metadata.
Refuses a folder that holds something already.
"""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from radio_io import atomic
from radio_io.errors import UsageError
from radio_train.model.config import MaeConfig
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.names import to_hub, to_timm

EXPORT_VERSION = 1


class ExportFormat(StrEnum):
    """Whose names and files."""

    HF = "hf"
    TIMM = "timm"
    SAFETENSORS = "safetensors"


def export_model(model: MaskedAutoencoder, out: Path, format: ExportFormat) -> Path:
    """Write the folder `out` and return the file with the tensors.

    Raises:
        UsageError: `out` is not empty.
        StorageError: It cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already; name a new or empty folder with --out")
    config = model.config
    # Ours may be views of one storage or of another type under FSDP; on disk each tensor is its own, in float32.
    weights = {name: value.detach().cpu().float().contiguous() for name, value in model.state_dict().items()}
    tensors, description = _translated(weights, config, format)
    metadata = {"format": "pt", "radio": json.dumps({"export_version": EXPORT_VERSION, "model": asdict(config)})}
    atomic.make_folder(out)
    path = out / "model.safetensors"
    atomic.write_file(path, save({name: t.contiguous() for name, t in tensors.items()}, metadata))
    atomic.write_file(out / "config.json", (json.dumps(description, indent=2, sort_keys=True) + "\n").encode())
    return path


def _translated(
    weights: dict[str, Tensor], config: MaeConfig, chosen: ExportFormat
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if chosen is ExportFormat.HF:
        return to_hub(weights), hub_config(config)
    if chosen is ExportFormat.TIMM:
        return to_timm(weights), timm_config(config)
    return weights, {"export_version": EXPORT_VERSION, "model": asdict(config)}


def hub_config(config: MaeConfig) -> dict[str, Any]:
    """`config.json` of a ViTMAE in transformers."""
    return {
        "architectures": ["ViTMAEForPreTraining"],
        "model_type": "vit_mae",
        "image_size": config.base_grid * config.patch_size,
        "patch_size": config.patch_size,
        "num_channels": 1,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp_size,
        "decoder_hidden_size": config.decoder_hidden_size,
        "decoder_num_hidden_layers": config.decoder_depth,
        "decoder_num_attention_heads": config.decoder_heads,
        "decoder_intermediate_size": config.decoder_mlp_size,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": config.layer_norm_eps,
        "mask_ratio": config.mask_ratio,
        "norm_pix_loss": config.norm_pix,
        "dtype": "float32",
    }


def timm_config(config: MaeConfig) -> dict[str, Any]:
    """What timm's VisionTransformer must be told; its layer norms have the epsilon 1e-6 unless `norm_layer` says so."""
    return {
        "architecture": "vit_base_patch16_224",
        "num_classes": 0,
        "global_pool": "token",
        "model_args": {
            "img_size": config.base_grid * config.patch_size,
            "patch_size": config.patch_size,
            "in_chans": 1,
            "embed_dim": config.hidden_size,
            "depth": config.depth,
            "num_heads": config.heads,
            "mlp_ratio": config.mlp_size / config.hidden_size,
        },
        "layer_norm_eps": config.layer_norm_eps,
    }
