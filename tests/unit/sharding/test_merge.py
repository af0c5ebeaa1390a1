"""Several datasets in one: each image once, nobody back who was withdrawn, nothing united that does not fit."""

import shutil

import pytest

from radio_io.dataset_file import read_dataset_file, write_dataset_file
from radio_io.errors import DatasetError, UsageError
from radio_io.labels.identifiers import open_dataset_key
from radio_io.labels.store import load_labels, write_task
from radio_io.layout import DatasetLayout
from radio_io.privacy.tombstones import read_tombstones
from radio_io.progress import NoProgress
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import publish_index
from radio_io.sharding.derive import DeriveConfig, merge_datasets, rebin_dataset
from radio_io.sharding.derive_plan import ShardSizes
from radio_io.sharding.forget import forget
from radio_io.sharding.forget_request import ForgetRequest, tombstones_for
from small_datasets import NEW, build, copy_of, faults, files_of, members, rows, write_source

SMALL = ShardSizes(size_bytes=60_000, min_images=3)


def merge(*roots, out, dry_run=False):
    config = DeriveConfig(sources=roots, out=out, sizes=SMALL, workers=0)
    return merge_datasets(config, NoProgress(), dry_run=dry_run)


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """Two sites with one key; images 20 to 29, of five patients, are in both."""
    folder = tmp_path_factory.mktemp("sites")
    for name, numbers in (("a", range(30)), ("b", range(20, 50)), ("both", range(50))):
        write_source(folder / f"{name}.source", numbers)
        build(folder / name, folder / f"{name}.source")
    return folder


@pytest.fixture
def a(sites, tmp_path):
    return copy_of(sites / "a", tmp_path / "a")


@pytest.fixture
def b(sites, tmp_path):
    return copy_of(sites / "b", tmp_path / "b")


def label(root, task, labels):
    layout = DatasetLayout(root)
    write_task(layout, task, labels)
    publish_index(layout, read_dataset_file(root))


def keys_of(root):
    return {key for (key,) in rows(root, "SELECT key FROM images")}


def test_gives_the_images_of_a_build_of_all_sources(sites, tmp_path):
    summary = merge(sites / "a", sites / "b", out=tmp_path / "new")
    assert members(tmp_path / "new") == members(sites / "both")
    assert (summary.images, summary.left_out) == (50, {"DUPLICATE": 10})
    assert summary.rejects == {"NOT_DICOM": 2, "DUPLICATE": 10}
    assert rows(tmp_path / "new", "SELECT * FROM rejects ORDER BY ALL") == [
        ("DUPLICATE", "merge", 10),
        ("NOT_DICOM", "scan", 2),
    ]
    assert faults(tmp_path / "new") == []


def test_a_rebinned_dataset_and_later_files_can_be_united(sites, tmp_path):
    rebin_dataset(DeriveConfig(sources=(sites / "a",), out=tmp_path / "a", sizes=SMALL, workers=0), NEW, NoProgress())
    with pytest.raises(DatasetError, match=r"bins is 112x96,128x128 in .*/b, 100x96,.* rebin first"):
        merge(tmp_path / "a", sites / "b", out=tmp_path / "new")
    build(tmp_path / "b", sites / "b.source", NEW)
    assert merge(tmp_path / "a", tmp_path / "b", out=tmp_path / "new").images == 50
    assert keys_of(tmp_path / "new") == keys_of(sites / "both")
    assert faults(tmp_path / "new") == []


def test_unites_labels_and_names_contradictions(a, b, tmp_path):
    shared = sorted(keys_of(a) & keys_of(b))
    label(a, "odd", dict.fromkeys(shared, "1"))
    label(b, "odd", dict.fromkeys(keys_of(b) - set(shared), "0") | {shared[0]: "0", shared[1]: "1"})
    label(b, "finding", {shared[2]: "yes"})
    summary = merge(a, b, out=tmp_path / "new")
    assert summary.conflicts == (f"odd: 1 images, such as {shared[0]} is 1 and 0",)
    assert summary.labels == {"finding": 1, "odd": 30}
    assert load_labels(tmp_path / "new", "odd") == dict.fromkeys(shared, "1") | dict.fromkeys(
        keys_of(b) - set(shared), "0"
    )


def test_whoever_was_withdrawn_anywhere_stays_out(a, b, tmp_path):
    forget(b, tombstones_for(ForgetRequest(patients=("P12", "P20")), open_dataset_key(b)), NoProgress())
    label(a, "odd", dict.fromkeys(keys_of(a), "1"))
    gone = {
        key
        for key, patient, study in rows(a, "SELECT key, patient_key, study_key FROM images")
        if read_tombstones(DatasetLayout(b)).covers_keys(patient, study)
    }
    summary = merge(a, b, out=tmp_path / "new")
    assert summary.left_out == {"WITHDRAWN": 2, "DUPLICATE": 8}
    assert len(gone) == 2
    assert not gone & keys_of(tmp_path / "new")
    assert not gone & load_labels(tmp_path / "new", "odd").keys()
    assert read_tombstones(DatasetLayout(tmp_path / "new")) == read_tombstones(DatasetLayout(b))
    assert summary.images + sum(summary.rejects.values()) == 62  # all files of both exports


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": bytes(32)}, "build all datasets with one key"),
        ({"bins": Bins.parse("128x128")}, "rebin first: radio shard rebin"),
        ({"codec": "fast"}, r"codec is fast in .*, htj2k in"),
        ({"render": "voi"}, r"render is voi in"),
    ],
    ids=["key", "bins", "codec", "render"],
)
def test_refuses_what_does_not_fit(sites, tmp_path, changes, message):
    write_source(tmp_path / "source", range(3))
    build(tmp_path / "other", tmp_path / "source", **changes)
    with pytest.raises(DatasetError, match=message):
        merge(sites / "a", tmp_path / "other", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_refuses_another_recipe(sites, b, tmp_path):
    layout = DatasetLayout(b)
    content = read_dataset_file(b)
    write_dataset_file(layout, type(content)(**{**vars_of(content), "recipe_version": 99}))
    with pytest.raises(DatasetError, match=r"recipe_version is 99 in .*, 1 in"):
        merge(sites / "a", b, out=tmp_path / "new")


def vars_of(content):
    return {name: getattr(content, name) for name in content.__dataclass_fields__}


def test_refuses_one_dataset_alone_or_twice(sites, tmp_path):
    for roots in ((sites / "a",), (sites / "a", sites / "a"), (sites / "a", sites / "b", sites / "a")):
        with pytest.raises(UsageError, match="name each once"):
            merge(*roots, out=tmp_path / "new")


def test_goes_on_where_it_was_interrupted(sites, tmp_path):
    merge(sites / "a", sites / "b", out=tmp_path / "new")
    before = files_of(tmp_path / "new")
    shutil.rmtree(tmp_path / "new" / "train")
    (tmp_path / "new" / "index.duckdb").unlink()
    assert merge(sites / "a", sites / "b", out=tmp_path / "new").new_images > 20
    assert files_of(tmp_path / "new") == before


def test_a_dry_run_names_duplicates_and_writes_nothing(sites, tmp_path):
    assert merge(sites / "a", sites / "b", out=tmp_path / "new", dry_run=True).left_out == {"DUPLICATE": 10}
    assert list(tmp_path.iterdir()) == []
