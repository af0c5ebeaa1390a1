"""Vectors of images: right, joined by key, resumable."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import radio_train.embed as embedding
from radio_io.errors import UsageError
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.table import load_image_table
from radio_io.loading.torch_loader import PackLoader
from radio_train.embed import EmbedConfig, embed, embed_pack
from radio_train.export import ExportFormat, export_model
from radio_train.model.config import PRESETS
from radio_train.model.mae import MaskedAutoencoder

TINY = replace(PRESETS["tiny"], depth=1, decoder_depth=1)
SMALL_ONES = "rows * columns < 60000"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = MaskedAutoencoder(TINY)
    export_model(model, tmp_path / "weights", ExportFormat.SAFETENSORS)
    return tmp_path / "weights"


def test_every_image_gets_the_vectors_it_has_alone(built, weights, tmp_path):
    out = tmp_path / "vectors.parquet"
    summary = embed(weights, built.root, out, EmbedConfig(precision=32, where=SMALL_ONES, token_budget=2048))
    table = load_image_table(built.root, None, where=SMALL_ONES)
    found = {row["key"]: row for row in pq.read_table(out).to_pylist()}
    assert summary.images == len(found) == len(table)
    assert summary.bad_images == 0
    model = embedding._load(weights)
    config = LoaderConfig(patch_size=TINY.patch_size, token_budget=300, max_images=1, shuffle=False, mask_ratio=0.0)
    with PackLoader(built.root, table, config, OrderState(seed=0, step_images=8)) as loader:
        for pack in loader:
            cls, mean = embed_pack(model, pack)
            np.testing.assert_allclose(found[pack.keys[0]]["cls"], cls[0], atol=1e-4)
            np.testing.assert_allclose(found[pack.keys[0]]["mean"], mean[0], atol=1e-4)
            if pack.is_last_of_step:
                break


def test_an_interrupted_run_goes_on_and_gives_the_same_file(built, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "PART_IMAGES", 16)
    whole, broken = tmp_path / "whole.parquet", tmp_path / "broken.parquet"
    few = EmbedConfig(where=SMALL_ONES, token_budget=2048)
    embed(weights, built.root, whole, few)
    steps, broken_once = [], [False]

    def fails_once(model, pack, original=embed_pack):
        steps.append(pack.step)
        if pack.step == 2 and not broken_once[0]:
            broken_once[0] = True
            raise KeyboardInterrupt
        return original(model, pack)

    monkeypatch.setattr(embedding, "embed_pack", fails_once)
    with pytest.raises(KeyboardInterrupt):
        embed(weights, built.root, broken, few)
    assert not broken.exists()
    steps.clear()
    embed(weights, built.root, broken, few)
    assert min(steps) == 2
    assert broken.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.parts"))


def test_refuses_parts_of_other_settings(built, weights, tmp_path):
    out = tmp_path / "vectors.parquet"
    parts = tmp_path / "vectors.parquet.parts"
    parts.mkdir()
    (parts / "identity.json").write_text("{}")
    with pytest.raises(UsageError, match="other weights"):
        embed(weights, built.root, out, EmbedConfig(where=SMALL_ONES))


def test_duckdb_joins_the_vectors_by_key(built, weights, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    out = tmp_path / "vectors.parquet"
    embed(weights, built.root, out, EmbedConfig(split="train", where=SMALL_ONES, token_budget=2048))
    count = duckdb.sql(f"SELECT count(DISTINCT key), min(len(cls)), max(len(mean)) FROM '{out}'").fetchall()[0]
    assert count == (len(load_image_table(built.root, "train", where=SMALL_ONES)), TINY.hidden_size, TINY.hidden_size)


def test_refuses_weights_that_do_not_say_their_sizes(built, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"config\.json"):
        embed(tmp_path / "w.safetensors", built.root, tmp_path / "out.parquet")
