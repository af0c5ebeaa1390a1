"""Files that timm and transformers write themselves give the features and logits that these libraries compute."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from jax_weights import random_arrays
from radio_io.errors import RadioError, TrainingError, UsageError
from radio_train.finetuning.encoders import encoder_sizes, make_encoder
from radio_train.finetuning.image_packs import pack_images
from radio_train.import_weights import describe_model, initialize, load_weights, resize_prediction
from radio_train.model.heads import Classifier, Pooling
from radio_train.model.mae import MaskedAutoencoder

SCRIPT = Path(__file__).parents[2] / "timm_models.py"
PLAIN, UNLIKE = ("plain", "grey", "no_embed_class"), ("layer_scale", "registers", "qk_norm", "pre_norm")
INCOMPLETE = ("averaged", "no_class_token")


def close(found, wanted):
    torch.testing.assert_close(found, torch.as_tensor(wanted), atol=1e-5, rtol=1e-5)


def tokens_of(path, image):
    """[tokens, size] of an image [rows, columns] by our encoder with weights from a file or folder."""
    encoder, sizes = make_encoder(str(path), "vit-b16", 0)
    with torch.no_grad():
        return encoder.eval()(pack_images([torch.as_tensor(image)], sizes))


def logits_of(path, image, classes):
    """[classes]: our classifier with the head that the file has."""
    encoder, sizes = make_encoder(str(path), "vit-b16", 0)
    model = Classifier(encoder, sizes.hidden_size, classes, pooling=Pooling.CLS)
    report = initialize(model, load_weights(path))
    assert {"classifier.weight", "classifier.bias"} <= set(report.loaded)
    with torch.no_grad():
        return model.eval()(pack_images([torch.as_tensor(image)], sizes), 1)[0]


@pytest.fixture(scope="module")
def timm_files(tmp_path_factory):
    """What timm wrote and computed, made once in a process of its own."""
    site = os.environ.get("RADIO_TIMM", "")
    if not site and importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed; `make tools` installs it, or RADIO_TIMM names a folder that has it")
    folder = tmp_path_factory.mktemp("timm")
    np.savez(folder / "ViT.npz", **random_arrays())
    names = [*PLAIN, *UNLIKE, *INCOMPLETE, "ViT.npz"]
    paths = os.pathsep.join(filter(None, (site, os.environ.get("PYTHONPATH"))))
    subprocess.run([sys.executable, SCRIPT, folder, *names], check=True, env=os.environ | {"PYTHONPATH": paths})
    return folder


def told(folder, name):
    with np.load(folder / f"{name}.features") as file:
        return file["image"], file["tokens"], file["logits"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["{}", "{}/model.safetensors", "{}.safetensors", "{}.pth"])
@pytest.mark.parametrize("name", PLAIN)
def test_files_of_timm_give_its_features(name, layout, timm_files, tmp_path):
    image, tokens, _ = told(timm_files, name)
    close(tokens_of(timm_files / layout.format(name), image), tokens)


@pytest.mark.slow
def test_a_file_of_timm_gives_its_logits(timm_files):
    image, _, logits = told(timm_files, "plain")
    close(logits_of(timm_files / "plain.safetensors", image, 5), logits)


@pytest.mark.slow
def test_a_file_of_jax_gives_the_features_and_logits_of_timm(timm_files):
    image, tokens, logits = told(timm_files, "ViT.npz")
    close(tokens_of(timm_files / "ViT.npz", image), tokens)
    close(logits_of(timm_files / "ViT.npz", image, 5), logits)


@pytest.mark.slow
def test_sizes_are_those_that_a_folder_of_timm_says_or_its_weights_have(timm_files, tmp_path):
    told_sizes = describe_model(timm_files / "plain")
    assert (told_sizes.patch_size, told_sizes.base_grid, told_sizes.hidden_size) == (8, 4, 128)
    assert (told_sizes.heads, told_sizes.depth, told_sizes.mlp_size) == (2, 2, 192)
    assert told_sizes.layer_norm_eps == 1e-6
    older = shutil.copytree(timm_files / "plain", tmp_path / "older")  # timm says the sizes since 1.0 only
    config = json.loads((older / "config.json").read_text())
    (older / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "model_args"}))
    assert encoder_sizes(str(older), "vit-b16") == encoder_sizes(str(timm_files / "plain.pth"), "vit-b16")
    assert encoder_sizes(str(older), "vit-b16").heads == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", UNLIKE)
def test_refuses_what_would_silently_be_another_model(name, timm_files):
    with pytest.raises(UsageError, match="which the encoder here does not have"):
        load_weights(timm_files / f"{name}.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", INCOMPLETE)
def test_refuses_a_model_without_class_token_or_last_norm(name, timm_files):
    with pytest.raises(RadioError, match="class token and a norm after the last layer") as caught:
        make_encoder(str(timm_files / f"{name}.safetensors"), "vit-b16", 0)
    assert isinstance(caught.value, TrainingError)


HUB_SIZES = {
    "image_size": 32, "patch_size": 8, "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 192,
}  # fmt: skip


def saved(name, folder, **options):
    """A model of transformers with the weights of a trained one, saved; and a grey image in its channels."""
    transformers = pytest.importorskip("transformers", reason="the extra `oracle` is not installed (transformers)")
    config = transformers.ViTMAEConfig if "MAE" in name else transformers.ViTConfig
    more = {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    more = more | {"decoder_intermediate_size": 40, "mask_ratio": 0.0} if "MAE" in name else {"num_labels": 5}
    torch.manual_seed(5)
    model = getattr(transformers, name)(config(**HUB_SIZES, **more, **options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    image = torch.rand(32, 32)
    return model, image, image.expand(1, model.config.num_channels, 32, 32)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["ViTModel", "ViTForImageClassification", "ViTMAEModel", "ViTMAEForPreTraining"])
def test_folders_of_transformers_give_its_features(name, channels, tmp_path):
    model, image, pixels = saved(name, tmp_path, num_channels=channels)
    noise = {"noise": torch.arange(16.0)[None]} if "MAE" in name else {}
    with torch.no_grad():
        wanted = getattr(model, "vit", model)(pixels, **noise).last_hidden_state[0]
    close(tokens_of(tmp_path, image), wanted)
    sizes = describe_model(tmp_path)
    assert (sizes.hidden_size, sizes.heads, sizes.mlp_size, sizes.base_grid) == (128, 4, 192, 4)


@pytest.mark.slow
def test_a_decoder_of_colours_predicts_their_mean(tmp_path):
    theirs, *_ = saved("ViTMAEForPreTraining", tmp_path, num_channels=3)
    model = MaskedAutoencoder(describe_model(tmp_path)).eval()
    report = initialize(model, load_weights(tmp_path))
    assert not report.untouched
    hidden = torch.rand(4, 16)
    with torch.no_grad():
        wanted = theirs.decoder.decoder_pred(hidden).unflatten(-1, (8 * 8, 3)).mean(-1)
        close(model.decoder.decoder_pred(hidden), wanted)


def test_a_prediction_of_larger_patches_is_the_enlarged_prediction():
    layer, hidden = torch.rand(16, 5), torch.rand(5)
    enlarged = functional.interpolate((layer @ hidden).view(1, 1, 4, 4), size=(12, 12), mode="bilinear")
    close(resize_prediction(layer, 144) @ hidden, enlarged.flatten())
    assert resize_prediction(layer[:, 0], 144).shape == (144,)
    assert resize_prediction(layer, 16) is layer


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True])
def test_a_folder_of_transformers_gives_its_logits(old, tmp_path):
    model, image, pixels = saved("ViTForImageClassification", tmp_path, num_channels=3)
    if old:  # as versions before safetensors wrote it
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    with torch.no_grad():
        wanted = model(pixels).logits[0]
    close(logits_of(tmp_path, image, 5), wanted)
