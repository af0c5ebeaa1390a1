"""Which runs saw given images, compared with the replay of each of their steps."""

import json

import duckdb
import pytest

from radio_train.config import load_config
from radio_train.replay import images_of_run_step
from radio_train.run_folder import Selection, load_table, prepare_run
from radio_train.seen import runs_that_saw

WHERE = "rows <= 600 and columns <= 600"


@pytest.fixture(scope="module")
def runs(built, tmp_path_factory):
    """Three runs of 1, 7 and 23 steps of 8 images, logged as training logs them; one of another dataset; no run."""
    folder = tmp_path_factory.mktemp("runs")
    config = load_config("tiny", assignments=["data.step_images=8", "run.seed=3"])
    for name, steps, dataset in (("a", 1, built.root), ("b", 7, built.root), ("c/d", 23, built.root), ("e", 5, folder)):
        run = folder / name
        prepare_run(config, run, dataset, Selection(where=WHERE), resume=False)
        lines = [json.dumps({"step": step, "loss": 1.0}) for step in range(steps)]
        (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 99', encoding="utf-8")
    (folder / "b" / "validation.jsonl").write_text("{}\n")
    (folder / "f").mkdir()
    (folder / "f" / "config.json").write_text("no run")
    return folder


def replayed(run, steps):
    return [set(images_of_run_step(run, step).keys) for step in range(steps)]


def test_agrees_with_the_replay_of_every_step(built, runs):
    steps_of = {"a": 1, "b": 7, "c/d": 23}
    config = load_config("tiny")
    table = load_table(config, built.root, "train", Selection(where=WHERE))
    keys = [table.key(row) for row in range(len(table))]
    for wanted in (frozenset(keys[:1]), frozenset(keys[3:40:5]), frozenset(keys)):
        found = {each.run.removeprefix(f"{runs}/"): each for each in runs_that_saw(runs, built.root, wanted)}
        for name, count in steps_of.items():
            steps = replayed(runs / name, count)
            images, hit = len(set().union(*steps) & wanted), sum(bool(step & wanted) for step in steps)
            if not images:
                assert name not in found
                continue
            assert (found[name].trained_images, found[name].trained_steps) == (images, hit)
            assert found[name].steps == count
    assert set(found) == set(steps_of)


def test_counts_validation_where_the_run_had_one(built, runs):
    with duckdb.connect(str(built.root / "index.duckdb"), read_only=True) as connection:
        rows = connection.execute(f"SELECT key FROM images WHERE split = 'val' AND {WHERE}").fetchall()
    found = runs_that_saw(runs, built.root, frozenset(row[0] for row in rows))
    assert [(each.run, each.validated_images, each.trained_images) for each in found] == [
        (str(runs / "b"), len(rows), 0)
    ]
    assert rows


def test_says_nothing_about_images_that_no_run_saw(built, runs):
    assert runs_that_saw(runs, built.root, frozenset({"0" * 32})) == []
    assert runs_that_saw(runs / "a", built.root, frozenset({"0" * 32})) == []


def test_takes_a_run_folder_itself(built, runs):
    seen = frozenset(images_of_run_step(runs / "a", 0).keys)
    assert [each.run for each in runs_that_saw(runs / "a", built.root, seen)] == [str(runs / "a")]
