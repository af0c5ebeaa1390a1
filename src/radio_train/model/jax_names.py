"""Weights of the original vision transformers, which are published as `.npz` files of JAX.

Comes in: such a file. Goes out: tensors under our names. Kernels are [in, out] there, attention has axes of its own for
heads. Refuses files that are damaged or hold other models.

Source: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, and the names in its published checkpoints.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radio_io.errors import TrainingError, UsageError

Arrays = Mapping[str, NDArray[np.float32]]
_SINGLE = {
    "cls": "vit.embeddings.cls_token",
    "Transformer/posembed_input/pos_embedding": "vit.embeddings.position_embeddings",
    "embedding/bias": "vit.embeddings.patch_embeddings.projection.bias",
    "Transformer/encoder_norm/scale": "vit.layernorm.weight",
    "Transformer/encoder_norm/bias": "vit.layernorm.bias",
}
_BLOCK = "Transformer/encoderblock_"
_NORMS = {"LayerNorm_0": "layernorm_before", "LayerNorm_2": "layernorm_after"}
_MLP = {"MlpBlock_3/Dense_0": "mlp.fc1", "MlpBlock_3/Dense_1": "mlp.fc2"}
_ATTENTION = {"query": "q_proj", "key": "k_proj", "value": "v_proj"}


def read_jax(path: Path) -> dict[str, Tensor]:
    """The encoder in a `.npz` file under our names.

    Raises:
        TrainingError: The file is damaged.
        UsageError: It holds another model.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float32) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(f"cannot read the weights {path.name}: {type(error).__name__}; is it complete?") from None
    try:
        return from_jax(arrays)
    except KeyError as error:
        raise UsageError(f"{path.name} lacks {error}; expected a vision transformer as published for JAX") from None


def from_jax(arrays: Arrays) -> dict[str, Tensor]:
    """Our names for those of JAX; `classifier` is the head of the original task, where there is one."""
    found = {ours: arrays[theirs] for theirs, ours in _SINGLE.items()}
    kernel = arrays["embedding/kernel"]  # [patch, patch, channels, size]
    found["vit.embeddings.patch_embeddings.projection.weight"] = kernel.transpose(3, 2, 0, 1)
    layers = {int(match[1]) for name in arrays if (match := re.match(rf"{_BLOCK}(\d+)/", name))}
    for layer in sorted(layers):
        found |= _layer(arrays, f"{_BLOCK}{layer}", f"vit.layers.{layer}")
    if "head/kernel" in arrays:
        found |= {"classifier.weight": arrays["head/kernel"].T, "classifier.bias": arrays["head/bias"]}
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in found.items()}


def _layer(arrays: Arrays, theirs: str, ours: str) -> dict[str, NDArray[np.float32]]:
    found: dict[str, NDArray[np.float32]] = {}
    for name, new in _NORMS.items():
        found[f"{ours}.{new}.weight"] = arrays[f"{theirs}/{name}/scale"]
        found[f"{ours}.{new}.bias"] = arrays[f"{theirs}/{name}/bias"]
    for name, new in _MLP.items():
        found[f"{ours}.{new}.weight"] = arrays[f"{theirs}/{name}/kernel"].T
        found[f"{ours}.{new}.bias"] = arrays[f"{theirs}/{name}/bias"]
    attention = f"{theirs}/MultiHeadDotProductAttention_1"
    for name, new in _ATTENTION.items():
        kernel = arrays[f"{attention}/{name}/kernel"]  # [size, heads, head size]
        found[f"{ours}.attention.{new}.weight"] = kernel.reshape(kernel.shape[0], -1).T
        found[f"{ours}.attention.{new}.bias"] = arrays[f"{attention}/{name}/bias"].reshape(-1)
    kernel = arrays[f"{attention}/out/kernel"]  # [heads, head size, size]
    found[f"{ours}.attention.o_proj.weight"] = kernel.reshape(-1, kernel.shape[-1]).T
    found[f"{ours}.attention.o_proj.bias"] = arrays[f"{attention}/out/bias"]
    return found
