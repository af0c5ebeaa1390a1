"""Replay: the images of a step, the steps of an image, and what stood in for damaged ones."""

import json
from dataclasses import asdict

import pytest

from radio_cli.loader_options import loader_assignments
from radio_io.errors import TrainingError, UsageError
from radio_io.loading.reading import ReadConfig
from radio_train.config import load_config
from radio_train.replay import images_of_run_step, steps_of_image
from radio_train.run_folder import Selection, load_table, loader_config, prepare_run

SMALL = Selection(where="rows <= 600 and columns <= 600")
CONFIG = load_config("tiny", assignments=["data.step_images=16"])


@pytest.fixture
def run(built, tmp_path):
    """A run of two epochs and one step more, of which only the log is there."""
    folder = tmp_path / "run"
    prepare_run(CONFIG, folder, built.root, SMALL, resume=False)
    steps = 2 * -(-len(table_of(built)) // 16) + 1
    lines = [json.dumps({"step": step}) for step in range(steps)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder, steps


def table_of(built):
    return load_table(CONFIG, built.root, "train", SMALL)


def test_finds_the_steps_that_list_an_image(run, built):
    folder, steps = run
    listed = [images_of_run_step(folder, step).keys for step in range(steps)]
    table = table_of(built)
    for row in range(0, len(table), 7):
        key = table.key(row)
        assert [each.step for each in steps_of_image(folder, key)] == [n for n in range(steps) if key in listed[n]]


def test_knows_what_was_replaced(run, built):
    folder, steps = run
    bad, used = images_of_run_step(folder, 0).keys[0], images_of_run_step(folder, 2).keys[0]
    note = {"key": bad, "shard_id": "x", "reason": "y", "epoch": 0, "step": 0, "replaced_by": used}
    line = json.dumps(note) + "\n"
    (folder / "quarantine.jsonl").write_text(line + line + line[:20])  # noted again on resume, then cut by a crash
    found = images_of_run_step(folder, 0)
    assert found.replaced == ((bad, used),)
    assert bad not in found.keys
    assert used in found.keys
    assert len(found.keys) == 16
    assert 0 not in [each.step for each in steps_of_image(folder, bad)]
    seen = steps_of_image(folder, used)
    assert seen[0].step == 0
    assert seen[0].instead_of == bad
    assert [each.step for each in seen] == sorted({0, 2} | {n for n in range(3, steps) if used in keys_of(folder, n)})


def keys_of(folder, step):
    return images_of_run_step(folder, step).keys


def test_refuses_what_the_run_does_not_have(run, tmp_path):
    folder, _ = run
    for key in ("00" * 16, "no key", "ab"):
        with pytest.raises(UsageError, match="radio query"):
            steps_of_image(folder, key)
    with pytest.raises(TrainingError, match="no run folder"):
        steps_of_image(tmp_path, "00" * 16)
    (folder / "metrics.jsonl").unlink()
    with pytest.raises(TrainingError, match=r"metrics\.jsonl"):
        steps_of_image(folder, keys_of(folder, 0)[0])


def test_options_of_the_loader_reach_it(tmp_path):
    given = loader_assignments(
        resolution="1/2", scale="bits", max_bad=3, cache=tmp_path / "a cache", cache_size="1.5TB"
    )
    config = load_config("tiny", assignments=given)
    loading = loader_config(config)
    assert (loading.halvings, loading.scale, loading.max_bad) == (1, "bits", 3)
    assert loading.reading == ReadConfig(
        cache=tmp_path / "a cache", cache_bytes=1_500 * 10**9, read_ahead_bytes=4 * 10**9, range_bytes=16 * 10**6
    )
    nothing = loader_assignments(resolution=None, scale=None, max_bad=None, cache=None, cache_size=None)
    assert nothing == []
    assert asdict(load_config("tiny", assignments=nothing)) == asdict(load_config("tiny"))
