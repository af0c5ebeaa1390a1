"""A run judged: what was predicted, subgroups, figures, another dataset."""

import json
from dataclasses import replace

import pytest

import radio_train.finetuning.evaluate as judging
from labelled_tasks import label_dataset, truth_by_key
from radio_io.errors import TrainingError, UsageError
from radio_io.index.catalog import open_index
from radio_train.evaluation.metrics import measure
from radio_train.evaluation.predictions import read_predictions
from radio_train.finetuning.config import FinetuneConfig, Mode, TrainingConfig
from radio_train.finetuning.evaluate import EvaluateConfig, predict_dataset, run_evaluate
from radio_train.finetuning.run import RunPlan, member_folder, run_finetune
from radio_train.finetuning.tasks import TaskSpec


@pytest.fixture(scope="module")
def finished(built, tmp_path_factory):
    """A probe of a task with labels in the index, and the labelled dataset."""
    folder = tmp_path_factory.mktemp("evaluated")
    legs = {key: str(row["region"] in ("Knee", "Ankle", "Foot")) for key, row in truth_by_key(built).items()}
    dataset = label_dataset(built, folder, {"legs": legs})
    config = FinetuneConfig(
        task=TaskSpec(name="legs", where="rows * columns <= 21000"),
        preset="tiny",
        mode=Mode.PROBE,
        shares=(0.5, 0.1, 0.4),
        training=TrainingConfig(workers=1),
    )
    run_finetune(config, dataset, folder / "run", RunPlan(seeds=2, fractions=(0.5, 1.0)))
    return folder / "run", dataset


def test_judges_the_largest_share_of_the_labels(finished, monkeypatch):
    monkeypatch.setattr(judging, "LEAST_IMAGES", 3)  # the dataset is small
    run, dataset = finished
    evaluation = run_evaluate(run, EvaluateConfig(resamples=100))
    assert (evaluation.fraction, evaluation.seeds, evaluation.split) == (1.0, (0, 1), "test")
    each = [read_predictions(member_folder(run, 1.0, seed) / "predictions.parquet").of_split("test") for seed in (0, 1)]
    for name, interval in evaluation.metrics.items():
        values = [measure(predictions.outcomes)[name][0] for predictions in each]
        assert interval.value == pytest.approx(sum(values) / 2), name
    assert sum(map(sum, evaluation.confusion)) == evaluation.images == sum(c.images for c in evaluation.classes)
    with open_index(dataset) as connection:
        regions = dict(connection.execute("SELECT key, region FROM images").fetchall())
    for group in evaluation.subgroups:
        assert group.images >= 3
        if group.by == "region":
            assert group.images == sum(regions[key] == group.name for key in each[0].keys)
    assert {group.by for group in evaluation.subgroups} <= {"region", "device"}
    assert evaluation.subgroups
    monkeypatch.setattr(judging, "LEAST_IMAGES", evaluation.images + 1)
    assert not run_evaluate(run, EvaluateConfig(resamples=10)).subgroups


def test_writes_json_figures_and_predictions(finished):
    run, _ = finished
    evaluation = run_evaluate(run, EvaluateConfig(resamples=50, by=()))
    folder = run / "evaluation"
    names = {"evaluation.json", "predictions.parquet", "roc.svg", "precision_recall.svg", "calibration.svg"}
    assert {path.name for path in folder.iterdir()} == names | {"confusion.svg"}
    saved = json.loads((folder / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert saved["metrics"]["auroc"]["value"] == evaluation.metrics["auroc"].value
    assert len(read_predictions(folder / "predictions.parquet").keys) == evaluation.images


def test_predicts_another_dataset(finished):
    run, dataset = finished
    folder = member_folder(run, 1.0, 0)
    anew = predict_dataset(folder, dataset)
    before = read_predictions(folder / "predictions.parquet")
    scores = dict(zip(anew.keys, anew.outcomes.scores, strict=True))
    for key, score in zip(before.keys, before.outcomes.scores, strict=True):
        assert scores[key] == pytest.approx(score, abs=1e-5)
    evaluation = run_evaluate(run, EvaluateConfig(dataset=dataset, resamples=20, by=()))
    assert evaluation.split == "all"
    assert evaluation.images == len(anew.keys) > len(before.keys)


def test_refuses_what_was_not_trained(finished, tmp_path):
    run, _ = finished
    with pytest.raises(UsageError, match=r"there are 1, 0\.5"):
        run_evaluate(run, EvaluateConfig(fraction=0.1))
    with pytest.raises(UsageError, match="is no run of fine-tuning"):
        run_evaluate(tmp_path)
    (tmp_path / "config.json").write_text('{"dataset": "x"}')
    with pytest.raises(TrainingError, match="no finished training"):
        run_evaluate(tmp_path)
    with pytest.raises(UsageError, match="by is region, device, sex"):
        replace(EvaluateConfig(), by=("hospital",))
