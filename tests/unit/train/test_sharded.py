"""Ranks that divide the model (FSDP2) give what one rank with a whole model gives, and the same checkpoints."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.numpy import load_file

from packs_of_images import SMALL, images, make_pack
from radio_io.errors import ConfigError
from radio_io.loading.order import OrderState
from radio_train.checkpoint import TrainState, checkpoints, load_checkpoint, training_tensors, write_checkpoint
from radio_train.config import load_config
from radio_train.distributed import GradientBuffer, Ranks, own_part, whole, whole_tensors
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack
from radio_train.optimizer import make_optimizer
from radio_train.sharded import ShardedGradients, shard_model, whole_copy
from training_runs import (
    TOLERANCE,
    TWENTY_STEPS,
    assert_same_curve,
    count_lines,
    final_tensors,
    finish,
    losses,
    metrics,
    pretrain_command,
    start,
    stop_after,
)

AVERAGED = [*TWENTY_STEPS, "run.ema=0.9"]
BRIEF = ["run.max_steps=2", "data.step_images=6", "run.validation_images=2"]  # padding and bf16 are slow on CPUs
BINS, BF16 = [*BRIEF, "data.policy=bins"], [*BRIEF, "run.precision=bf16"]


@pytest.fixture(scope="module")
def one_rank(built, tmp_path_factory):
    run = tmp_path_factory.mktemp("sharded") / "one"
    finish(pretrain_command(built.root, run, settings=AVERAGED))
    return run


def validations(run):
    return [json.loads(line)["validation_loss"] for line in (run / "validation.jsonl").read_text().splitlines()]


def assert_same_checkpoint(run, other):
    """All tensors, those of the optimizer and the averages too; what Adam divides by is small, hence absolute."""
    found, wanted = (load_file(checkpoints(each)[-1] / "tensors.safetensors") for each in (run, other))
    assert {name: value.shape for name, value in found.items()} == {name: v.shape for name, v in wanted.items()}
    for name in wanted:
        largest = float(np.abs(wanted[name].astype(np.float64)).max())
        atol = (1e-3 if name.startswith("optimizer.") else TOLERANCE) * largest
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_divided_models_do_not_change_losses_weights_or_images(built, one_rank, tmp_path, ranks):
    run = tmp_path / "run"
    finish(pretrain_command(built.root, run, "--parallel", "fsdp", ranks=ranks, settings=AVERAGED))
    assert {line["ranks"] for line in metrics(run)} == {ranks}
    assert_same_curve(run, one_rank)
    assert_same_checkpoint(run, one_rank)
    np.testing.assert_allclose(validations(run), validations(one_rank), rtol=TOLERANCE)
    sheets = sorted(path.name for path in (run / "reconstructions").iterdir())
    assert sheets == sorted(path.name for path in (one_rank / "reconstructions").iterdir())
    assert ranks > 1 or final_tensors(run) == final_tensors(one_rank)


@pytest.mark.slow
def test_a_run_goes_on_divided_or_whole(built, one_rank, tmp_path):
    run = tmp_path / "run"
    for parallel, ranks, until in (("fsdp", 2, 5), ("ddp", 2, 9), ("fsdp", 4, 13), ("ddp", 1, 20)):
        command = pretrain_command(built.root, run, "--resume", "--parallel", parallel, ranks=ranks, settings=AVERAGED)
        stop_after(command, run, until, last=until == 20)
    assert len({line["ranks"] for line in metrics(run)}) == 3
    assert_same_curve(run, one_rank)
    assert_same_checkpoint(run, one_rank)


@pytest.mark.slow
def test_a_kill_of_divided_ranks_changes_no_bit(built, tmp_path):
    settings = ["run.max_steps=16", "run.save_every_steps=2"]
    whole_run, killed = tmp_path / "whole", tmp_path / "killed"
    options = ("--resume", "--parallel", "fsdp")
    finish(pretrain_command(built.root, whole_run, *options, ranks=2, settings=settings))
    command = pretrain_command(built.root, killed, *options, ranks=2, settings=settings)
    for steps in (3, 8):
        process = start(command)
        while process.poll() is None and count_lines(killed) < steps:
            time.sleep(0.01)
        ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(ranks[-1]), signal.SIGKILL)  # torchrun then ends the other one
        process.communicate()
        assert count_lines(killed) < 16
    finish(command)
    assert losses(killed) == losses(whole_run)
    assert final_tensors(killed) == final_tensors(whole_run)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [BINS, BF16], ids=["bins", "bf16"])
def test_bins_and_half_precision_are_those_of_whole_models(built, tmp_path, settings):
    runs = tmp_path / "ddp", tmp_path / "fsdp"
    for run in runs:
        command = pretrain_command(built.root, run, "--parallel", run.name, ranks=2, settings=settings)
        finish(command)
    # bf16 rounds each product, so a last bit of a weight can become a bit of bf16, 2**-8 of one value among thousands.
    np.testing.assert_allclose(losses(runs[0]), losses(runs[1]), rtol=1e-3 if settings is BF16 else TOLERANCE)


@pytest.fixture
def packs():
    """Two packs of a step; the last has no image, as ranks get where the number of packs does not divide."""
    every = images((3, 4), (5, 2), (4, 4))
    return [make_pack(chosen, tokens=40, max_images=3, step=every) for chosen in (every[:2], every[2:], [])]


@pytest.fixture
def one_of_one(tmp_path):
    """A group of one process: divides nothing, through the same code."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.FileStore(str(tmp_path / "store"), 1))
    yield Ranks()
    dist.destroy_process_group()


def two_models():
    torch.manual_seed(3)
    model = MaskedAutoencoder(SMALL)
    other = MaskedAutoencoder(SMALL)
    other.load_state_dict(model.state_dict())
    return model, other


def test_divided_gradients_are_summed_scaled_and_clipped(one_of_one, packs):
    model, plain = two_models()
    shard_model(model, one_of_one)
    divided, row = ShardedGradients(model, one_of_one), GradientBuffer(plain, one_of_one)
    for number, pack in enumerate(packs):
        for each in (model, plain):
            each(mask_pack(pack, SMALL, seed=number, epoch=0)).backward()
    for gradients in (divided, row):
        gradients.reduce(0.5)
    norm = row.clip(0)
    assert divided.clip(0) == pytest.approx(norm, rel=1e-5)
    assert divided.clip(norm / 4) == pytest.approx(norm, rel=1e-5)
    row.clip(norm / 4)
    for found, wanted in zip(model.parameters(), plain.parameters(), strict=True):
        assert found.requires_grad == wanted.requires_grad
        if wanted.requires_grad:
            torch.testing.assert_close(whole(found.grad), wanted.grad, rtol=1e-4, atol=1e-7 * norm)
    divided.clear()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_divided_model_reads_and_writes_the_same_checkpoints(one_of_one, packs, tmp_path):
    config = load_config("tiny").optimizer
    model, plain = two_models()
    shard_model(model, one_of_one)
    both = [(each, make_optimizer(each, config)) for each in (model, plain)]
    for each, optimizer in both:
        each(mask_pack(packs[0], SMALL, seed=0, epoch=0)).backward()
        optimizer.step()
    first, second = (whole_tensors(training_tensors(*each), keep=True) for each in both)
    assert {name: value.shape for name, value in first.items()} == {name: v.shape for name, v in second.items()}
    assert whole_tensors(training_tensors(*both[0]), keep=False) == {}
    state = TrainState(global_step=1, order=OrderState(seed=0, step_images=8), dataset_id="a", selection="b")
    folder = write_checkpoint(tmp_path, state, first, keep=1)
    model_2, plain_2 = two_models()
    shard_model(model_2, one_of_one)
    for other in (model_2, plain_2):
        optimizer = make_optimizer(other, config)
        load_checkpoint(folder, other, optimizer)
        for name, value in whole_tensors(training_tensors(other, optimizer), keep=True).items():
            assert torch.equal(value, first[name]), name
    before = torch.get_rng_state()
    copy = whole_copy(model_2, one_of_one)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, first[f"model.{name}"]) for name, value in copy.state_dict().items())
    assert own_part(torch.ones(2), torch.ones(2)).tolist() == [1, 1]


def test_a_pack_without_images_has_gradients_of_0(packs):
    model, _ = two_models()
    loss = model(mask_pack(packs[-1], SMALL, seed=0, epoch=0, longest=37))
    loss.backward()
    assert packs[-1].num_images == 0
    assert loss.item() == 0
    assert all(not parameter.grad.any() for parameter in model.parameters() if parameter.requires_grad)


def test_refuses_what_cannot_be_divided():
    with pytest.raises(ConfigError, match=r"run.parallel is 'tp'; expected one of ddp, fsdp"):
        load_config("tiny", assignments=["run.parallel=tp"])
    with pytest.raises(ConfigError, match="leave one of them out"):
        load_config("tiny", assignments=["run.parallel=fsdp", "run.compile=true"])
