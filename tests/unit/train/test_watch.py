"""What a run shows: event files, advice where it waits, averaged weights."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from radio_io.errors import TrainingError
from radio_train.device_speed import measured_flops, peak_flops
from radio_train.ema import AveragedWeights
from radio_train.model.config import PRESETS
from radio_train.model.mae import MaskedAutoencoder
from radio_train.run_log import RunLog, StepMetrics
from radio_train.tensorboard import EventFile
from radio_train.watch import WAIT_STEPS, WaitAdvisor, Watch

STEP = StepMetrics(
    step=0, epoch=0, epoch_step=0, total_steps=9, loss=0.5, lr=1e-3, grad_norm=2.0, images=10, tokens=100, seconds=2.0,
    images_per_s=5.0, tokens_per_s=50.0, data_wait=0.0, mfu=0.3,
)  # fmt: skip


def read_events(folder):
    pytest.importorskip("tensorboard", reason="the extra `train` is not installed (tensorboard)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder))
        return events.Reload()


def test_tensorboard_reads_numbers_and_pictures(tmp_path):
    import imagecodecs

    png = imagecodecs.png_encode(np.zeros((7, 9), np.uint8))
    file = EventFile(tmp_path, first_step=0)
    for step in range(300):
        file.numbers({"loss": 1 / (step + 1), "mfu": 0.25}, step)
    file.picture("reconstructions", png, 3)
    file.close()
    events = read_events(tmp_path)
    assert [(each.step, each.value) for each in events.Scalars("loss")][200] == (200, pytest.approx(1 / 201))
    assert len(events.Scalars("mfu")) == 300
    (image,) = events.Images("reconstructions")
    assert (image.step, image.width, image.height, image.encoded_image_string) == (3, 9, 7, png)


def test_a_resumed_run_replaces_the_steps_it_does_again(tmp_path):
    for first, last, value in ((0, 10, 1.0), (6, 8, 2.0)):
        file = EventFile(tmp_path, first_step=first)
        for step in range(first, last):
            file.numbers({"loss": value}, step)
        file.close()
    assert len(list(tmp_path.iterdir())) == 2
    found = [(each.step, each.value) for each in read_events(tmp_path).Scalars("loss")]
    assert found == [(step, 1.0) for step in range(6)] + [(6, 2.0), (7, 2.0)]


def test_advises_once_in_a_while_where_training_waits():
    advisor = WaitAdvisor(4)
    waiting = replace(STEP, data_wait=0.25)
    said = [advisor.advice(waiting) for _ in range(2 * WAIT_STEPS + 5)]
    texts = [text for text in said if text]
    assert len(texts) == 2
    assert "waited for data 25% of" in texts[0]
    assert "5.0 images/s came, the model could take 6.7" in texts[0]
    assert "radio doctor" in texts[0]


def test_does_not_advise_for_a_single_slow_step():
    advisor = WaitAdvisor(4)
    for number in range(3 * WAIT_STEPS):
        assert advisor.advice(replace(STEP, data_wait=0.5 if number == 30 else 0.01)) is None


def test_other_ranks_show_nothing():
    watch = Watch()
    watch.step(STEP)
    watch.epoch(0, 0.5, MaskedAutoencoder(PRESETS["tiny"]))
    watch.close()


def test_validation_lines_of_epochs_that_are_done_again_are_dropped(tmp_path):
    log = RunLog(tmp_path, first_step=0)
    for epoch in range(3):
        log.write_validation(epoch, 0.5)
    log.close()
    RunLog(tmp_path, first_step=0, first_epoch=1).close()
    assert (tmp_path / "validation.jsonl").read_text() == '{"epoch": 0, "validation_loss": 0.5}\n'


def test_averages_follow_the_weights_and_leave_them_alone():
    model = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(model.weight)
    averages = AveragedWeights(model, 0.5)
    torch.nn.init.ones_(model.weight)
    averages.update(1000)
    assert averages.tensors()["ema.weight"].tolist() == [[0.5, 0.5]]
    averages.update(0)  # the first steps count for more: a decay of 0.1
    assert averages.tensors()["ema.weight"].tolist() == [[pytest.approx(0.95)] * 2]
    with averages.in_place():
        assert model.weight.tolist() == [[pytest.approx(0.95)] * 2]
    assert model.weight.tolist() == [[1.0, 1.0]]
    other = AveragedWeights(model, 0.5)
    other.load(averages.tensors())
    assert torch.equal(other.tensors()["ema.weight"], averages.tensors()["ema.weight"])
    with pytest.raises(TrainingError, match="no averaged weights"):
        other.load({})


def test_the_peak_is_what_products_reach():
    cpu = torch.device("cpu")
    assert 1e9 < measured_flops(cpu, torch.float32) < 1e14
    assert peak_flops(cpu, "fp32") > 1e9
