"""Weights from elsewhere, made to fit.

Comes in: a file or folder: a run or checkpoint of ours, an export, Hugging Face's ViT or ViTMAE, timm's ViT,
facebookresearch/mae (safetensors, or torch's format read without pickled code), JAX (npz). Goes out: tensors under our
names, and a model filled with them. A patch embedding of other channels or another patch size, and position
tables of another grid are adapted. Refuses unknown layouts and widths or depths that differ.

Source: patch kernels as L. Beyer et al., FlexiViT, CVPR 2023, section 3.3 (pseudo-inverse resize).
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from radio_io.errors import TrainingError, UsageError
from radio_train.ema import PREFIX as AVERAGED
from radio_train.model.config import MaeConfig
from radio_train.model.jax_names import read_jax
from radio_train.model.names import Weights, from_hub, from_timm, unlike_ours

_HUB_SIZES = {
    "patch_size": "patch_size",
    "hidden_size": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_size": "intermediate_size",
    "decoder_hidden_size": "decoder_hidden_size",
    "decoder_depth": "decoder_num_hidden_layers",
    "decoder_heads": "decoder_num_attention_heads",
    "decoder_mlp_size": "decoder_intermediate_size",
    "mask_ratio": "mask_ratio",
    "norm_pix": "norm_pix_loss",
    "layer_norm_eps": "layer_norm_eps",
}
_TIMM_SIZES = {"patch_size": "patch_size", "hidden_size": "embed_dim", "depth": "depth", "heads": "num_heads"}
_TIMM_EPS, _TIMM_MLP_RATIO = 1e-6, 4.0
"""What timm's VisionTransformer takes where its arguments do not say."""
_WRAPPERS = ("model", "state_dict", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.", "model.", AVERAGED)
_FILES = ("tensors.safetensors", "model.safetensors", "pytorch_model.bin")
_TABLES = ("embeddings.position_embeddings", "decoder.decoder_pos_embed")
_KERNEL = "embeddings.patch_embeddings.projection.weight"
_PREDICTION = "decoder.decoder_pred."


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportReport:
    """What became of each parameter: taken over, adapted, left as it was, and what found no place."""

    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    untouched: tuple[str, ...]
    ignored: tuple[str, ...]


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file or folder under our names, each `vit...` or `decoder...`, on the CPU.

    Raises:
        UsageError: There is no such file, or its layout is unknown.
        TrainingError: The file is damaged.
    """
    file = _weights_file(path)
    if file.suffix == ".npz":
        return read_jax(file)
    weights = _bare(_read(file))
    if any(".attn.qkv." in name for name in weights):
        strange = unlike_ours(weights)
        if strange:
            raise UsageError(
                f"{path} has {strange[0]!r} (of {len(strange)} such), which the encoder here does not have: without it "
                "the weights compute something else; expected a plain vision transformer"
            )
        return from_timm(weights)
    if any(".attention.attention.query." in name for name in weights):
        return from_hub(weights)
    if any(".attention.q_proj." in name for name in weights):
        tops = ("vit.", "decoder.", "classifier.")
        return {name if name.startswith(tops) else f"vit.{name}": tensor for name, tensor in weights.items()}
    raise UsageError(
        f"{path} has tensors such as {next(iter(weights), 'none')!r}; expected weights of radio, of Hugging Face's ViT "
        "or ViTMAE, of timm's VisionTransformer, or of facebookresearch/mae"
    )


def describe_model(path: Path) -> MaeConfig:
    """The sizes of the model whose weights lie at `path`, from the `config.json` beside or above them.

    Reads what runs and exports of radio, Hugging Face and timm say; the decoder's sizes are the defaults where there is
    none.

    Raises:
        UsageError: There is no such description.
    """
    start = path if path.is_dir() else path.parent
    for folder in (start, *list(start.parents)[:2]):
        if (folder / "config.json").is_file():
            values = _read_json(folder / "config.json")
            if isinstance(values.get("model"), dict):
                return MaeConfig(**values["model"])
            if "num_hidden_layers" in values:
                return _from_named(values, _HUB_SIZES, values["image_size"])
            if {"img_size", *_TIMM_SIZES.values()} <= values.get("model_args", {}).keys():
                return _from_timm_arguments(values["model_args"], values.get("layer_norm_eps", _TIMM_EPS))
    raise UsageError(f"{path} does not say what model its weights are of; expected a config.json beside them")


def initialize(model: nn.Module, weights: Weights) -> ImportReport:
    """Fill a model (`MaskedAutoencoder`, `Classifier`, or anything with `vit`) with what fits it.

    Raises:
        TrainingError: A tensor has another width or a layer is missing, so these are weights of another model.
    """
    own = model.state_dict()
    chosen: dict[str, Tensor] = {}
    adapted: list[str] = []
    for name, tensor in own.items():
        if name not in weights:
            continue
        chosen[name] = adapt(name, weights[name], tensor.shape)
        if chosen[name].shape != weights[name].shape:
            adapted.append(name)
    missing = [name for name in own if name.startswith("vit.") and name not in weights]
    if missing:
        raise TrainingError(
            f"the weights have no {missing[0]} (of {len(missing)} such); expected a model of their depth, with a class "
            "token and a norm after the last layer"
        )
    model.load_state_dict(chosen, strict=False)
    return ImportReport(
        loaded=tuple(chosen),
        adapted=tuple(adapted),
        untouched=tuple(name for name in own if name not in chosen),
        ignored=tuple(name for name in weights if name not in own),
    )


def adapt(name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """The tensor in the wanted shape.

    Raises:
        TrainingError: It is no patch kernel, position table or prediction of pixels, and has another shape.
    """
    if name.endswith(_KERNEL):
        tensor = _kernel(tensor.float(), shape)
    elif name.endswith(_TABLES):
        tensor = resize_positions(tensor.float(), shape[1])
    elif name.startswith(_PREDICTION):
        tensor = resize_prediction(tensor.float(), shape[0])
    if tensor.shape != shape:
        raise TrainingError(
            f"{name} has the shape {tuple(tensor.shape)} in the weights, {tuple(shape)} in the model; choose a model "
            "of the same width, depth and MLP"
        )
    return tensor


def resize_kernel(kernel: Tensor, patch_size: int) -> Tensor:
    """[D, C, P, P]: a patch embedding for another patch size that says of a resized patch what it said of the original.

    With B the bilinear resizing of a patch, it solves <B x, new> = <x, kernel>: exactly for larger patches, in the
    least squares for smaller ones.
    """
    old = kernel.shape[-1]
    if old == patch_size:
        return kernel
    pixels = torch.eye(old * old, dtype=torch.float64).reshape(old * old, 1, old, old)
    resized = functional.interpolate(pixels, size=(patch_size, patch_size), mode="bilinear", align_corners=False)
    inverse = torch.linalg.pinv(resized.flatten(1))  # [P * P, p * p], of B transposed
    flat = kernel.double().flatten(2)  # [D, C, p * p]
    return (flat @ inverse.T).unflatten(-1, (patch_size, patch_size)).to(kernel.dtype)


def resize_positions(table: Tensor, rows: int) -> Tensor:
    """[1, rows, D]: a position table, CLS first, for another square grid; a table without CLS gets zeros for it."""
    side, base = round((table.shape[1] - 1) ** 0.5), round((rows - 1) ** 0.5)
    if side * side + 1 != table.shape[1]:
        table = torch.cat([torch.zeros_like(table[:, :1]), table], dim=1)
        side = round((table.shape[1] - 1) ** 0.5)
    if side == base:
        return table
    grid = table[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)  # [1, D, side, side]
    grid = functional.interpolate(grid, size=(base, base), mode="bilinear", align_corners=False)
    return torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def resize_prediction(layer: Tensor, pixels: int) -> Tensor:
    """[pixels, ...]: weight or bias of the decoder's last layer for another patch size; of colours the mean."""
    side, rows = round(pixels**0.5), layer.shape[0]
    channels = next((each for each in (1, 3) if round((rows / each) ** 0.5) ** 2 * each == rows), 0)
    if not channels or (rows, channels) == (pixels, 1):
        return layer
    old = round((rows / channels) ** 0.5)
    grey = layer.reshape(old, old, channels, -1).mean(2).permute(2, 0, 1)[None]  # theirs: rows, columns, channels
    resized = functional.interpolate(grey, size=(side, side), mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).reshape(pixels, *layer.shape[1:])


def _kernel(kernel: Tensor, shape: torch.Size) -> Tensor:
    if kernel.shape[1] != shape[1]:  # grey pixels in every channel: what the channels see adds up
        kernel = kernel.sum(dim=1, keepdim=True).expand(-1, shape[1], -1, -1) / shape[1]
    return resize_kernel(kernel, shape[-1]).contiguous()


def _weights_file(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a run folder, an export or a file of weights")
    if path.is_file():
        return path
    steps = sorted(step for step in (path / "checkpoints").glob("step-*") if (step / "state.json").exists())
    for folder in (path, *steps[-1:]):
        for name in _FILES:
            if (folder / name).is_file():
                return folder / name
    raise UsageError(f"{path} holds no weights; expected a checkpoint or one of {', '.join(_FILES)}")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(f"cannot read the weights {path.name}: {reason}; is it complete?") from None
    for name in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    if not isinstance(loaded, dict):
        raise UsageError(f"{path.name} holds a {type(loaded).__name__}; expected tensors by name")
    return {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise TrainingError(f"cannot read {path}: {error}; is it complete?") from None


def _from_named(values: dict[str, Any], names: dict[str, str], image_size: int) -> MaeConfig:
    known = {ours: values[theirs] for ours, theirs in names.items() if theirs in values}
    return MaeConfig(**known, base_grid=image_size // int(values["patch_size"]))


def _from_timm_arguments(args: dict[str, Any], layer_norm_eps: float) -> MaeConfig:
    side = args["img_size"]
    sizes = _from_named(args, _TIMM_SIZES, side if isinstance(side, int) else min(side))  # timm writes [rows, columns]
    mlp_size = round(args.get("mlp_ratio", _TIMM_MLP_RATIO) * sizes.hidden_size)
    return replace(sizes, mlp_size=mlp_size, layer_norm_eps=layer_norm_eps)


def _bare(weights: Weights) -> dict[str, Tensor]:
    """Without the optimizer's tensors and the prefixes that wrappers put before every name.

    Averaged weights, where a checkpoint of ours has them, take the place of the others.
    """
    bare: dict[str, Tensor] = {}
    for name, tensor in sorted(weights.items(), key=lambda item: item[0].startswith(AVERAGED)):
        if name.startswith(("optimizer.", "rng.")):
            continue
        short = name
        while short.startswith(_PREFIXES):
            short = short.split(".", 1)[1]
        bare[short] = tensor
    return bare
