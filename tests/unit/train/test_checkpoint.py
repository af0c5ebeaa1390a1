"""Checkpoints: kept, refused, written in the background, ended cleanly by signals."""

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch

import radio_train.checkpoint as module
from radio_io.errors import StorageError, TrainingError, UsageError
from radio_io.loading.order import OrderState
from radio_train.checkpoint import (
    CheckpointWriter,
    TrainState,
    best_checkpoint,
    checkpoints,
    load_checkpoint,
    read_state,
    training_tensors,
    write_checkpoint,
)
from radio_train.resume import order_to_resume, require_same
from radio_train.stop_signals import StopSignals
from training_runs import finish, metrics, pretrain_command, start

STATE = TrainState(
    global_step=0,
    order=OrderState(seed=0, step_images=8),
    dataset_id="a",
    selection="b",
    config={
        "model": {"depth": 4, "mask_ratio": 0.75},
        "data": {"workers": 1, "scale": "bits"},
        "optimizer": {"base_rate": 1.0},
    },
)
ONE = {"model.weight": torch.zeros(2)}


def save(run, step, loss=None, keep=2):
    return write_checkpoint(run, replace(STATE, global_step=step, validation_loss=loss), ONE, keep=keep)


def changed(section, **values):
    return replace(STATE, config=STATE.config | {section: STATE.config[section] | values})


def test_keeps_the_last_and_the_best(tmp_path):
    for step, loss in enumerate((None, 0.9, 0.2, None, 0.5, None)):
        save(tmp_path, step, loss)
    assert [read_state(folder)["global_step"] for folder in checkpoints(tmp_path)] == [2, 4, 5]
    assert best_checkpoint(tmp_path) == checkpoints(tmp_path)[0]
    save(tmp_path, 6, 0.1)
    save(tmp_path, 7)
    assert [read_state(folder)["global_step"] for folder in checkpoints(tmp_path)] == [6, 7]


def test_a_half_written_checkpoint_is_none(tmp_path):
    save(tmp_path, 1)
    half = tmp_path / "checkpoints" / ".tmp-1-step-00000002"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"half")
    assert len(checkpoints(tmp_path)) == 1
    save(tmp_path, 3)
    assert not half.exists()


def test_says_that_a_checkpoint_is_damaged_or_of_another_version(tmp_path):
    model = torch.nn.Linear(2, 2)
    folder = write_checkpoint(
        tmp_path, STATE, {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}, keep=1
    )
    load_checkpoint(folder, model)
    data = bytearray((folder / "tensors.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "tensors.safetensors").write_bytes(data)
    with pytest.raises(TrainingError, match="is damaged; delete it"):
        load_checkpoint(folder, model)
    state = json.loads((folder / "state.json").read_text()) | {"format_version": 99}
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(TrainingError, match="format version 99"):
        load_checkpoint(folder, model)
    (folder / "state.json").write_text("{")
    with pytest.raises(TrainingError, match="is damaged"):
        load_checkpoint(folder, model)
    assert best_checkpoint(tmp_path) is None


def test_model_optimizer_and_generator_come_back(tmp_path):
    torch.manual_seed(3)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    tensors = {name: tensor.clone() for name, tensor in training_tensors(model, optimizer).items()}
    folder = write_checkpoint(tmp_path, STATE, tensors, keep=1)
    expected = torch.rand(3)
    other = torch.nn.Linear(4, 2)
    fresh = torch.optim.AdamW(other.parameters(), lr=0.1)
    assert load_checkpoint(folder, other, fresh) == STATE
    assert torch.equal(torch.rand(3), expected)
    found = training_tensors(other, fresh)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors if name != module.RNG_NAME)


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    gate, weight = threading.Event(), torch.zeros(2)

    def slow(run, state, tensors, *, keep, original=write_checkpoint):
        assert gate.wait(10)
        return original(run, state, tensors, keep=keep)

    monkeypatch.setattr(module, "write_checkpoint", slow)
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.save(STATE, {"model.weight": weight})
    weight.fill_(7)  # a step later
    assert not checkpoints(tmp_path)
    gate.set()
    writer.wait()
    assert not module.read_tensors(checkpoints(tmp_path)[0])["model.weight"].any()


def test_a_failed_save_is_not_silent(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise StorageError("the disk is full")

    monkeypatch.setattr(module, "write_checkpoint", full)
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.save(STATE, ONE)
    with pytest.raises(StorageError, match="disk is full"):
        writer.save(STATE, ONE)
    writer.wait()  # said once


@pytest.mark.parametrize(
    ("wanted", "allow", "message"),
    [
        (replace(STATE, dataset_id="c"), (), r"dataset was a, now c; .*--allow dataset"),
        (replace(STATE, selection="c"), ("dataset",), r"selected images was b, now c; .*--allow images"),
        (changed("data", scale="percentile"), (), r"data\.scale was bits, now percentile; .*--allow data"),
        (changed("model", mask_ratio=0.5), (), r"model\.mask_ratio was 0\.75, now 0\.5; .*--allow model"),
        (changed("model", depth=2), ("model", "data"), r"model\.depth was 4, now 2; start another run with --run$"),
        (replace(STATE, order=OrderState(seed=1, step_images=8)), ("data",), r"run\.seed was 0, now 1"),
    ],
)
def test_refuses_what_differs_and_names_it(tmp_path, wanted, allow, message):
    folder = save(tmp_path, 3)
    with pytest.raises(TrainingError, match=message):
        require_same(folder, wanted, allow)


@pytest.mark.parametrize(
    ("wanted", "allow"),
    [
        (replace(STATE, dataset_id="c", selection="d"), ("dataset", "images")),
        (changed("model", mask_ratio=0.5), ("model",)),
        (changed("data", workers=9), ()),
        (changed("optimizer", base_rate=2.0), ()),
    ],
)
def test_accepts_what_is_allowed_or_changes_nothing(tmp_path, wanted, allow):
    assert require_same(save(tmp_path, 3), wanted, allow).global_step == 3


def test_allow_knows_its_kinds(tmp_path):
    with pytest.raises(UsageError, match="expected one of dataset, images, data, model"):
        require_same(save(tmp_path, 3), STATE, ("everything",))


def test_goes_on_in_the_next_epoch_where_this_one_has_become_too_short():
    state = replace(STATE, global_step=9, order=OrderState(seed=0, epoch=1, step=4, step_images=8))
    assert order_to_resume(state, STATE, 40).order == state.order
    assert order_to_resume(state, STATE, 32).order == OrderState(seed=0, epoch=2, step=0, step_images=8)
    assert order_to_resume(state, STATE, 32).global_step == 9


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_noted_and_handlers_put_back(number):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert not signals.requested
        os.kill(os.getpid(), number)
        assert signals.requested
    assert signal.getsignal(number) is before


def test_a_second_interrupt_ends_at_once():
    with StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "number"), [(1, signal.SIGUSR1), (2, signal.SIGTERM)])
def test_a_signal_saves_and_ends_cleanly(built, tmp_path, ranks, number):
    run = tmp_path / "run"
    settings = ["run.max_steps=5000", "run.save_every_steps=5000"]
    process = start(pretrain_command(built.root, run, ranks=ranks, settings=settings))
    while process.poll() is None and not (run / "metrics.jsonl").exists():
        time.sleep(0.05)
    time.sleep(1)
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 or ranks > 1, output
    assert "stopped early; go on with the same command and --resume" in output
    steps = read_state(checkpoints(run)[-1])["global_step"]
    assert steps == len(metrics(run)) == json.loads((run / "summary.json").read_text())["steps"]
    finish(pretrain_command(built.root, run, "--resume", settings=[f"run.max_steps={steps + 2}"]))
    assert len(metrics(run)) == steps + 2


def test_a_run_that_was_killed_before_its_first_checkpoint_can_be_resumed(built, tmp_path):
    from radio_train.config import load_config
    from radio_train.pretrain import run_pretrain
    from radio_train.run_folder import Selection

    run = tmp_path / "run"
    config = load_config("tiny", assignments=["run.max_steps=1", "data.step_images=4", "data.token_budget=1400"])
    run_pretrain(config, built.root, run, selection=Selection(where="rows <= 300"))
    shutil.rmtree(run / "checkpoints")
    summary = run_pretrain(config, built.root, run, selection=Selection(where="rows <= 300"), resume=True)
    assert summary.steps == 1
    assert len(metrics(run)) == 1
