"""Weights published for JAX give the features that the JAX formulas give."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import erf, softmax

from jax_weights import DEPTH, GRID, HEADS, MLP, PATCH, SIZE, random_arrays
from radio_io.errors import TrainingError, UsageError
from radio_train.finetuning.encoders import encoder_sizes, make_encoder
from radio_train.finetuning.image_packs import pack_images
from radio_train.import_weights import load_weights
from radio_train.model.config import PRESETS


def jax_features(arrays, image):
    """[tokens, size]: the encoder written down in the axes of JAX, three equal channels, in double precision."""
    a = {name: array.astype(np.float64) for name, array in arrays.items()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * a[f"{name}/scale"] + a[f"{name}/bias"]

    patches = image.reshape(GRID, PATCH, GRID, PATCH).transpose(0, 2, 1, 3).reshape(-1, PATCH, PATCH)
    colour = np.repeat(patches[..., None], 3, axis=-1)
    x = np.einsum("tijc,ijcd->td", colour, a["embedding/kernel"]) + a["embedding/bias"]
    x = np.concatenate([a["cls"][0], x]) + a["Transformer/posembed_input/pos_embedding"][0]
    for layer in range(DEPTH):
        start = f"Transformer/encoderblock_{layer}"
        attention = f"{start}/MultiHeadDotProductAttention_1"
        y = norm(x, f"{start}/LayerNorm_0")
        q, k, v = (
            np.einsum("td,dhk->thk", y, a[f"{attention}/{part}/kernel"]) + a[f"{attention}/{part}/bias"]
            for part in ("query", "key", "value")
        )
        shares = softmax(np.einsum("thk,shk->hts", q, k) / np.sqrt(SIZE // HEADS), axis=-1)
        mixed = np.einsum("hts,shk->thk", shares, v)
        x = x + np.einsum("thk,hkd->td", mixed, a[f"{attention}/out/kernel"]) + a[f"{attention}/out/bias"]
        y = norm(x, f"{start}/LayerNorm_2")
        y = y @ a[f"{start}/MlpBlock_3/Dense_0/kernel"] + a[f"{start}/MlpBlock_3/Dense_0/bias"]
        y = 0.5 * y * (1 + erf(y / np.sqrt(2)))
        x = x + y @ a[f"{start}/MlpBlock_3/Dense_1/kernel"] + a[f"{start}/MlpBlock_3/Dense_1/bias"]
    return norm(x, "Transformer/encoder_norm")


def test_features_are_those_of_the_formulas(tmp_path):
    arrays = random_arrays()
    path = tmp_path / "ViT.npz"
    np.savez(path, **arrays)
    sizes = encoder_sizes(str(path), "vit-b16")
    assert (sizes.hidden_size, sizes.heads, sizes.depth, sizes.mlp_size) == (SIZE, HEADS, DEPTH, MLP)
    assert (sizes.patch_size, sizes.base_grid) == (PATCH, GRID)
    encoder, _ = make_encoder(str(path), "vit-b16", 0)
    image = np.random.default_rng(1).random((GRID * PATCH, GRID * PATCH))
    with torch.no_grad():
        found = encoder.eval()(pack_images([torch.from_numpy(image).float()], sizes)).numpy()
    assert np.abs(found - jax_features(arrays, image)).max() < 1e-4  # single precision; values reach 5


def test_the_position_table_and_the_kernel_are_adapted(tmp_path):
    np.savez(tmp_path / "ViT.npz", **random_arrays())
    from radio_train.import_weights import initialize
    from radio_train.model.mae import MaskedAutoencoder

    other = replace(
        PRESETS["tiny"], hidden_size=SIZE, heads=HEADS, depth=DEPTH, mlp_size=MLP, patch_size=8, base_grid=6
    )
    report = initialize(MaskedAutoencoder(other), load_weights(tmp_path / "ViT.npz"))
    assert len(report.adapted) == 2


def test_refuses_damaged_files_other_models_and_pickles(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(TrainingError, match="cannot read"):
        load_weights(tmp_path / "bad.npz")
    np.savez(tmp_path / "resnet.npz", conv=np.zeros(3))
    with pytest.raises(UsageError, match="lacks 'cls'"):
        load_weights(tmp_path / "resnet.npz")
    np.savez(tmp_path / "pickle.npz", cls=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TrainingError, match="cannot read"):
        load_weights(tmp_path / "pickle.npz")
