"""Several ranks give what one gives; one that is killed gives what it would have given."""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest
import torch

from radio_io.errors import UsageError
from radio_train.distributed import GradientBuffer, Ranks, ranks_of_environment
from training_runs import (
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


@pytest.fixture(scope="module")
def one_rank(built, tmp_path_factory):
    run = tmp_path_factory.mktemp("ranks") / "one"
    finish(pretrain_command(built.root, run, settings=TWENTY_STEPS))
    return run


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_do_not_change_losses_weights_or_images(built, one_rank, tmp_path, ranks):
    run = tmp_path / "run"
    finish(pretrain_command(built.root, run, ranks=ranks, settings=TWENTY_STEPS))
    assert {line["ranks"] for line in metrics(run)} == {ranks}
    assert_same_curve(run, one_rank)


@pytest.mark.slow
def test_ranks_drop_the_same_background(built, tmp_path):
    dataset = tmp_path / "shards"
    shutil.copytree(built.root, dataset)
    settings = ["run.max_steps=6"]
    two = pretrain_command(dataset, tmp_path / "two", "--drop-background", ranks=2, settings=settings)
    assert "radio train background with the same options" in finish(two, code=1)
    finish(pretrain_command(dataset, tmp_path / "one", "--drop-background", settings=settings))
    finish(two)
    assert all(line["dropped"] > 0 for line in metrics(tmp_path / "one"))
    assert_same_curve(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_equal_ranks_give_equal_bits(built, tmp_path):
    runs = tmp_path / "first", tmp_path / "second"
    for run in runs:
        finish(pretrain_command(built.root, run, ranks=2, settings=["run.max_steps=6"]))
    assert losses(runs[0]) == losses(runs[1])
    assert final_tensors(runs[0]) == final_tensors(runs[1])


@pytest.mark.slow
def test_a_run_goes_on_with_other_numbers_of_ranks(built, one_rank, tmp_path):
    run = tmp_path / "run"
    for ranks, until in ((2, 7), (4, 13), (1, 20)):
        # Ended by a step limit, as by a preemption; the schedule of the rate is that of the whole run.
        command = pretrain_command(built.root, run, "--resume", ranks=ranks, settings=TWENTY_STEPS)
        stop_after(command, run, until, last=until == 20)
    assert len({line["ranks"] for line in metrics(run)}) == 3
    assert_same_curve(run, one_rank)


@pytest.mark.slow
def test_twenty_kills_change_no_bit(built, tmp_path):
    settings = ["run.max_steps=60", "run.save_every_steps=2"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(pretrain_command(built.root, whole, settings=settings))
    moments = random.Random(6)
    command = pretrain_command(built.root, killed, "--resume", settings=settings)
    kills = 0
    while kills < 20:
        assert count_lines(killed) < 60, "the run is over before it was killed often enough"
        process = start(command)
        steps = count_lines(killed)
        while process.poll() is None and count_lines(killed) <= steps and kills % 4:
            time.sleep(0.01)  # three of four die while they train, the others while they begin
        try:
            process.wait(timeout=moments.uniform(0.0, 1.0) if kills % 4 else moments.uniform(0.5, 4.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
    finish(command)
    assert losses(killed) == losses(whole)
    assert [line["images_digest"] for line in metrics(killed)] == [line["images_digest"] for line in metrics(whole)]
    assert final_tensors(killed) == final_tensors(whole)


def test_the_row_of_gradients_is_what_backward_fills():
    torch.manual_seed(0)
    model, plain = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    plain.load_state_dict(model.state_dict())
    gradients = GradientBuffer(model, Ranks())
    for _ in range(2):
        x = torch.randn(5, 3)
        model(x).square().sum().backward()
        plain(x).square().sum().backward()
    gradients.reduce(0.5)
    for parameter, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad * 0.5, rtol=0, atol=0)
    norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), float("inf")) / 2
    assert gradients.clip(0) == pytest.approx(float(norm))
    assert gradients.clip(0.1) == pytest.approx(float(norm))
    assert float(torch.linalg.vector_norm(gradients.row)) == pytest.approx(0.1)
    gradients.clear()
    assert not any(parameter.grad.any() for parameter in model.parameters())


def test_one_rank_needs_no_environment(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ranks_of_environment() == Ranks()
    assert Ranks().total([1.5, 2]) == [1.5, 2]


def test_reads_and_refuses_the_environment_of_torchrun(monkeypatch):
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert ranks_of_environment() == Ranks(rank=3, world_size=4, local_rank=1)
    assert not ranks_of_environment().is_first
    monkeypatch.setenv("RANK", "three")
    with pytest.raises(UsageError, match="expected numbers"):
        ranks_of_environment()
