"""`--drop-background` in training: counted at the first use, in the log, compared by a resume, shown in sheets."""

import itertools
import json
import shutil

import numpy as np
import pytest
import torch

from radio_cli.loader_options import loader_assignments
from radio_io.errors import ConfigError, TrainingError, UsageError
from radio_io.loading.background_counts import with_kept_now
from radio_io.loading.order import OrderState
from radio_io.loading.torch_loader import PackLoader
from radio_io.progress import NoProgress
from radio_train.background import count_selection, prepare_background
from radio_train.config import load_config
from radio_train.distributed import Ranks
from radio_train.error_map import patch_errors
from radio_train.model.masking import mask_pack
from radio_train.pretrain import run_pretrain
from radio_train.replay import images_of_run_step
from radio_train.run_folder import Selection, load_model, load_table, loader_config
from radio_train.shown_images import patches_of, picture, shown_packs
from radio_train.validation import VALIDATION_SEED, validation_loss

SMALL = Selection(where="rows <= 600 and columns <= 600")
SETTINGS = ["data.step_images=16", "data.token_budget=2048", "run.max_steps=6", "run.save_every_steps=3"]
DROPPING = ["data.drop_background=true", "data.background_permille=100"]


def tiny(*assignments):
    return load_config("tiny", assignments=[*SETTINGS, *assignments])


class Recorded(NoProgress):
    def __init__(self):
        self.stages = []

    def start(self, stage, *, total, unit):
        self.stages.append((stage, total, unit))


@pytest.fixture(scope="module")
def dataset(built, tmp_path_factory):
    root = tmp_path_factory.mktemp("dropping") / "shards"
    shutil.copytree(built.root, root)
    return root


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    run = tmp_path_factory.mktemp("run") / "tiny"
    progress, notes, seen = Recorded(), [], []
    summary = run_pretrain(
        tiny(*DROPPING), dataset, run, selection=SMALL, progress=progress, note=notes.append, report=seen.append
    )
    return run, summary, progress, notes, seen


def test_counts_at_the_first_use_and_says_what_it_saves(trained, dataset, tmp_path):
    run, summary, progress, notes, seen = trained
    sizes = [len(load_table(tiny(), dataset, split, SMALL)) for split in ("train", "val")]
    assert progress.stages == [("background", size, "images") for size in sizes]
    assert any("counting the background" in note for note in notes)
    counted = count_selection(tiny(*DROPPING), dataset, SMALL)
    assert (counted.images, counted.counted) == (sizes[0], 0)
    assert 0.05 < counted.share < 0.95
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [each["dropped"] for each in steps] == [each.dropped for each in seen]
    epoch = [each for each in steps if each["epoch"] == 0]
    assert len({each["epoch"] for each in steps}) > 1
    assert sum(each["tokens"] for each in epoch) == counted.tokens
    assert sum(each["dropped"] for each in epoch) == counted.all_tokens - counted.tokens
    all_tokens = sum(each["tokens"] + each["dropped"] for each in steps)
    assert summary.dropped == pytest.approx(sum(each["dropped"] for each in steps) / all_tokens)
    again = Recorded()
    once = tiny(*DROPPING, "run.max_steps=1", "run.validation_images=2")
    assert run_pretrain(once, dataset, tmp_path / "second", selection=SMALL, progress=again).dropped > 0
    assert again.stages == []


@pytest.mark.slow
def test_steps_have_the_images_that_they_have_without_it(trained, dataset, tmp_path):
    run, *_ = trained
    run_pretrain(tiny("run.max_steps=3", "run.validation_images=2"), dataset, tmp_path / "whole", selection=SMALL)
    found, wanted = (
        [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()][:3]
        for each in (run, tmp_path / "whole")
    )
    assert [each["images_digest"] for each in found] == [each["images_digest"] for each in wanted]
    assert [each["tokens"] + each["dropped"] for each in found] == [each["tokens"] for each in wanted]
    assert images_of_run_step(run, 2).keys == images_of_run_step(tmp_path / "whole", 2).keys


def test_a_resume_compares_the_option(trained, dataset):
    run, *_ = trained
    with pytest.raises(TrainingError, match=r"data\.drop_background was True, now False"):
        run_pretrain(tiny(), dataset, run, selection=SMALL, resume=True)
    with pytest.raises(TrainingError, match=r"data\.background_permille was 100, now 101"):
        run_pretrain(tiny(*DROPPING, "data.background_permille=101"), dataset, run, selection=SMALL, resume=True)


def test_a_checkpoint_from_before_the_option_trained_on_all_patches(trained, dataset, tmp_path):
    run, *_ = trained
    old = tmp_path / "old"
    shutil.copytree(run, old)
    for state in old.glob("checkpoints/*/state.json"):
        values = json.loads(state.read_text())
        for name in ("drop_background", "background_permille"):
            del values["config"]["data"][name]
        state.write_text(json.dumps(values))
    with pytest.raises(TrainingError, match=r"data\.drop_background was False, now True"):
        run_pretrain(tiny(*DROPPING), dataset, old, selection=SMALL, resume=True)


@pytest.mark.slow
def test_sheets_leave_the_background_black_and_validation_leaves_it_out(trained, dataset):
    run, *_ = trained
    config = tiny(*DROPPING)
    model = load_model(run, config)
    _, packs = shown_packs(config, dataset, SMALL, images=4, seed=1)
    _, whole = shown_packs(tiny(), dataset, SMALL, images=4, seed=1)
    wanted = {key: (pack, place) for pack in whole for place, key in enumerate(pack.keys)}
    fewer = 0
    for pack in packs:
        errors = patch_errors(model, pack, config, masks=2, seed=0)
        for image, key in enumerate(pack.keys):
            found, all_of = (
                picture(patches_of(pack, image), pack, image),
                picture(patches_of(*wanted[key]), *wanted[key]),
            )
            assert found.shape == all_of.shape
            shown = found != 0
            assert (found[shown] == all_of[shown]).all()
            fewer += int((found != all_of).sum())
            kept = int(pack.offsets[image + 1] - pack.offsets[image])
            assert errors[image].shape == tuple(pack.grids[image].tolist())
            assert np.count_nonzero(errors[image]) <= kept
    assert fewer > 0
    assert validation_loss(model, config, dataset, SMALL, Ranks()) == pytest.approx(
        plain_validation(model, config, dataset), rel=1e-5
    )


@torch.no_grad()
def plain_validation(model, config, dataset):
    """The mean over all masked patches, image by image."""
    table = load_table(config, dataset, "val", SMALL)
    table = with_kept_now(dataset, table, loader_config(config), np.arange(len(table)))
    losses, counts = [], []
    order = OrderState(seed=0, step_images=1)
    with PackLoader(dataset, table, loader_config(config, shuffle=False), order) as loader:
        for pack in itertools.takewhile(lambda pack: pack.epoch == 0, loader):
            row = [table.key(row) for row in range(len(table))].index(pack.keys[0])
            kept = int(table.kept[row])
            assert int(pack.offsets[-1]) == kept
            losses.append(float(model(mask_pack(pack, config.model, seed=VALIDATION_SEED, epoch=0))))
            counts.append(kept - kept // 4)
    return np.average(losses, weights=counts)


def test_several_ranks_need_the_counts_first(built, dataset, monkeypatch):
    config = tiny(*DROPPING, "data.background_permille=101")
    table = load_table(config, dataset, "train", SMALL)
    ranks = Ranks(world_size=2)
    with pytest.raises(UsageError, match="radio train background"):
        prepare_background(config, dataset, SMALL, table, ranks)
    count_selection(config, dataset, SMALL)
    monkeypatch.setattr(Ranks, "gather", lambda self, values: [list(values), list(values)])
    assert prepare_background(config, dataset, SMALL, table, ranks).kept is not None
    monkeypatch.setattr(Ranks, "gather", lambda self, values: [list(values), [0.0]])
    with pytest.raises(TrainingError, match="different counts"):
        prepare_background(config, dataset, SMALL, table, ranks)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.policy=bins", r"needs data\.policy=packed"),
        ("reading.decoder=dali-gpu", r"needs reading\.decoder=threads"),
        ("data.background_permille=1000", "expected 0 to 999"),
    ],
)
def test_refuses_what_cannot_drop_background(assignment, message):
    with pytest.raises(ConfigError, match=message):
        tiny(*DROPPING, assignment)


def test_the_option_reaches_the_configuration():
    given = loader_assignments(
        resolution=None, scale=None, max_bad=None, cache=None, cache_size=None, drop_background=True
    )
    assert load_config("tiny", assignments=given).data.drop_background
