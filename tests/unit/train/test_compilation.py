"""Compiled once, and stopped where torch would compile again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from packs_of_images import SMALL, images, make_pack
from radio_io.errors import TrainingError
from radio_io.loading.batch import BatchPolicy
from radio_train.compilation import CompiledModel
from radio_train.config import load_config
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack
from radio_train.pretrain import run_pretrain
from radio_train.run_folder import Selection

# torch's own code, not ours, warns while it traces.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
CPU = torch.device("cpu")
LONGEST = 8 * 9 + 1
"""Beyond the base grid of 6 x 6: one graph must do for such images too."""


def compiled(policy, **how):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = MaskedAutoencoder(SMALL)
    return model, CompiledModel(model, policy, CPU, **how)


def step(forward, model, pack):
    model.zero_grad(set_to_none=True)
    loss = forward(mask_pack(pack, model.config, seed=0, epoch=0, longest=LONGEST))
    loss.backward()
    return float(loss.detach())


def random_pack(number, tokens=160):
    rng = np.random.default_rng(number)
    grids, left = [(8, 9)] if number % 7 == 0 else [], tokens - 73
    for _ in range(int(rng.integers(1, 7))):
        h, w = int(rng.integers(1, 7)), int(rng.integers(1, 7))
        if h * w + 1 <= left:
            grids.append((h, w))
            left -= h * w + 1
    return make_pack(images(*grids, seed=number), tokens=tokens, max_images=8)


def test_fifty_packings_of_one_shape_are_one_graph_and_another_shape_stops_the_run():
    model, forward = compiled(BatchPolicy.PACKED, small_packs=False)
    for number in range(50):
        loss = step(forward, model, random_pack(number))
        if number % 10 == 0:
            assert loss == pytest.approx(step(model, model, random_pack(number)), rel=1e-4)
    assert forward.graphs == 1
    with pytest.raises(TrainingError, match="compiled 2 graphs, expected at most 1 with"):
        step(forward, model, random_pack(1, tokens=170))


def test_fifty_packings_with_small_packs_are_two_graphs_and_a_third_shape_stops_the_run():
    model, forward = compiled(BatchPolicy.PACKED)
    for number in range(50):
        step(forward, model, random_pack(number, tokens=80 if number % 3 == 2 else 160))
        assert forward.graphs == (1 if number < 2 else 2)
    with pytest.raises(TrainingError, match="compiled 3 graphs, expected at most 2 with"):
        step(forward, model, random_pack(1, tokens=180))


def test_thirty_six_bins_are_two_graphs_at_most():
    model, forward = compiled(BatchPolicy.BINS)
    for h in range(2, 8):
        for w in range(2, 8):
            count = max(1, 100 // (h * w + 1))
            pack = make_pack(images(*[(h, w)] * count, seed=h * w), tokens=count * (h * w + 1), max_images=count)
            step(forward, model, pack)
    assert forward.graphs <= 2


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        ("packed", ["data.token_budget=1400"]),
        ("packed", ["data.token_budget=1400", "data.small_packs=false"]),
        ("bins", ["data.token_budget=5200"]),
    ],
)
def test_a_compiled_run_gives_the_losses_of_an_eager_one(built, tmp_path, policy, settings):
    torch._dynamo.reset()
    few = Selection(where="rows <= 150") if policy == "bins" else Selection(where="rows <= 500")
    settings = [*settings, "run.precision=fp32", "run.max_steps=4", f"data.policy={policy}", "data.step_images=8"]
    found = []
    for compile_it in ("true", "false"):
        config = load_config("tiny", assignments=[*settings, f"run.compile={compile_it}"])
        small = replace(config, model=replace(config.model, depth=1, decoder_depth=1))
        seen = []
        run_pretrain(small, built.root, tmp_path / compile_it, selection=few, report=seen.append)
        found.append([metrics.loss for metrics in seen])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
