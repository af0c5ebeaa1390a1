"""The map of reconstruction errors points at the patch that is wrong."""

import json

import imagecodecs
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from packs_of_images import SMALL, images, make_pack
from radio_cli.main import app
from radio_train.config import PretrainConfig, load_config
from radio_train.error_map import overlay, patch_errors
from radio_train.model.mae import MaskedAutoencoder
from radio_train.pretrain import run_pretrain
from radio_train.run_folder import Selection
from radio_train.shown_images import patches_of, picture

CONFIG = PretrainConfig(model=SMALL)


@pytest.fixture
def pack():
    return make_pack(images((5, 4), (3, 6)), tokens=64, max_images=4)


def test_the_error_is_where_the_prediction_is_wrong(pack, monkeypatch):
    model = MaskedAutoencoder(SMALL)
    surprising = pack.offsets[1] + 1 + 1 + 7  # the eighth patch of the second image, CLS rows counted

    def predict(masked):
        wrong = (masked.target_row == surprising).float()[:, None]
        return masked.target + 0.1 + 0.4 * wrong

    monkeypatch.setattr(model, "predict", predict)
    first, second = patch_errors(model, pack, CONFIG, masks=12, seed=1)
    assert (first.shape, second.shape) == ((5, 4), (3, 6))
    np.testing.assert_allclose(first, 0.01, rtol=1e-5)
    assert np.unravel_index(second.argmax(), second.shape) == (1, 1)
    assert second[1, 1] == pytest.approx(0.25, rel=1e-5)
    assert sorted(second.ravel())[-2] == pytest.approx(0.01, rel=1e-5)


def test_more_masks_average(pack):
    torch.manual_seed(0)
    model = MaskedAutoencoder(SMALL)
    many = patch_errors(model, pack, CONFIG, masks=40, seed=1)
    again = patch_errors(model, pack, CONFIG, masks=40, seed=1)
    other = patch_errors(model, pack, CONFIG, masks=40, seed=2)
    one = patch_errors(model, pack, CONFIG, masks=1, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(many, again, strict=True))
    spread = np.abs(many[0] - other[0]).mean()
    assert spread < np.abs(one[0] - other[0]).mean()


def test_the_overlay_tints_the_worst_patch_most(pack):
    shown = picture(patches_of(pack, 0), pack, 0)
    assert shown.shape == (20, 16)
    errors = np.full((5, 4), 0.1)
    errors[2, 3] = 1.0
    tinted = overlay(shown, errors)
    assert tinted.shape == (20, 16, 3)
    redness = (tinted[..., 0] - tinted[..., 2]).reshape(5, 4, 4, 4).mean((1, 3))
    assert np.unravel_index(redness.argmax(), redness.shape) == (2, 3)


def test_the_command_writes_a_sheet(built, tmp_path):
    config = load_config("tiny", assignments=["run.max_steps=2", "data.step_images=4", "run.precision=fp32"])
    run_pretrain(config, built.root, tmp_path / "run", selection=Selection(where="rows * columns < 20000"))
    sheet = tmp_path / "map.png"
    shown = CliRunner().invoke(
        app, f"train reconstruct {tmp_path}/run --out {sheet} --error-map --masks 2 --images 2 --json".split()
    )
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["sheet"] == str(sheet)
    assert imagecodecs.png_decode(sheet.read_bytes()).shape[2] == 3
