"""Vectors judged: neighbours that vote, a linear layer, a picture; and the sheet of augmentations."""

import json
import xml.etree.ElementTree as ElementTree

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.neighbors import KNeighborsClassifier
from typer.testing import CliRunner

from labelled_tasks import truth_by_key
from radio_cli.main import app
from radio_io.errors import ConfigError, DatasetError, UsageError
from radio_train.finetuning import projection
from radio_train.finetuning.preview import GAP, TILE_SIDE, preview_rows
from radio_train.finetuning.probe import ProbeConfig, nearest_neighbours, run_probe
from radio_train.finetuning.projection import Projection, main_directions, neighbourhoods, parse_projection, project
from radio_train.finetuning.tasks import TaskSpec


@pytest.fixture
def labelled(built, tmp_path):
    """Vectors whose third number tells the label, noise elsewhere; and the labels."""
    truth = truth_by_key(built)
    keys = sorted(truth)
    labels = np.array([truth[key]["region"] in ("Knee", "Ankle", "Foot") for key in keys])
    vectors = np.random.default_rng(0).normal(0, 1, (len(keys), 16))
    vectors[:, 3] = np.where(labels, 9, -9)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), 16)
    pq.write_table(pa.table({"key": keys, "cls": column, "mean": column}), tmp_path / "vectors.parquet")
    rows = "".join(f"{key},{'leg' if label else 'other'}\n" for key, label in zip(keys, labels, strict=True))
    (tmp_path / "labels.csv").write_text("key,label\n" + rows, encoding="utf-8")
    spec = TaskSpec(name="legs", labels_file=tmp_path / "labels.csv", positive="leg")
    return tmp_path / "vectors.parquet", spec


def test_neighbours_vote_as_in_scikit_learn():
    rng = np.random.default_rng(1)
    train, test = rng.normal(0, 1, (120, 8)), rng.normal(0, 1, (40, 8))
    labels = rng.integers(0, 3, 120)
    reference = KNeighborsClassifier(
        7, metric="cosine", weights=lambda distance: np.exp((distance.min(1, keepdims=True) - distance) / 0.07)
    )
    expected = reference.fit(train, labels).predict_proba(test)
    np.testing.assert_allclose(nearest_neighbours(train, np.eye(3, dtype=int)[labels], test, 7), expected, atol=1e-9)
    few = nearest_neighbours(train[:2], np.eye(3, dtype=int)[labels[:2]], test, 7)
    np.testing.assert_allclose(few.sum(1), 1)


def test_finds_what_is_in_the_vectors(built, labelled, tmp_path):
    vectors, spec = labelled
    results = run_probe(vectors, built.root, spec, ProbeConfig(neighbours=5), tmp_path / "picture.svg")
    assert [each.method for each in results] == ["5 nearest neighbours", "linear layer"]
    for each in results:
        assert each.metrics["balanced_accuracy"].value > 0.75  # few test images, and noise in the other numbers
        assert each.training_images > each.test_images > 0
    circles = [each for each in ElementTree.parse(tmp_path / "picture.svg").getroot() if each.tag.endswith("circle")]
    assert len(circles) == len(truth_by_key(built))


def test_main_directions_are_those_of_the_data():
    rng = np.random.default_rng(2)
    values = rng.normal(0, [5, 0.1, 1], (500, 3))
    places = main_directions(values)
    assert abs(np.corrcoef(places[:, 0], values[:, 0])[0, 1]) > 0.999
    assert abs(np.corrcoef(places[:, 1], values[:, 2])[0, 1]) > 0.99


def test_umap_is_refused_where_it_is_not_installed(built, labelled, tmp_path, monkeypatch):
    vectors, spec = labelled
    monkeypatch.setattr(projection.importlib.util, "find_spec", lambda name: None)
    config = ProbeConfig(projection=Projection.UMAP)
    with pytest.raises(ConfigError, match=r"radio\[umap\]"):
        run_probe(vectors, built.root, spec, config, tmp_path / "picture.svg")
    assert run_probe(vectors, built.root, spec, config)  # without a picture nothing is projected
    with pytest.raises(UsageError, match="expected one of pca, umap"):
        parse_projection("tsne")


@pytest.mark.slow
def test_umap_keeps_groups_together_and_gives_the_same_places_again():
    pytest.importorskip("umap", reason="the extra `umap` is not installed (umap-learn)")
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 4, 120)
    values = rng.normal(0, 1, (120, 16))
    values[np.arange(120), groups] += 6
    places = project(values, Projection.UMAP)
    assert places.shape == (120, 2)
    middles = np.array([places[groups == group].mean(0) for group in range(4)])
    nearest = np.linalg.norm(places[:, None] - middles, axis=2).argmin(1)
    assert (nearest == groups).mean() > 0.97
    assert np.array_equal(neighbourhoods(values), places)
    assert not np.array_equal(neighbourhoods(values, seed=1), places)
    for few in (3, 4, 8):
        assert np.isfinite(neighbourhoods(values[:few])).all()


@pytest.mark.slow
def test_the_command_draws_a_map_of_neighbourhoods(built, labelled, tmp_path):
    pytest.importorskip("umap", reason="the extra `umap` is not installed (umap-learn)")
    vectors, spec = labelled
    common = ["--task", "legs", "--labels", str(spec.labels_file), "--dataset", str(built.root)]
    pictures = [tmp_path / f"{name}.svg" for name in ("pca", "umap", "again")]
    for picture in pictures:
        method = "pca" if picture.stem == "pca" else "umap"
        options = ["--projection", method, "--picture", str(picture)]
        done = CliRunner().invoke(app, ["train", "probe", str(vectors), *common, *options])
        assert done.exit_code == 0, done.output
    pca, umap, again = (picture.read_text() for picture in pictures)
    assert "UMAP by angle" in umap
    assert umap == again
    assert umap.count("<circle") == pca.count("<circle") == len(truth_by_key(built))


def test_refuses_other_files_and_other_datasets(built, labelled, tmp_path):
    vectors, spec = labelled
    pq.write_table(pa.table({"key": ["a"], "cls": [[1.0]]}), tmp_path / "other.parquet")
    with pytest.raises(UsageError, match="holds no vectors in a column mean"):
        run_probe(tmp_path / "other.parquet", built.root, spec)
    with pytest.raises(UsageError, match="does not exist; write vectors with"):
        run_probe(tmp_path / "missing.parquet", built.root, spec)
    with pytest.raises(DatasetError, match="none of the 1 vectors"):
        run_probe(tmp_path / "other.parquet", built.root, spec, ProbeConfig(column="cls"))
    with pytest.raises(UsageError, match="one of cls, mean"):
        ProbeConfig(column="median")
    assert vectors.exists()


def test_commands_print_and_write(built, labelled, tmp_path):
    vectors, spec = labelled
    common = ["--task", "legs", "--labels", str(spec.labels_file), "--dataset", str(built.root)]
    shown = CliRunner().invoke(app, ["train", "probe", str(vectors), *common, "--json"])
    assert shown.exit_code == 0, shown.output
    assert len(json.loads(shown.stdout)) == 2
    sheet = tmp_path / "sheet.png"
    made = CliRunner().invoke(
        app, ["train", "augment-preview", "--out", str(sheet), "--images", "3", "--dataset", str(built.root)]
    )
    assert made.exit_code == 0, made.output
    picture = imagecodecs.png_decode(sheet.read_bytes())
    side = TILE_SIDE + GAP
    assert picture.shape == (side * len(preview_rows()), side * 3)
    for column in range(3):
        original, flipped = (picture[r * side : (r + 1) * side, column * side : (column + 1) * side] for r in (0, 2))
        assert original.max() > 50
        assert sorted(original.ravel()) == sorted(flipped.ravel())
        assert (original != flipped).any()
    again = CliRunner().invoke(
        app,
        ["train", "augment-preview", "--out", str(tmp_path / "2.png"), "--images", "3", "--dataset", str(built.root)],
    )
    assert again.exit_code == 0
    assert (tmp_path / "2.png").read_bytes() == sheet.read_bytes()
    wrong = CliRunner().invoke(app, ["train", "augment-preview", "--set", "training.epochs=3"])
    assert wrong.exit_code == 1
    assert "only augment" in str(wrong.exception)
