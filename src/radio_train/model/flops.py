"""How many floating-point operations the model needs for an image: the numerator of the model FLOPs utilisation (MFU).

Comes in: the sizes of the model and the patches of an image. Goes out: exact counts of the matrix products and
attention that are needed (a multiplication and an addition are two operations); normalisation, GELU and the like are
left out, as in the published definition. Padding does not count: what is computed in vain lowers the utilisation.

Source: A. Chowdhery et al., PaLM, JMLR 2023, appendix B (MFU; backward counts twice forward, recomputation nothing).
"""

from radio_train.model.config import MaeConfig

TRAINING_FACTOR = 3
"""Forward once, backward twice: gradients for the inputs and for the weights of each product."""


def pretraining_flops(config: MaeConfig, patches: int) -> int:
    """Forward and backward of one image in pre-training.

    Example:
        >>> round(pretraining_flops(MaeConfig(), 32 * 42) / 1e9)  # a radiograph of 2000 x 1500
        487
    """
    # The pixels need no gradient, so the patch embedding has only that of its weights.
    return TRAINING_FACTOR * forward_flops(config, patches) - _embedding(config, _visible(config, patches))


def forward_flops(config: MaeConfig, patches: int) -> int:
    """Forward of one image in pre-training: only visible patches are embedded, only masked ones predicted."""
    visible = _visible(config, patches)
    encoder = encoder_flops(config, visible)
    joint = 2 * config.hidden_size * config.decoder_hidden_size * (visible + 1)
    decoder = _layers(config.decoder_depth, config.decoder_hidden_size, config.decoder_mlp_size, tokens=patches + 1)
    predicted = 2 * config.decoder_hidden_size * config.patch_pixels * (patches - visible)
    return encoder + joint + decoder + predicted


def encoder_flops(config: MaeConfig, patches: int) -> int:
    """Forward of the encoder over an image of which this many patches are seen (fine-tuning, embedding: all)."""
    layers = _layers(config.depth, config.hidden_size, config.mlp_size, tokens=patches + 1)
    return _embedding(config, patches) + layers


def _visible(config: MaeConfig, patches: int) -> int:
    return int(patches * (1 - config.mask_ratio))


def _embedding(config: MaeConfig, patches: int) -> int:
    return 2 * config.patch_pixels * config.hidden_size * patches


def _layers(depth: int, width: int, inner: int, *, tokens: int) -> int:
    products = 2 * (4 * width * width + 2 * width * inner) * tokens  # query, key, value, output; two of the MLP
    attention = 2 * (2 * width) * tokens * tokens  # scores and weighted sum
    return depth * (products + attention)
