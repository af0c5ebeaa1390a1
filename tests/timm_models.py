"""Vision transformers that timm itself builds, reads and writes, with the features it computes; run as a process.

    python tests/timm_models.py FOLDER NAME...

Each NAME of `MODELS` becomes FOLDER/NAME (what timm saves for a hub), FOLDER/NAME.safetensors, FOLDER/NAME.pth and
FOLDER/NAME.features (image, tokens, logits). A NAME that ends in .npz is a file in FOLDER in the layout of JAX, which
timm's own reader reads.

timm asks for torchvision, whose published wheel does not load beside a torch without CUDA, and of which a vision
transformer needs nothing. Where it does not load, empty classes stand in its place, in this process alone.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "mlp_ratio": 1.5}
MODELS = {
    "plain": {"in_chans": 3, "num_classes": 5},
    "grey": {"in_chans": 1, "num_classes": 0},
    "no_embed_class": {"in_chans": 3, "num_classes": 5, "no_embed_class": True},
    "layer_scale": {"in_chans": 3, "num_classes": 5, "init_values": 0.1},
    "registers": {"in_chans": 3, "num_classes": 5, "reg_tokens": 4},
    "qk_norm": {"in_chans": 3, "num_classes": 5, "qk_norm": True},
    "pre_norm": {"in_chans": 3, "num_classes": 5, "pre_norm": True},
    "averaged": {"in_chans": 3, "num_classes": 5, "global_pool": "avg"},
    "no_class_token": {"in_chans": 3, "num_classes": 5, "global_pool": "avg", "class_token": False, "fc_norm": False},
}


class _Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Any module of torchvision; any name in it is a class that does nothing."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: _nothing(name)
        return module

    def exec_module(self, module):
        pass


def _nothing(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {part: part for part in ("NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")})


def import_timm():
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Empty())
    import timm

    return timm


def shuffled(model):
    """Weights as training leaves them: no bias or table is zero."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def write_features(model, path, side, channels):
    """A grey image in every channel, all tokens after the last norm, and logits."""
    image = torch.rand(side, side, generator=torch.Generator().manual_seed(4))
    pixels = image.expand(1, channels, side, side)
    with torch.no_grad():
        tokens = model.forward_features(pixels)[0]
        logits = model(pixels)[0]
    with path.open("wb") as file:
        np.savez(file, image=image.numpy(), tokens=tokens.numpy(), logits=logits.numpy())


def build(folder, name):
    timm, options = import_timm(), MODELS[name]
    model = shuffled(timm.create_model("vit_base_patch16_224", **SIZES, **options)).eval()
    timm.models.save_for_hf(model, folder / name, model_args=SIZES | options, safe_serialization=True)
    torch.save(model.state_dict(), folder / f"{name}.pth")
    save_file(model.state_dict(), folder / f"{name}.safetensors")
    write_features(model, folder / f"{name}.features", SIZES["img_size"], options["in_chans"])


def read_jax_file(folder, name):
    timm = import_timm()
    model = shuffled(timm.create_model("vit_base_patch16_224", **SIZES, num_classes=5)).eval()
    model.load_pretrained(str(folder / name))  # all that timm keeps of its first weights is what the file lacks
    write_features(model, folder / f"{name}.features", SIZES["img_size"], 3)


def main():
    folder, *names = sys.argv[1:]
    import_timm()
    for name in names:
        if name.endswith(".npz"):
            read_jax_file(Path(folder), name)
        else:
            build(Path(folder), name)


if __name__ == "__main__":
    main()
