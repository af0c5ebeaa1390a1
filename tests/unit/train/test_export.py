"""Weights out and in again: Hugging Face, timm, facebookresearch/mae, ours."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from packs_of_images import SMALL, images, make_pack
from radio_io.errors import TrainingError, UsageError
from radio_train.export import ExportFormat, export_model
from radio_train.import_weights import initialize, load_weights, resize_kernel, resize_positions
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack
from radio_train.model.names import from_hub, from_timm, to_hub, to_timm

WHOLE = replace(SMALL, mask_ratio=0.0)


def new_model(seed=0, config=SMALL):
    torch.manual_seed(seed)
    model = MaskedAutoencoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)  # biases and norms of a trained model are not 0 and 1
    return model


def one_image():
    (key, image), *_ = images((6, 6), seed=3)
    pixels = ((torch.from_numpy(image.astype(np.float32)) - 100) / 3800).clamp(0, 1)
    return make_pack([(key, image)], tokens=37, max_images=1, ratio=0.0), pixels


def features(model):
    with torch.no_grad():
        return model.vit(mask_pack(one_image()[0], WHOLE, seed=0, epoch=0))


def timm_forward(weights, pixels, config):
    """timm's VisionTransformer without its head, from its names alone."""
    w, heads = weights, config.heads
    x = functional.conv2d(
        pixels[None, None], w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], config.patch_size
    )
    x = torch.cat([w["cls_token"], x.flatten(2).transpose(1, 2)], 1) + w["pos_embed"]

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], config.layer_norm_eps)

    def linear(x, name):
        return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    for layer in range(config.depth):
        name = f"blocks.{layer}"
        qkv = linear(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2)
        x = x + linear(y, f"{name}.attn.proj")
        x = x + linear(functional.gelu(linear(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")), f"{name}.mlp.fc2")
    return norm(x, "norm")[0]


@pytest.mark.parametrize("kind", list(ExportFormat))
def test_an_export_reads_back_as_the_same_encoder(kind, tmp_path):
    model, other = new_model(0), new_model(1)
    export_model(model, tmp_path / "out", kind)
    report = initialize(other, load_weights(tmp_path / "out"))
    assert torch.equal(features(model), features(other))
    assert not report.adapted
    assert not report.ignored
    assert any(name.startswith("decoder.") for name in report.untouched) == (kind is ExportFormat.TIMM)


def test_names_translate_there_and_back():
    weights = new_model().state_dict()
    for there, back in ((to_hub, from_hub), (lambda w: to_timm(w, decoder=True), from_timm)):
        returned = back(there(weights))
        assert returned.keys() == weights.keys()
        assert all(torch.equal(returned[name], weights[name]) for name in weights)


def test_refuses_to_export_into_a_folder_in_use(tmp_path):
    (tmp_path / "thing").write_text("x")
    with pytest.raises(UsageError, match="empty folder"):
        export_model(new_model(), tmp_path, ExportFormat.HF)


def test_timm_names_give_our_features(tmp_path):
    model = new_model()
    path = export_model(model, tmp_path / "out", ExportFormat.TIMM)
    found = timm_forward(load_file(path), one_image()[1], SMALL)
    torch.testing.assert_close(found, features(model), atol=1e-5, rtol=1e-5)
    assert json.loads((tmp_path / "out/config.json").read_text())["model_args"]["embed_dim"] == 32


@pytest.mark.parametrize("name", ["ViTModel", "ViTMAEModel", "ViTMAEForPreTraining"])
def test_transformers_loads_the_export_and_gives_our_features(name, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `oracle` is not installed (transformers)")
    model = new_model()
    export_model(model, tmp_path / "out", ExportFormat.HF)
    extra = {"add_pooling_layer": False} if name == "ViTModel" else {}
    if name == "ViTModel":
        config = json.loads((tmp_path / "out/config.json").read_text())
        extra["config"] = transformers.ViTConfig(**{k: v for k, v in config.items() if k != "model_type"})
    theirs, info = getattr(transformers, name).from_pretrained(tmp_path / "out", output_loading_info=True, **extra)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    encoder = getattr(theirs, "vit", theirs).eval()
    if name != "ViTModel":
        encoder.config.mask_ratio = 0.0
    noise = {} if name == "ViTModel" else {"noise": torch.arange(36.0)[None]}
    with torch.no_grad():
        found = encoder(one_image()[1][None, None], **noise).last_hidden_state[0]
    torch.testing.assert_close(found, features(model), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["ViTModel", "ViTForImageClassification", "ViTMAEForPreTraining"])
def test_reads_what_transformers_saves(name, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra `oracle` is not installed (transformers)")
    kind = transformers.ViTMAEConfig if "MAE" in name else transformers.ViTConfig
    extra = {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 2}
    config = kind(
        image_size=24, patch_size=4, num_channels=1, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, **(extra | {"decoder_intermediate_size": 40} if "MAE" in name else {}),
    )  # fmt: skip
    torch.manual_seed(5)
    theirs = getattr(transformers, name)(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    model = new_model()
    initialize(model, load_weights(tmp_path / "theirs"))
    encoder = getattr(theirs, "vit", theirs)
    noise = {"noise": torch.arange(36.0)[None]} if "MAE" in name else {}
    encoder.config.mask_ratio = 0.0
    with torch.no_grad():
        found = encoder(one_image()[1][None, None], **noise).last_hidden_state[0]
    torch.testing.assert_close(features(model), found, atol=1e-5, rtol=1e-5)


def test_reads_checkpoints_of_torch_with_wrappers_and_prefixes(tmp_path):
    model, other = new_model(0), new_model(1)
    mae = to_timm(model.state_dict(), decoder=True)
    torch.save({"model": {f"module.{name}": tensor for name, tensor in mae.items()}, "epoch": 3}, tmp_path / "mae.pth")
    report = initialize(other, load_weights(tmp_path / "mae.pth"))
    assert not report.untouched
    assert torch.equal(features(model), features(other))


def test_reads_our_checkpoints(tmp_path):
    model, other = new_model(0), new_model(1)
    folder = tmp_path / "checkpoints/step-00000010"
    folder.mkdir(parents=True)
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    save_file(tensors | {"optimizer.0.exp_avg": torch.zeros(2)}, folder / "tensors.safetensors")
    (folder / "state.json").write_text("{}")
    assert not initialize(other, load_weights(tmp_path)).ignored
    assert torch.equal(features(model), features(other))


def test_a_colour_kernel_sees_grey_as_before():
    kernel = torch.randn(32, 3, 4, 4)
    weights = new_model().state_dict() | {"vit.embeddings.patch_embeddings.projection.weight": kernel}
    model = new_model(1)
    report = initialize(model, weights)
    grey = torch.rand(1, 1, 4, 4)
    projection = model.vit.embeddings.patch_embeddings.projection
    want = functional.conv2d(grey.expand(1, 3, 4, 4), kernel)[0, :, 0, 0]
    torch.testing.assert_close(functional.conv2d(grey, projection.weight)[0, :, 0, 0], want, atol=1e-5, rtol=1e-5)
    assert report.adapted == ("vit.embeddings.patch_embeddings.projection.weight",)


@pytest.mark.parametrize("larger", [7, 8, 16])
def test_a_larger_kernel_says_of_an_enlarged_patch_what_it_said_of_the_original(larger):
    kernel, patch = torch.randn(5, 1, 4, 4), torch.rand(2, 1, 4, 4)
    enlarged = functional.interpolate(patch, size=(larger, larger), mode="bilinear", align_corners=False)
    found = functional.conv2d(enlarged, resize_kernel(kernel, larger))
    torch.testing.assert_close(found, functional.conv2d(patch, kernel), atol=1e-5, rtol=1e-5)


def test_positions_without_a_cls_row_get_one():
    table = torch.randn(1, 16, 8)
    found = resize_positions(table, 17)
    assert torch.equal(found[:, 1:], table)
    assert not found[:, 0].any()
    assert resize_positions(table, 37).shape == (1, 37, 8)


def test_adapts_imagenet_weights_to_48_pixels_and_one_channel():
    small = replace(SMALL, patch_size=16, base_grid=14)
    weights = dict(new_model(config=small).state_dict())
    weights["vit.embeddings.patch_embeddings.projection.weight"] = torch.randn(32, 3, 16, 16)
    weights = {name: tensor for name, tensor in weights.items() if name.startswith("vit.")}
    target = MaskedAutoencoder(replace(SMALL, patch_size=48, base_grid=8))
    report = initialize(target, weights)
    assert len(report.adapted) == 2
    assert all(name.startswith("decoder.") for name in report.untouched)


def test_refuses_weights_of_another_width():
    with pytest.raises(TrainingError, match="same width"):
        initialize(MaskedAutoencoder(replace(SMALL, hidden_size=64)), new_model().state_dict())


def test_refuses_weights_of_another_depth():
    with pytest.raises(TrainingError, match="depth"):
        initialize(MaskedAutoencoder(replace(SMALL, depth=3)), new_model().state_dict())


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_refuses_a_damaged_file(name, tmp_path):
    (tmp_path / name).write_bytes(b"no weights at all" * 10)
    with pytest.raises(TrainingError, match="cannot read"):
        load_weights(tmp_path / name)


def test_never_runs_code_of_a_pickle(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    torch.save({"model": Evil()}, tmp_path / "weights.pth")
    with pytest.raises(TrainingError):
        load_weights(tmp_path / "weights.pth")
    assert not (tmp_path / "evil").exists()


def test_refuses_a_missing_file_and_another_layout(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        load_weights(tmp_path / "none.safetensors")
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "resnet.safetensors")
    with pytest.raises(UsageError, match="conv1"):
        load_weights(tmp_path / "resnet.safetensors")
    with pytest.raises(UsageError, match="no weights"):
        load_weights(tmp_path.joinpath("empty").mkdir() or tmp_path / "empty")
