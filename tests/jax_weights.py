"""A made-up vision transformer in the layout of the original `.npz` files of JAX."""

import numpy as np

SIZE, HEADS, DEPTH, MLP, PATCH, GRID = 128, 2, 2, 192, 8, 4


def random_arrays(seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(0, 0.2, shape).astype(np.float32)

    arrays = {
        "cls": draw(1, 1, SIZE),
        "Transformer/posembed_input/pos_embedding": draw(1, GRID**2 + 1, SIZE),
        "embedding/kernel": draw(PATCH, PATCH, 3, SIZE),
        "embedding/bias": draw(SIZE),
        "Transformer/encoder_norm/scale": 1 + draw(SIZE),
        "Transformer/encoder_norm/bias": draw(SIZE),
        "head/kernel": draw(SIZE, 5),
        "head/bias": draw(5),
    }
    for layer in range(DEPTH):
        start = f"Transformer/encoderblock_{layer}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            arrays |= {f"{start}/{norm}/scale": 1 + draw(SIZE), f"{start}/{norm}/bias": draw(SIZE)}
        for part in ("query", "key", "value"):
            name = f"{start}/MultiHeadDotProductAttention_1/{part}"
            arrays |= {f"{name}/kernel": draw(SIZE, HEADS, SIZE // HEADS), f"{name}/bias": draw(HEADS, SIZE // HEADS)}
        name = f"{start}/MultiHeadDotProductAttention_1/out"
        arrays |= {f"{name}/kernel": draw(HEADS, SIZE // HEADS, SIZE), f"{name}/bias": draw(SIZE)}
        for dense, (a, b) in enumerate(((SIZE, MLP), (MLP, SIZE))):
            name = f"{start}/MlpBlock_3/Dense_{dense}"
            arrays |= {f"{name}/kernel": draw(a, b), f"{name}/bias": draw(b)}
    return arrays
