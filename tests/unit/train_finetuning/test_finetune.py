"""Fine-tuning end to end on the shared small dataset."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from labelled_tasks import truth_by_key
from radio_io.errors import ConfigError, TrainingError, UsageError
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.table import load_image_table
from radio_io.loading.torch_loader import PackLoader
from radio_train.evaluation.outcomes import TaskKind
from radio_train.evaluation.predictions import read_predictions
from radio_train.export import ExportFormat, export_model
from radio_train.finetuning import linear
from radio_train.finetuning.classifier import pooled_vectors
from radio_train.finetuning.config import FinetuneConfig, Mode, TrainingConfig, with_assignments
from radio_train.finetuning.encoders import make_encoder
from radio_train.finetuning.image_packs import images_of_pack, pack_images
from radio_train.finetuning.member_files import load_classifier
from radio_train.finetuning.run import RunPlan, member_folder, prepare_task, run_finetune
from radio_train.finetuning.tasks import TaskSpec
from radio_train.model.config import PRESETS
from radio_train.model.heads import Classifier, Pooling
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack

SMALL = "rows * columns <= 21000"
QUICK = TrainingConfig(epochs=2, warmup_epochs=1, base_rate=1e-3, step_images=16, token_budget=1024, workers=1)


@pytest.fixture(scope="module")
def labels(built, tmp_path_factory):
    """A label file a kind: dark or bright, three grades, two labels."""
    folder = tmp_path_factory.mktemp("labels")
    rows = {"binary": [], "ordinal": [], "multilabel": []}
    for number, (key, truth) in enumerate(sorted(truth_by_key(built).items())):
        rows["binary"].append((key, "present" if truth["region"] in ("Knee", "Ankle", "Foot") else "absent"))
        rows["ordinal"].append((key, str(number % 3)))
        rows["multilabel"] += [(key, name) for name in ("a", "b", "none")[number % 3 :]]
    for name, pairs in rows.items():
        text = "key,label\n" + "".join(f"{key},{label}\n" for key, label in pairs)
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def config(labels, kind=TaskKind.BINARY, **changes):
    spec = TaskSpec(name="made up", kind=kind, labels_file=labels / f"{kind}.csv", where=SMALL)
    return replace(FinetuneConfig(task=spec, preset="tiny", training=QUICK), **changes)


def weights_of(folder):
    return load_file(folder / "best.safetensors")


def test_an_image_gets_the_logits_it_has_in_the_packs_of_pretraining(built):
    sizes = PRESETS["tiny"]
    table = load_image_table(built.root, None, where=SMALL)
    loading = LoaderConfig(patch_size=16, token_budget=2048, mask_ratio=0.0, shuffle=False)
    torch.manual_seed(0)
    for pooling in Pooling:
        model = Classifier(MaskedAutoencoder(sizes).vit, 128, 3, pooling=pooling).eval()
        with PackLoader(built.root, table, loading, OrderState(seed=0, step_images=12)) as loader:
            pack = next(iter(loader))
        masked = mask_pack(pack, replace(sizes, mask_ratio=0.0), seed=0, epoch=0)
        rows = {table.key(row): row for row in range(len(table))}
        shapes = [table.shape(rows[key]) for key in pack.keys]
        images = images_of_pack(pack, shapes, 16, torch.device("cpu"))
        assert [tuple(image.shape) for image in images] == shapes
        with torch.no_grad():
            expected = model(masked, pack.grids.shape[0])[: pack.num_images]
            found = model(pack_images(images, sizes), len(images))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_trains_and_writes_what_a_run_holds(built, labels, tmp_path):
    chosen = config(labels, training=replace(QUICK, epochs=3))
    seen = []
    plan = RunPlan(seeds=2, fractions=(0.2, 1.0))
    run = tmp_path / "run"
    summary = run_finetune(chosen, built.root, run, plan, report=lambda m, e: seen.append(e))
    assert len(seen) == 4 * 3
    assert [each.fraction for each in summary.results] == [0.2, 1.0]
    folder = member_folder(run, 1.0, 0)
    epochs = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    assert [each["epoch"] for each in epochs] == [0, 1, 2]
    prepared = prepare_task(chosen, built.root)
    predictions = read_predictions(folder / "predictions.parquet")
    held_out = {key for key, split in zip(prepared.task.keys, prepared.splits, strict=True) if split != "train"}
    assert set(predictions.keys) == held_out
    result = json.loads((folder / "result.json").read_text())
    interval = summary.results[1].metrics["balanced_accuracy"]
    assert interval.low <= interval.value <= interval.high
    assert interval.value == pytest.approx(np.mean(summary.results[1].balanced_accuracies))
    assert result["test"]["balanced_accuracy"] == summary.results[1].balanced_accuracies[0]
    assert result["training_images"] > summary.results[0].training_images
    again = run_finetune(chosen, built.root, run, plan, report=lambda m, e: pytest.fail("trained again"))
    assert again == summary


def test_the_size_of_packs_does_not_matter(built, labels, tmp_path):
    weights = []
    for budget in (200, 8000):
        chosen = config(labels, training=replace(QUICK, epochs=1, token_budget=budget))
        run_finetune(chosen, built.root, tmp_path / str(budget), RunPlan())
        weights.append(weights_of(member_folder(tmp_path / str(budget), 1.0, 0)))
    for name, tensor in weights[0].items():
        if not name.endswith("k_proj.bias"):  # its gradient is 0 but for rounding, which Adam blows up
            torch.testing.assert_close(weights[1][name], tensor, atol=2e-4, rtol=0, msg=name)


def test_an_interrupted_training_ends_with_the_same_numbers(built, labels, tmp_path):
    chosen = config(labels, training=replace(QUICK, epochs=3))
    whole = run_finetune(chosen, built.root, tmp_path / "whole", RunPlan())

    def stop(member, metrics):
        if metrics.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_finetune(chosen, built.root, tmp_path / "cut", RunPlan(), report=stop)
    epochs = []
    cut = run_finetune(chosen, built.root, tmp_path / "cut", RunPlan(), report=lambda m, e: epochs.append(e.epoch))
    assert epochs == [2]
    assert cut.results == whole.results
    first, second = (weights_of(member_folder(tmp_path / name, 1.0, 0)) for name in ("whole", "cut"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (member_folder(tmp_path / "cut", 1.0, 0) / "last.safetensors").exists()


@pytest.mark.parametrize("mode", [Mode.FREEZE, Mode.PROBE])
def test_a_frozen_encoder_stays_as_it_is(mode, built, labels, tmp_path):
    chosen = config(labels, mode=mode, training=replace(QUICK, epochs=1))
    run_finetune(chosen, built.root, tmp_path / "run", RunPlan())
    found, _ = load_classifier(member_folder(tmp_path / "run", 1.0, 0))
    encoder, _ = make_encoder("random", "tiny", 0)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(found.vit.state_dict()[name], tensor), name
    assert not torch.equal(found.classifier.weight, torch.zeros_like(found.classifier.weight))


@pytest.mark.parametrize("mode", [Mode.FULL, Mode.PROBE])
@pytest.mark.parametrize("kind", [TaskKind.ORDINAL, TaskKind.MULTILABEL])
def test_grades_and_several_labels_train_too(mode, kind, built, labels, tmp_path):
    training = replace(QUICK, epochs=1, class_weights=True)
    summary = run_finetune(config(labels, kind, mode=mode, training=training), built.root, tmp_path / "run")
    assert summary.kind == kind
    assert 0 <= summary.results[0].metrics["balanced_accuracy"].value <= 1


def test_probes_encode_each_image_once_an_encoder(built, labels, tmp_path, monkeypatch):
    encoded = []

    def counted(model, source, table):
        encoded.append([table.key(row) for row in range(len(table))])
        return pooled_vectors(model, source, table)

    monkeypatch.setattr(linear, "pooled_vectors", counted)
    chosen = config(labels, mode=Mode.PROBE)
    plan = RunPlan(seeds=2, fractions=(0.5, 1.0))
    together = run_finetune(chosen, built.root, tmp_path / "together", plan)
    keys = [key for part in encoded for key in part]
    assert len(keys) == 2 * len(set(keys))  # the random encoders of two seeds
    alone = run_finetune(chosen, built.root, tmp_path / "alone", RunPlan(seeds=1, fractions=(1.0,)))
    predictions = [
        read_predictions(member_folder(tmp_path / run, 1.0, 0) / "predictions.parquet") for run in ("together", "alone")
    ]
    np.testing.assert_allclose(*(each.outcomes.scores for each in predictions), atol=1e-5)
    assert alone.results[0].balanced_accuracies[0] == together.results[1].balanced_accuracies[0]


def test_a_sweep_chooses_the_rate_that_did_best(built, labels, tmp_path):
    plan = RunPlan(sweep=(1e-3, 1e-7))
    summary = run_finetune(config(labels), built.root, tmp_path / "run", plan)
    assert [each.rate for each in summary.sweep] == [1e-3, 1e-7]
    best = max(summary.sweep, key=lambda each: each.balanced_accuracy)
    assert summary.rate == best.rate
    result = json.loads((member_folder(tmp_path / "run", 1.0, 0) / "result.json").read_text())
    assert result["rate"] == best.rate


def test_training_stops_when_nothing_gets_better(built, labels, tmp_path):
    training = replace(QUICK, epochs=30, patience=2, base_rate=1e-9, min_rate=0.0)
    run_finetune(config(labels, training=training), built.root, tmp_path / "run", RunPlan())
    lines = (member_folder(tmp_path / "run", 1.0, 0) / "epochs.jsonl").read_text().splitlines()
    assert len(lines) == 3  # one of warm-up, two without a gain


def test_refuses_a_folder_of_other_settings_and_wrong_weights(built, labels, tmp_path):
    chosen = config(labels, training=replace(QUICK, epochs=1))
    run_finetune(chosen, built.root, tmp_path / "run")
    with pytest.raises(TrainingError, match="begun with another training"):
        run_finetune(config(labels), built.root, tmp_path / "run")
    with pytest.raises(UsageError, match="does not exist"):
        run_finetune(replace(chosen, init="missing"), built.root, tmp_path / "other")
    with pytest.raises(UsageError, match="unknown preset 'huge'"):
        run_finetune(replace(chosen, preset="huge"), built.root, tmp_path / "other")
    with pytest.raises(UsageError, match="at most 1"):
        run_finetune(chosen, built.root, tmp_path / "other", RunPlan(fractions=(2.0,)))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.epoch=3", r"did you mean training\.epochs"),
        ("training.epochs=many", "expected a int"),
        ("augment.flip_p=2", "expected a probability"),
        ("epochs=3", r"training\.NAME=VALUE"),
        ("training.precision=fp8", "expected one of auto, bf16, fp32"),
    ],
)
def test_refuses_settings_that_cannot_be_meant(assignment, message, labels):
    with pytest.raises(ConfigError, match=message):
        with_assignments(config(labels), [assignment])


def test_settings_are_changed_by_name(labels):
    changed = with_assignments(config(labels), ["training.resolution=1/2", "augment.flip_p=0", "training.epochs=7"])
    assert (changed.training.resolution, changed.augment.flip_p, changed.training.epochs) == ("1/2", 0.0, 7)


@pytest.mark.slow
def test_learns_what_can_be_learned(built, tmp_path):
    path = tmp_path / "labels.csv"
    with_shapes = load_image_table(built.root, None, where=SMALL)
    shapes = {with_shapes.key(row): with_shapes.shape(row) for row in range(len(with_shapes))}
    middle = np.median([rows / columns for rows, columns in shapes.values()])
    lines = [f"{key},{int(rows / columns > middle)}\n" for key, (rows, columns) in shapes.items()]
    path.write_text("key,label\n" + "".join(lines), encoding="utf-8")
    training = replace(QUICK, epochs=12, patience=12, base_rate=2e-3, step_images=8)
    spec = TaskSpec(name="tall", labels_file=path)
    chosen = FinetuneConfig(task=spec, preset="tiny", training=training, pooling=Pooling.MEAN)
    losses = []
    run_finetune(chosen, built.root, tmp_path / "run", report=lambda m, e: losses.append(e.loss))
    assert min(losses[-3:]) < 0.85 * losses[0]


def test_refuses_to_go_on_from_other_weights_of_the_same_name(built, labels, tmp_path):
    def save(seed):
        torch.manual_seed(seed)
        shutil.rmtree(tmp_path / "weights", ignore_errors=True)
        export_model(MaskedAutoencoder(PRESETS["tiny"]), tmp_path / "weights", ExportFormat.SAFETENSORS)

    chosen = config(labels, mode=Mode.PROBE, init=str(tmp_path / "weights"))
    save(1)
    first = run_finetune(chosen, built.root, tmp_path / "run")
    save(1)
    assert run_finetune(chosen, built.root, tmp_path / "run") == first
    save(2)
    with pytest.raises(TrainingError, match="other settings, weights or images"):
        run_finetune(chosen, built.root, tmp_path / "run")
