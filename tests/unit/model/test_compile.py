"""Compilation: one graph for every packing; two for every bin."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from packs_of_images import SMALL, images, make_pack
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack

# torch's own code, not ours, warns while it traces.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


def some_images(rng, tokens, most):
    grids, left = [], tokens
    while len(grids) < most:
        h, w = int(rng.integers(1, 7)), int(rng.integers(1, 7))
        if h * w + 1 > left:
            break
        grids.append((h, w))
        left -= h * w + 1
    return grids


def train_step(compiled, model, pack, dtype=torch.float32):
    model.zero_grad(set_to_none=True)
    loss = compiled(mask_pack(pack, model.config, seed=0, epoch=0, dtype=dtype))
    loss.backward()
    return float(loss.detach())


def test_fifty_packings_are_one_graph_and_are_never_compiled_again():
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = MaskedAutoencoder(SMALL)
    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend=counter)
    rng = np.random.default_rng(0)
    for number in range(50):
        chosen = images(*some_images(rng, 128, int(rng.integers(1, 9))), seed=number)
        pack = make_pack(chosen, tokens=128, max_images=8)
        loss = train_step(compiled, model, pack)
        if number % 10 == 0:
            found = model.decoder.decoder_pred.weight.grad.clone()
            assert loss == pytest.approx(train_step(model, model, pack), rel=1e-4)
            torch.testing.assert_close(found, model.decoder.decoder_pred.weight.grad, atol=1e-6, rtol=1e-3)
    assert counter.frame_count == 1


def test_thirty_six_bins_are_at_most_two_graphs():
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = MaskedAutoencoder(replace(SMALL, base_grid=8))
    counter = CompileCounterWithBackend("inductor")
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=counter)
    for h in range(2, 8):
        for w in range(2, 8):
            count = max(2, 100 // (h * w + 1))
            chosen = images(*[(h, w)] * count, seed=h * w)
            train_step(compiled, model, make_pack(chosen, tokens=count * (h * w + 1), max_images=count))
    assert counter.frame_count <= 2
