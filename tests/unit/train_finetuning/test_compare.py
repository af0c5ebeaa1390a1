"""The table of initialisations: equal conditions, tests, and files that say the same."""

import csv
import json
from dataclasses import replace

import pytest

from labelled_tasks import truth_by_key
from radio_io.errors import UsageError
from radio_train.evaluation.bootstrap import Interval
from radio_train.finetuning.compare import Cell, Init, as_markdown, parse_inits, run_compare
from radio_train.finetuning.config import FinetuneConfig, Mode, TrainingConfig
from radio_train.finetuning.run import RunPlan
from radio_train.finetuning.tasks import TaskSpec

SMALL = "rows * columns <= 21000"


def test_compares_two_initialisations_on_the_same_images(built, tmp_path):
    rows = [(key, int(row["region"] in ("Knee", "Ankle", "Foot"))) for key, row in truth_by_key(built).items()]
    path = tmp_path / "labels.csv"
    path.write_text("key,label\n" + "".join(f"{key},{label}\n" for key, label in rows), encoding="utf-8")
    legs = TaskSpec(name="legs", labels_file=path, where=SMALL)
    base = FinetuneConfig(task=legs, preset="tiny", mode=Mode.PROBE, training=TrainingConfig(workers=1))
    inits = (Init(name="random", source="random"), Init(name="again", source="random", rate=1e-4))
    out = tmp_path / "out"
    cells = run_compare(base, [legs], inits, RunPlan(seeds=2, fractions=(0.3, 1.0)), built.root, out)
    assert [(cell.fraction, cell.init) for cell in cells] == [
        (0.3, "random"),
        (0.3, "again"),
        (1.0, "random"),
        (1.0, "again"),
    ]
    assert cells[0].test is None
    for cell in cells[1::2]:  # the same weights and seeds: no difference at all
        assert (cell.test.difference, cell.test.p_value) == (0, 1)
    assert [cell.rate for cell in cells[:2]] == [3e-5, 1e-4]
    saved = json.loads((out / "compare.json").read_text())
    table = list(csv.DictReader((out / "compare.csv").read_text().splitlines()))
    for cell, row, mapping in zip(cells, table, saved, strict=True):
        assert float(row["balanced_accuracy"]) == pytest.approx(cell.balanced_accuracy.value, abs=1e-6)
        assert mapping["balanced_accuracy"]["low"] == cell.balanced_accuracy.low
        assert (row["init"], int(row["seeds"]), float(row["label_fraction"])) == (cell.init, 2, cell.fraction)
    assert (out / "compare.md").read_text() == as_markdown(cells)
    again = run_compare(base, [legs], inits, RunPlan(seeds=2, fractions=(0.3, 1.0)), built.root, out)
    assert again == cells


def test_the_table_looks_like_that_of_the_thesis():
    def cell(init, value):
        interval = Interval(value=value, low=value - 0.05, high=value + 0.05)
        accuracy = replace(interval, value=0.8286)
        return Cell(
            task="region", fraction=1, training_images=750, test_images=150, init=init, rate=1e-4, seeds=3,
            balanced_accuracy=interval, accuracy=accuracy, test=None,
        )  # fmt: skip

    lines = as_markdown([cell("random", 0.5689), cell("mae", 0.7357)]).splitlines()
    assert lines[0] == "| Task | Labels | random | mae | mae - random |"
    assert "73.57 % (82.86 %) [68.6, 78.6]" in lines[2]
    assert len({line.count("|") for line in lines}) == 1


def test_names_of_initialisations():
    inits = parse_inits(["random", "runs/demo", "vit=/data/x.safetensors"], ["demo=1e-4"])
    assert [(i.name, i.source, i.rate) for i in inits] == [
        ("random", "random", None),
        ("demo", "runs/demo", 1e-4),
        ("vit", "/data/x.safetensors", None),
    ]
    with pytest.raises(UsageError, match="at least two"):
        parse_inits(["random"])
    with pytest.raises(UsageError, match="different names"):
        parse_inits(["a/run", "b/run"])
    with pytest.raises(UsageError, match="does not name"):
        parse_inits(["random", "runs/demo"], ["mae=1e-4"])
    with pytest.raises(UsageError, match="NAME=RATE"):
        parse_inits(["random", "runs/demo"], ["demo=fast"])
