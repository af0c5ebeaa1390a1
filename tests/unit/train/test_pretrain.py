"""Pre-training end to end on the shared small dataset."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from radio_io.errors import ConfigError, TrainingError
from radio_io.layout import DatasetLayout
from radio_io.loading.torch_loader import PackLoader
from radio_train.checkpoint import checkpoints, read_state, read_tensors
from radio_train.config import load_config
from radio_train.import_weights import load_weights
from radio_train.model.masking import mask_pack
from radio_train.pretrain import run_pretrain
from radio_train.replay import images_of_run_step
from radio_train.run_folder import Selection, find_checkpoint, load_model, load_table, loader_config, read_run

SMALL = Selection(where="rows <= 600 and columns <= 600")
FAST = ["data.step_images=16", "data.token_budget=2048", "run.precision=fp32", "optimizer.base_rate=2e-3"]


def tiny(*assignments):
    return load_config("tiny", assignments=[*FAST, *assignments])


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(built, tmp_path_factory):
    run = tmp_path_factory.mktemp("run") / "tiny"
    summary = run_pretrain(tiny("run.max_steps=60"), built.root, run, selection=SMALL)
    return run, summary


def test_the_loss_falls(trained):
    run, summary = trained
    values = losses(run)
    assert len(values) == summary.steps == 60
    assert np.mean(values[-5:]) < 0.6 * np.mean(values[:5])


def test_writes_what_a_run_folder_holds(trained):
    run, _ = trained
    names = {"config.json", "metrics.jsonl", "summary.json", "checkpoints", "reconstructions"}
    assert names <= {path.name for path in run.iterdir()}
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert {"step", "epoch", "loss", "lr", "images_per_s", "tokens_per_s", "data_wait"} <= line.keys()
    assert 0 <= line["data_wait"] <= 1


def test_predictions_differ_between_masked_patches_and_tables_are_not_zero(trained, built):
    run, _ = trained
    config, _, selection = read_run(run)
    model = load_model(run, config)
    for table in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        assert table[0, 1:].abs().sum(1).min() > 0
    images = load_table(config, built.root, "train", selection)
    from radio_io.loading.order import OrderState

    with PackLoader(built.root, images, loader_config(config), OrderState(seed=0, step_images=4)) as loader:
        pack = next(iter(loader))
    masked = mask_pack(pack, config.model, seed=0, epoch=0)
    with torch.no_grad():
        predicted = model.predict(masked)[masked.weight > 0]
    assert predicted.std(0).mean() > 0.01


def test_every_image_is_seen_once_an_epoch_and_replay_agrees(trained, built):
    run, _ = trained
    config, _, selection = read_run(run)
    images = load_table(config, built.root, "train", selection)
    steps = -(-len(images) // 16)
    keys = [key for step in range(steps) for key in images_of_run_step(run, step).keys]
    assert sorted(keys) == sorted(images.key(row) for row in range(len(images)))
    assert images_of_run_step(run, 0).keys != images_of_run_step(run, steps).keys


def test_refuses_a_used_run_folder_and_another_model(trained, built):
    run, _ = trained
    before = (run / "config.json").read_bytes()
    with pytest.raises(TrainingError, match="holds a run already"):
        run_pretrain(tiny(), built.root, run, selection=SMALL)
    with pytest.raises(TrainingError, match=r"model\.depth was 4, now 2"):
        run_pretrain(tiny("model.depth=2"), built.root, run, selection=SMALL, resume=True)
    with pytest.raises(TrainingError, match="selected images"):
        run_pretrain(tiny(), built.root, run, selection=Selection(where="rows <= 150"), resume=True)
    assert (run / "config.json").read_bytes() == before


def test_a_killed_run_resumes_to_the_same_weights(built, tmp_path):
    settings = ["run.max_steps=12", "run.save_every_steps=2", "run.keep_checkpoints=3"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_pretrain(tiny(*settings), built.root, whole, selection=SMALL)
    assert SMALL.where is not None
    command = [
        str(Path(sys.executable).parent / "radio"),
        "train",
        "pretrain",
        "--preset",
        "tiny",
        "--where",
        SMALL.where,
    ]
    command += ["--dataset", str(built.root), "--run", str(killed)]
    for assignment in [*FAST, *settings]:
        command += ["--set", assignment]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not checkpoints(killed):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run_pretrain(tiny(*settings), built.root, killed, selection=SMALL, resume=True)
    assert losses(killed) == losses(whole)
    for name in ("tensors.safetensors",):
        assert (checkpoints(killed)[-1] / name).read_bytes() == (checkpoints(whole)[-1] / name).read_bytes()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("run.max_step=3", "did you mean run.max_steps"),
        ("run.max_steps=many", "expected a int"),
        ("data.policy=padded", "expected one of packed, bins"),
        ("optimizer", "NAME=VALUE"),
        ("model=3", "is a section"),
    ],
)
def test_refuses_what_cannot_be_meant(assignment, message):
    with pytest.raises(ConfigError, match=message):
        load_config("tiny", assignments=[assignment])


def test_bins_policy_trains_too(built, tmp_path):
    config = tiny(
        "data.policy=bins",
        "data.token_budget=5200",
        "run.max_steps=1",
        "data.step_images=2",
        "run.validation_images=2",
        "model.depth=1",
    )
    summary = run_pretrain(config, built.root, tmp_path / "bins", selection=Selection(where="rows <= 150"))
    assert summary.steps == 1


def test_a_step_does_not_count_the_time_of_validation(built, tmp_path, monkeypatch):
    from radio_train import trainer

    passed_s = [0.0]  # a clock that validation moves on by much more than a busy machine could

    def slow(*arguments):
        passed_s[0] += 5_000

    monkeypatch.setattr(trainer, "validation_loss", slow)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(perf_counter=lambda: time.perf_counter() + passed_s[0]))
    run = tmp_path / "run"
    run_pretrain(tiny("run.max_steps=4", "data.step_images=40"), built.root, run, selection=SMALL)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["epoch"] > 0
    assert max(row["seconds"] for row in rows) < 5_000


def test_resuming_a_finished_run_keeps_its_summary(built, tmp_path):
    run = tmp_path / "run"
    first = run_pretrain(tiny("run.max_steps=3"), built.root, run, selection=SMALL)
    again = run_pretrain(tiny("run.max_steps=3"), built.root, run, selection=SMALL, resume=True)
    assert (again.steps, again.first_loss, again.last_loss) == (first.steps, first.first_loss, first.last_loss)
    assert json.loads((run / "summary.json").read_text(), parse_constant=pytest.fail)["steps"] == 3


def test_a_loss_that_is_no_number_ends_the_run_with_a_replay_command(built, tmp_path):
    config = tiny("optimizer.base_rate=1e30", "run.warmup_epochs=0", "optimizer.clip_norm=0", "run.max_steps=9")
    with pytest.raises(TrainingError, match=r"of step \d+ is (nan|inf); .*radio replay .*run --step \d+"):
        run_pretrain(config, built.root, tmp_path / "run", selection=SMALL)
    assert not checkpoints(tmp_path / "run")


def test_averaged_weights_are_saved_resumed_and_exported(built, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    few = Selection(where="rows <= 300")
    run_pretrain(tiny("run.max_steps=6", "run.ema=0.9"), built.root, whole, selection=few)
    for steps, resume in ((3, False), (6, True)):
        config = tiny(f"run.max_steps={steps}", "run.ema=0.9", "run.warmup_epochs=100", "optimizer.min_rate=2e-3")
        run_pretrain(config, built.root, parts, selection=few, resume=resume)
    config, _, _ = read_run(whole)
    tensors = read_tensors(checkpoints(whole)[-1])
    model, imported = load_model(whole, config), load_weights(whole)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter, tensors[f"ema.{name}"])
            assert torch.equal(imported[name], tensors[f"ema.{name}"])
    assert not torch.equal(tensors["ema.vit.layernorm.weight"], tensors["model.vit.layernorm.weight"])
    assert "ema.vit.layernorm.weight" in read_tensors(checkpoints(parts)[-1])


def test_begins_with_weights_of_another_run(trained, built, tmp_path):
    run, _ = trained
    said = []
    config = tiny("run.max_steps=1", "optimizer.base_rate=1e-9")
    first = run_pretrain(config, built.root, tmp_path / "run", selection=SMALL, init=run, note=said.append)
    assert first.first_loss < (losses(run)[0] + losses(run)[-1]) / 2
    assert "began with" in said[0]


def test_finds_the_best_checkpoint(trained):
    run, _ = trained
    known = [json.loads(line) for line in (run / "validation.jsonl").read_text().splitlines()]
    best = read_state(find_checkpoint(run, "best"))
    assert best["validation_loss"] == min(each["validation_loss"] for each in known)
    assert find_checkpoint(run, "60") == find_checkpoint(run, "last") == checkpoints(run)[-1]
    with pytest.raises(TrainingError, match="there are last, best and the steps"):
        find_checkpoint(run, "7000")


def test_damaged_images_leave_the_loss_a_mean(built, tmp_path):
    config = tiny("run.max_steps=1", "data.step_images=24", "optimizer.base_rate=0.0")
    whole = run_pretrain(config, built.root, tmp_path / "whole", selection=SMALL)
    shutil.copytree(built.root, tmp_path / "damaged")
    table = load_table(config, built.root, "train", SMALL)
    for row in range(0, len(table), 2):
        with DatasetLayout(tmp_path / "damaged").tar_path(table.shard_ids[table.shards[row]]).open("r+b") as shard:
            shard.seek(int(table.offsets[row]))
            shard.write(bytes(int(table.sizes[row])))
    part = run_pretrain(config, tmp_path / "damaged", tmp_path / "part", selection=SMALL)
    assert part.images < whole.images
    assert part.bad_images > 4
    # A mean over the images that are left, not a sum in which others are missing.
    assert part.first_loss == pytest.approx(whole.first_loss, rel=0.15)
