"""Losses and probabilities belong together; sizes of weights are recognised."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from radio_io.errors import UsageError
from radio_train.evaluation.outcomes import TaskKind
from radio_train.export import ExportFormat, export_model
from radio_train.finetuning.encoders import encoder_sizes, make_encoder
from radio_train.finetuning.linear import Vectors, fit_linear
from radio_train.finetuning.objective import balancing_weights, image_losses, probabilities
from radio_train.model.config import PRESETS
from radio_train.model.mae import MaskedAutoencoder


@pytest.mark.parametrize("kind", [TaskKind.BINARY, TaskKind.MULTICLASS, TaskKind.ORDINAL])
def test_the_loss_is_the_negative_log_of_the_probability(kind):
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    scores = probabilities(logits, kind)
    assert torch.allclose(scores.sum(1), torch.ones(50, dtype=torch.float64))
    assert scores.shape[1] == (5 if kind is TaskKind.ORDINAL else 4)
    targets = torch.arange(50) % scores.shape[1]
    losses = image_losses(logits, targets, kind, torch.ones(scores.shape[1]))
    torch.testing.assert_close(losses.double(), -scores[torch.arange(50), targets].log(), atol=1e-5, rtol=1e-5)


def test_the_loss_of_several_labels_is_their_mean():
    logits, targets = torch.randn(6, 3), torch.tensor([[0, 1, 1]] * 6)
    scores = probabilities(logits, TaskKind.MULTILABEL)
    expected = -torch.where(targets == 1, scores, 1 - scores).log().mean(1)
    found = image_losses(logits, targets, TaskKind.MULTILABEL, torch.ones(3))
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_weights_balance_the_classes():
    targets = np.array([0] * 80 + [1] * 20)
    weights = balancing_weights(targets, 2, TaskKind.BINARY)
    assert weights.tolist() == pytest.approx([100 / 160, 100 / 40])
    assert float(weights[targets].mean()) == pytest.approx(1)


def test_a_linear_layer_finds_what_is_linear():
    rng = np.random.default_rng(0)
    values = rng.normal(3, [5, 0.1, 1], (600, 3))
    score = values[:, 0] / 5 + values[:, 1] / 0.1
    for kind, targets in (
        (TaskKind.BINARY, (score > np.median(score)).astype(np.int64)),
        (TaskKind.ORDINAL, np.digitize(score, np.quantile(score, [0.3, 0.6])).astype(np.int64)),
        (TaskKind.MULTILABEL, np.stack([score > np.median(score), values[:, 2] > 3], 1).astype(np.int64)),
    ):
        classes = tuple("abc"[: 2 if kind is not TaskKind.ORDINAL else 3])
        train, val = (
            Vectors(values=values[:400], targets=targets[:400]),
            Vectors(values=values[400:], targets=targets[400:]),
        )
        layer = fit_linear(train, val, kind, classes)
        assert layer.balanced_accuracy > 0.93, kind
        assert layer.weights.shape == (layer.biases.shape[0], 3)


def test_weights_without_a_description_tell_their_sizes(tmp_path):
    sizes = replace(PRESETS["tiny"], heads=2, depth=3, patch_size=8, base_grid=10)
    torch.manual_seed(3)
    model = MaskedAutoencoder(sizes)
    file = export_model(model, tmp_path / "timm", ExportFormat.TIMM)
    (tmp_path / "timm" / "config.json").unlink()
    found = encoder_sizes(str(file), "vit-b16")
    assert (found.hidden_size, found.depth, found.heads, found.patch_size) == (128, 3, 2, 8)
    assert (found.base_grid, found.mlp_size) == (10, 512)
    encoder, _ = make_encoder(str(file), "vit-b16", 0)
    for name, tensor in model.vit.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], tensor), name


def test_random_encoders_follow_their_seed():
    first, second, third = (make_encoder("random", "tiny", seed)[0].state_dict() for seed in (1, 1, 2))
    name = "layers.0.mlp.fc1.weight"
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], third[name])
    assert float(first[name].std()) == pytest.approx(math.sqrt(2 / (128 + 512)), rel=0.05)
    with pytest.raises(UsageError, match="does not exist"):
        make_encoder("nowhere", "tiny", 0)
