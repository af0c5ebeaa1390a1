"""The search for the learning rate."""

import json
from dataclasses import replace

import pytest

from radio_io.errors import UsageError
from radio_train.config import load_config
from radio_train.run_folder import Selection, load_table
from radio_train.sweep import run_sweep, some_images

SMALL = Selection(where="rows <= 400 and columns <= 400")


def config(*assignments):
    fast = ["data.step_images=16", "data.token_budget=1400", "run.precision=fp32", "model.depth=1"]
    return load_config("tiny", assignments=[*fast, *assignments])


def test_orders_rates_by_validation_loss_and_goes_on_where_it_was(built, tmp_path):
    seen = []
    options = {"rates": (1e-6, 3e-3), "images": 24, "epochs": 2, "selection": SMALL}
    results = run_sweep(config(), built.root, tmp_path, report=seen.append, **options)
    assert [result.rate for result in results] == [3e-3, 1e-6]
    assert results[0].validation_loss < results[1].validation_loss
    assert [each["rate"] for each in json.loads((tmp_path / "sweep.json").read_text())] == [3e-3, 1e-6]
    assert seen[0].loss == seen[len(seen) // 2].loss  # the same weights and images
    assert max(metrics.lr for metrics in seen) == pytest.approx(3e-3)
    trained = len(seen)
    assert run_sweep(config(), built.root, tmp_path, report=seen.append, **options) == results
    assert len(seen) == trained


def test_a_rate_that_ends_in_no_number_is_a_result(built, tmp_path):
    wild = config("optimizer.clip_norm=0", "run.warmup_epochs=0")
    results = run_sweep(wild, built.root, tmp_path, rates=(1e-3, 1e30), images=16, epochs=6, selection=SMALL)
    assert [result.rate for result in results] == [1e-3, 1e30]
    assert "of step" in results[1].failure
    assert "is nan" in results[1].failure or "is inf" in results[1].failure


def test_the_subset_is_a_fixed_part(built):
    whole = load_table(config(), built.root, "train", SMALL)
    part = load_table(config(), built.root, "train", some_images(config(), built.root, 10, SMALL))
    assert len(part) == 10
    assert {part.key(row) for row in range(10)} < {whole.key(row) for row in range(len(whole))}
    assert some_images(config(), built.root, 10_000, SMALL) == SMALL
    assert some_images(config(), built.root, 3, replace(SMALL, where=None)).where.startswith("(split <> 'train'")


@pytest.mark.parametrize("rates", [(), (0.0,), (1e-3, 1e-3)])
def test_refuses_rates_that_cannot_be_meant(built, tmp_path, rates):
    with pytest.raises(UsageError, match="expected different ones above 0"):
        run_sweep(config(), built.root, tmp_path, rates=rates)
