"""The encoder that training starts from: random, of a run, or from a file of weights.

Comes in: `random` or a path, a preset, a seed. Goes out: an `Encoder` and its sizes. Refuses an unknown preset and what
`import_weights` refuses. Weights without a description beside them say their own sizes.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from radio_io.errors import UsageError
from radio_train.import_weights import describe_model, initialize, load_weights
from radio_train.model.config import PRESETS, MaeConfig
from radio_train.model.mae import Encoder, MaskedAutoencoder

RANDOM = "random"
HEAD_SIZE = 64
"""Of every published ViT from tiny to huge but the last: what tells the number of heads where nothing else does."""
ENCODERS = {**PRESETS, "vit-b16": replace(PRESETS["vit-mae-b48"], patch_size=16, base_grid=14, layer_norm_eps=1e-6)}
"""`vit-b16` is the baseline of the thesis (its grey channel instead of three equal ones computes the same)."""


def encoder_sizes(init: str, preset: str) -> MaeConfig:
    """The sizes of the encoder, without making it.

    Raises:
        UsageError: The preset is unknown, or there are no weights.
    """
    if preset not in ENCODERS:
        raise UsageError(f"unknown preset {preset!r}; there are {', '.join(ENCODERS)}")
    if init == RANDOM:
        return ENCODERS[preset]
    path = Path(init)
    if not path.exists():
        raise UsageError(f"--init {init!r} does not exist; give random, a run folder, or a file of weights")
    try:
        return describe_model(path)
    except UsageError:
        return sizes_of_weights(load_weights(path), ENCODERS[preset])


def make_encoder(init: str, preset: str, seed: int) -> tuple[Encoder, MaeConfig]:
    """The encoder with its weights; what is random in it follows from the seed.

    Raises:
        UsageError: See `encoder_sizes`.
        TrainingError: The weights do not fit.
    """
    sizes = encoder_sizes(init, preset)
    torch.manual_seed(seed)
    model = MaskedAutoencoder(replace(sizes, decoder_depth=1))  # its decoder is thrown away
    if init != RANDOM:
        weights = load_weights(Path(init))
        initialize(model, {name: tensor for name, tensor in weights.items() if name.startswith("vit.")})
    return model.vit, sizes


def weights_digest(init: str) -> str:
    """Equal for equal weights, wherever they lie."""
    if init == RANDOM:
        return RANDOM
    digest = hashlib.sha256()
    for name, tensor in sorted(load_weights(Path(init)).items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def sizes_of_weights(weights: dict[str, Tensor], like: MaeConfig) -> MaeConfig:
    """The sizes that the shapes of an encoder's tensors tell; the rest as in `like`."""
    kernel = weights.get("vit.embeddings.patch_embeddings.projection.weight")
    table = weights.get("vit.embeddings.position_embeddings")
    if kernel is None or table is None:
        raise UsageError("the weights have no patch embedding or positions; expected those of a vision transformer")
    layers = {int(found[1]) for name in weights if (found := re.match(r"vit\.layers\.(\d+)\.", name))}
    mlp = weights.get("vit.layers.0.mlp.fc1.weight")
    size = int(kernel.shape[0])
    return replace(
        like,
        patch_size=int(kernel.shape[-1]),
        hidden_size=size,
        depth=max(layers, default=-1) + 1,
        heads=max(1, size // HEAD_SIZE),
        mlp_size=like.mlp_size if mlp is None else int(mlp.shape[0]),
        base_grid=round((table.shape[1] - table.shape[1] % 2) ** 0.5),
        layer_norm_eps=1e-6,
    )
