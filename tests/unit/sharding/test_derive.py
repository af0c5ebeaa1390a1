"""Shards of other bins, and several datasets in one: the same images, nothing lost, nothing brought back."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from radio_io.config import BuildConfig
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, StorageError, UsageError
from radio_io.labels.identifiers import open_dataset_key
from radio_io.labels.store import load_labels, write_task
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.privacy.tombstones import read_tombstones
from radio_io.progress import NoProgress
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import publish_index, scan
from radio_io.sharding.derive import DeriveConfig, rebin_dataset
from radio_io.sharding.derive_plan import ShardSizes
from radio_io.sharding.forget import forget
from radio_io.sharding.forget_request import ForgetRequest, tombstones_for
from radio_io.sharding.locking import locked
from small_datasets import KEY, NEW, OLD, build, copy_of, faults, files_of, members, rows, write_source

SMALL = ShardSizes(size_bytes=60_000, min_images=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("derive")
    write_source(folder / "source", range(60))
    build(folder / "d", folder / "source")
    keys = sorted(rows(folder / "d", "SELECT key FROM images"))
    layout = DatasetLayout(folder / "d")
    write_task(layout, "odd", {key: str(number % 2) for number, (key,) in enumerate(keys) if number % 3})
    publish_index(layout, read_dataset_file(layout.root))
    return folder / "d"


@pytest.fixture
def root(whole, tmp_path) -> Path:
    return copy_of(whole, tmp_path / "d")


def rebin(root, out, bins=NEW, *, workers=0, dry_run=False, sizes=SMALL):
    config = DeriveConfig(sources=(root,), out=out, sizes=sizes, workers=workers)
    return rebin_dataset(config, bins, NoProgress(), dry_run=dry_run)


def test_gives_the_images_of_a_build_with_these_bins(whole, tmp_path):
    build(tmp_path / "built", whole.parent / "source", NEW)
    summary = rebin(whole, tmp_path / "new")
    assert members(tmp_path / "new") == members(tmp_path / "built")
    columns = "key, pixel_hash, split, bin_height, bin_width, study_date_shifted, level_sizes, image_crc32"
    for table in (f"SELECT {columns} FROM images ORDER BY key", "SELECT reason, num_files FROM rejects ORDER BY ALL"):
        assert rows(tmp_path / "new", table) == rows(tmp_path / "built", table)
    assert faults(tmp_path / "new") == []
    assert len({each.bin for each in summary.bins}) == 3
    new, built = read_dataset_file(tmp_path / "new"), read_dataset_file(tmp_path / "built")
    assert (new.dataset_id, new.key_id, new.bins) == (built.dataset_id, built.key_id, built.bins)
    assert new.num_images == 60 == summary.images == sum(each.images for each in summary.bins)


def test_copies_the_images_as_they_are_encoded(whole, tmp_path):
    rebin(whole, tmp_path / "new")
    before = {name: data for name, data in members(whole).items() if name.endswith(".jph")}
    assert len(before) == 60
    assert {name: data for name, data in members(tmp_path / "new").items() if name.endswith(".jph")} == before


def test_gives_the_same_bytes_with_any_number_of_workers(whole, tmp_path):
    rebin(whole, tmp_path / "a")
    rebin(whole, tmp_path / "b", workers=2)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_mixes_the_images_of_a_bin(whole, tmp_path):
    rebin(whole, tmp_path / "new", Bins.parse("128"), sizes=ShardSizes(size_bytes=1, min_images=12))
    order = [height for (height,) in rows(tmp_path / "new", "SELECT rows FROM images WHERE split = 'train'")]
    changes = sum(a != b for a, b in itertools.pairwise(order))
    assert changes > len(order) / 2  # sorted by the old bins there would be a handful
    sizes = [n for (n,) in rows(tmp_path / "new", "SELECT num_images FROM shards WHERE split = 'train'")]
    assert min(sizes[:-1]) >= 12


def test_a_dry_run_tells_the_same_and_writes_nothing(whole, tmp_path):
    planned = rebin(whole, tmp_path / "new", dry_run=True)
    assert list(tmp_path.iterdir()) == []
    done = rebin(whole, tmp_path / "new")
    assert (planned.images, planned.shards, planned.left_out) == (done.images, done.shards, done.left_out)
    assert planned.bins == done.bins
    # Numbers in the JSON members may have a digit more or less: not the size to the byte.
    ((written,),) = rows(tmp_path / "new", "SELECT sum(size_bytes) FROM shards")
    assert planned.size_bytes == pytest.approx(written, rel=0.01)


def test_leaves_out_what_no_bin_holds_and_counts_it(whole, tmp_path):
    summary = rebin(whole, tmp_path / "new", Bins.parse("100x96"))
    expected = rows(whole, "SELECT count(*) FROM images WHERE rows > 100 OR columns > 96")[0][0]
    assert summary.left_out == {"TOO_LARGE": expected} != {"TOO_LARGE": 0}
    assert summary.images + sum(summary.rejects.values()) == 61
    assert ("TOO_LARGE", "plan", expected) in rows(tmp_path / "new", "SELECT * FROM rejects")
    assert faults(tmp_path / "new") == []


def test_keeps_labels_key_and_rejects(whole, tmp_path):
    summary = rebin(whole, tmp_path / "new")
    assert load_labels(tmp_path / "new", "odd") == load_labels(whole, "odd")
    assert summary.labels == {"odd": 40}
    layout = DatasetLayout(tmp_path / "new")
    assert layout.key_file.read_bytes() == KEY
    assert [oct(path.stat().st_mode & 0o777) for path in (layout.private, layout.key_file)] == ["0o700", "0o600"]
    layout.index.unlink()
    publish_index(layout, read_dataset_file(layout.root))
    assert rows(tmp_path / "new", "SELECT * FROM rejects") == rows(whole, "SELECT * FROM rejects")


def test_a_shared_copy_without_its_private_folder_can_be_rebinned(root, tmp_path):
    rebin(root, tmp_path / "a")
    shutil.rmtree(DatasetLayout(root).private)
    rebin(root, tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert rows(tmp_path / "a", "SELECT * FROM rejects") == rows(tmp_path / "b", "SELECT * FROM rejects")
    assert not DatasetLayout(tmp_path / "b").key_file.exists()


def test_withdrawn_patients_stay_out_and_can_be_withdrawn_afterwards(root, tmp_path):
    withdrawn = tombstones_for(ForgetRequest(patients=("P1",)), open_dataset_key(root))
    forget(root, withdrawn, NoProgress())
    new = tmp_path / "new"
    assert rebin(root, new).images == 58
    assert read_tombstones(DatasetLayout(new)).covers_keys(Pseudonymizer(KEY).patient("P1"), "0" * 32)
    later = tombstones_for(ForgetRequest(patients=("P2",)), open_dataset_key(new))
    assert forget(new, later, NoProgress()).images == 2
    assert faults(new) == []
    with pytest.raises(DatasetError, match="have changed since"):  # it would bring the patient back
        rebin(root, new)


def test_a_call_repeated_does_nothing(whole, tmp_path):
    first = rebin(whole, tmp_path / "new")
    before = files_of(tmp_path / "new")
    again = rebin(whole, tmp_path / "new")
    assert (first.new_images, again.new_images, again.new_shards) == (60, 0, 0)
    assert files_of(tmp_path / "new") == before


@pytest.mark.parametrize("lost", [".parquet", ".tar", ".idx"])
def test_makes_what_is_missing(whole, tmp_path, lost):
    rebin(whole, tmp_path / "new")
    before = files_of(tmp_path / "new")
    sorted((tmp_path / "new").glob(f"*/*/*{lost}"))[1].unlink()
    assert rebin(whole, tmp_path / "new").new_shards == 1
    assert files_of(tmp_path / "new") == before
    assert faults(tmp_path / "new") == []


@pytest.mark.parametrize("other", ["bins", "sizes", "built"])
def test_refuses_a_folder_with_something_else(whole, tmp_path, other):
    if other == "built":
        build(tmp_path / "new", whole.parent / "source")
    else:
        rebin(whole, tmp_path / "new", *([OLD] if other == "bins" else []))
    before = files_of(tmp_path / "new")
    sizes = ShardSizes(size_bytes=90_000, min_images=9) if other == "sizes" else SMALL
    with pytest.raises(DatasetError, match=r"another dataset|begun from other"):
        rebin(whole, tmp_path / "new", sizes=sizes)
    assert files_of(tmp_path / "new") == before


def test_refuses_folders_in_each_other(whole):
    for out in (whole, whole / "new", whole.parent):
        with pytest.raises(UsageError, match="lies in"):
            rebin(whole, out)


def test_refuses_a_source_that_is_changed_or_unfinished(root, tmp_path):
    with locked(DatasetLayout(root)), pytest.raises(StorageError, match="another radio"):
        rebin(root, tmp_path / "new")
    DatasetLayout(root).record_paths()[0].unlink()
    with pytest.raises(DatasetError, match=r"1 shards .* not built yet"):
        rebin(root, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("where", ["image", "text", "header", "end"])
def test_no_damage_is_copied(root, tmp_path, where):
    key, shard_id, image, size, text = rows(
        root, "SELECT key, shard_id, image_offset, image_size, metadata_offset FROM images LIMIT 1"
    )[0]
    path = DatasetLayout(root).tar_path(shard_id)
    data = bytearray(path.read_bytes())
    if where == "end":
        data = data[: text + 10]
    else:
        data[{"image": image + size // 2, "text": text + 20, "header": image - 500}[where]] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="is not what its record says") as caught:
        rebin(root, tmp_path / "new")
    if where != "end":
        assert key in str(caught.value)
    assert not list((tmp_path / "new").rglob(".tmp-*"))


def test_files_cannot_be_added_to_it(whole, tmp_path):
    rebin(whole, tmp_path / "new")
    before = files_of(tmp_path / "new")
    with pytest.raises(DatasetError, match="radio shard merge"):
        build(tmp_path / "new", whole.parent / "source", NEW)
    config = BuildConfig(dataset=tmp_path / "new", sources=(str(whole.parent / "source"),), bins=NEW, workers=0)
    with pytest.raises(DatasetError, match="radio shard merge"):
        scan(config, NoProgress())
    assert files_of(tmp_path / "new") == before


def test_a_full_disk_is_told_before(whole, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="free some space"):
        rebin(whole, tmp_path / "new")
    assert not list((tmp_path / "new").rglob("*.tar"))


def start(root, out):
    command = [sys.executable, "-m", "radio_cli", "shard", "rebin", "--bins", str(NEW), "--out", str(out)]
    options = ["--shard-size", "60kB", "--min-shard-images", "3", "--workers", "2", "--json", "--dataset", str(root)]
    return subprocess.Popen(
        [*command, *options], start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def at_once(process):
    os.killpg(process.pid, signal.SIGKILL)


def politely(process):
    process.send_signal(signal.SIGINT)


@pytest.mark.slow
def test_a_kill_at_any_moment_changes_nothing(whole, tmp_path):
    rebin(whole, tmp_path / "undisturbed")
    expected = files_of(tmp_path / "undisturbed")
    began = time.monotonic()
    assert json.loads(start(whole, tmp_path / "timed").communicate()[0])["new_images"] == 60
    whole_s = time.monotonic() - began
    chance = random.Random(4)
    stopped = 0
    for number in range(int(os.environ.get("RADIO_KILLS", "20"))):
        out = tmp_path / str(number)
        for kill in (at_once, politely):
            process = start(whole, out)
            time.sleep(chance.uniform(0.3, 1) * whole_s)
            kill(process)
            _, err = process.communicate(timeout=120)
            stopped += process.returncode != 0
            assert "Traceback" not in err
        done = start(whole, out)
        text, err = done.communicate(timeout=120)
        assert done.returncode == 0, err
        assert json.loads(text)["missing_shards"] == 0
        assert files_of(out) == expected
    assert stopped
