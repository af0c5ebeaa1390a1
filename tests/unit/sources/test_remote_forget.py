"""Withdrawals and labels of a dataset in an object store: what a folder gives, and no byte left in any version."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from radio_cli.main import app
from radio_io import object_store
from radio_io.errors import DatasetError, StorageError, UsageError
from radio_io.index.records import placed_rows, read_record
from radio_io.labels.identifiers import open_dataset_key
from radio_io.labels.import_labels import remove_task, store_labels
from radio_io.labels.store import indexed_labels, load_labels
from radio_io.layout import DatasetLayout
from radio_io.privacy.tombstones import read_tombstones
from radio_io.progress import NoProgress
from radio_io.remote_dataset import cache_folder, mirror, mirror_folder, readable_root, staging_root
from radio_io.sharding.build import build_dataset
from radio_io.sharding.forget import forget
from radio_io.sharding.forget_request import ForgetRequest, tombstones_for
from radio_io.sharding.places import source_root, working_root
from radio_io.sharding.verify import verify_dataset
from small_datasets import files_of
from unit.sharding.test_forget import PATIENTS, config_of, copy_of, whole  # noqa: F401
from unit.sources.test_remote_dataset import objects, pending, surroundings  # noqa: F401

pytestmark = pytest.mark.slow
FAULTS = ["PUT .tar", "PUT .idx", "PUT .parquet", "DELETE .tar", "DELETE .parquet", "PUT labels/odd.parquet"]
FAULTS += ["PUT index.duckdb", "PUT dataset.json", "DELETE versionId"]


@pytest.fixture
def remote(whole, bucket, tmp_path):  # noqa: F811
    """The dataset in a bucket that keeps versions, and its private folder without a staging folder."""
    client, name = bucket
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for path in whole.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), name, f"shards/{path.relative_to(whole).as_posix()}")
    shutil.copytree(DatasetLayout(whole).private, tmp_path / "shards.private")
    return f"s3://{name}/shards"


def withdrawal(root):
    """Everybody of the smallest shard, so that it goes, and others lose some of their images."""
    layout, key = DatasetLayout(root), open_dataset_key(root)
    smallest = min(layout.record_paths(), key=lambda path: pq.read_metadata(path).num_rows)
    present = set(pq.read_table(smallest, columns=["patient_key"])["patient_key"].to_pylist())
    patients = [f"P{number}" for number in range(PATIENTS)]
    everybody = {name: tombstones_for(ForgetRequest(patients=(name,)), key) for name in patients}
    chosen = [name for name in patients if any(everybody[name].covers_keys(each, "") for each in present)]
    assert 0 < len(chosen) < PATIENTS
    return tombstones_for(ForgetRequest(patients=(*chosen, "P1")), key), (*chosen, "P1")


def withdrawn_bytes(root, tombstones):
    """The encoded images and the keys that must not be left."""
    layout, found = DatasetLayout(root), []
    for path in layout.record_paths():
        tar = layout.tar_path(layout.shard_id_of(path)).read_bytes()
        for row, place in placed_rows(read_record(path).table):
            if tombstones.covers(row):
                found.append(tar[place.image_offset : place.image_offset + place.image_size])
                found.append(row.key.encode())
    assert len(found) >= 8
    return found


def versions(bucket):
    """The content of every version of every object."""
    client, name = bucket
    listed = client.list_object_versions(Bucket=name)
    assert not listed["IsTruncated"]
    return [
        client.get_object(Bucket=name, Key=each["Key"], VersionId=each["VersionId"])["Body"].read()
        for each in listed.get("Versions", ())
    ]


def shard_objects(bucket):
    found = objects(bucket)
    return {name: digest for name, digest in found.items() if name not in ("index.duckdb", "dataset.json")}


@pytest.fixture
def expected(whole, tmp_path):  # noqa: F811
    """The tombstones, the bytes that must go, and the objects that stay, by a withdrawal from a folder."""
    local = copy_of(whole, tmp_path / "local")
    tombstones, patients = withdrawal(local)
    gone = withdrawn_bytes(local, tombstones)
    before = len(DatasetLayout(local).record_paths())
    forget(local, tombstones, NoProgress())
    assert 0 < len(DatasetLayout(local).record_paths()) < before
    kept = {name: hashlib.sha256(data).hexdigest() for name, data in files_of(local).items()}
    return tombstones, patients, gone, kept


def require_gone(tmp_path, bucket, gone, kept):
    assert shard_objects(bucket) == kept
    assert pending(bucket) == []
    private = DatasetLayout(tmp_path / "shards.private" / ".staging")
    assert read_tombstones(private).pending is None
    left = [path.read_bytes() for path in (tmp_path / "shards.private").rglob("*") if path.is_file()]
    left += [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    for content in (*versions(bucket), *left):
        assert not any(each in content for each in gone)
    assert verify_dataset(mirror(f"s3://{bucket[1]}/shards"), NoProgress()).faults == []


def test_leaves_nothing_over_a_failing_connection(tmp_path, s3, bucket, remote, expected):
    tombstones, _, gone, kept = expected
    readable_root(remote)
    mirror(remote)
    source_root(remote)
    client, name = bucket
    assert all(any(each in content for content in versions(bucket)) for each in gone)
    client.create_multipart_upload(Bucket=name, Key="shards/train/h128w128/000099.tar")  # as a killed build leaves it
    with s3.failing(every=4):
        root = working_root(remote, tmp_path / "shards.private")
        planned = forget(root, tombstones, NoProgress(), dry_run=True)
        done = forget(root, tombstones, NoProgress())
    assert (planned.images, planned.shards) == (done.images, done.shards) == (len(gone) // 2, planned.shards)
    assert not cache_folder(remote).exists()
    assert not mirror_folder(remote, "source").exists()
    require_gone(tmp_path, bucket, gone, kept)
    assert forget(root, tombstones, NoProgress()).images == 0


@pytest.mark.parametrize(
    ("fault", "then"), [*((fault, "forget") for fault in FAULTS), ("PUT .parquet", "build"), ("DELETE .tar", "build")]
)
def test_claims_nothing_before_it_is_done(tmp_path, s3, bucket, remote, whole, expected, monkeypatch, fault, then):  # noqa: F811
    """The store refuses one kind of request; the withdrawal stays pending, and the next command completes it."""
    tombstones, _, gone, kept = expected
    private = tmp_path / "shards.private"
    root = working_root(remote, private)
    method, _, name = fault.partition(" ")

    def refuse(asked, path):
        return asked == method and (name in path if name == "versionId" else path.partition("?")[0].endswith(name))

    with monkeypatch.context() as patch:
        patch.setattr(object_store, "ATTEMPTS", 2)
        patch.setattr(s3, "refuse", refuse)
        with pytest.raises(StorageError, match="run the same command again"):
            forget(root, tombstones, NoProgress())
    assert read_tombstones(DatasetLayout(root)).pending is not None
    shutil.rmtree(root)  # the private folder alone is enough
    if then == "forget":
        forget(working_root(remote, private), tombstones, NoProgress())
    else:
        sources = (str((whole.parent / "source").resolve()),)
        config = replace(config_of(whole), sources=sources, dataset=staging_root(remote, private), dataset_url=remote)
        assert build_dataset(config, NoProgress()).new_images == 0
    require_gone(tmp_path, bucket, gone, kept)


def test_goes_on_after_a_kill(tmp_path, s3, bucket, remote, expected):
    _, patients, gone, kept = expected
    options = [word for patient in patients for word in ("--patient", patient)]
    command = [sys.executable, "-m", "radio_cli", "forget", *options, "--dataset", remote]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    s3.requests.clear()
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **quiet)
    while not any(method == "PUT" and path.endswith(".tar") for method, path, _ in list(s3.requests)):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert read_tombstones(DatasetLayout(tmp_path / "shards.private" / ".staging")).pending is not None
    assert subprocess.run(command, cwd=tmp_path, check=False, **quiet).returncode == 0
    require_gone(tmp_path, bucket, gone, kept)


def test_refuses_tars_that_nobody_can_look_into(tmp_path, bucket, remote, expected):
    client, name = bucket
    record = next(each for each in objects(bucket) if each.endswith(".parquet") and "/h" in each)
    client.delete_object(Bucket=name, Key=f"shards/{record}")
    root = working_root(remote, tmp_path / "shards.private")
    with pytest.raises(DatasetError, match="no record"):
        forget(root, expected[0], NoProgress())
    assert not read_tombstones(DatasetLayout(root))


def test_needs_the_private_folder(tmp_path, remote):
    with pytest.raises(UsageError, match="--private"):
        working_root(remote, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_labels_come_and_go(tmp_path, s3, bucket, remote, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("PatientID,side\nP1,left\nP2,right\nP99,left\n")
    runner = CliRunner()

    def run(*arguments, code=0):
        result = runner.invoke(app, ["labels", *arguments, "--dataset", remote])
        assert result.exit_code == code, result.output + str(result.exception)
        return result.output

    columns = ["--id-column", "PatientID", "--label-column", "side", "--task", "side"]
    assert "nothing was written" in run("import", "labels.csv", *columns, "--dry-run")
    assert "labels/side.parquet" not in objects(bucket)
    assert "8 images have a label" in run("import", "labels.csv", *columns)
    assert '"side"' in run("list", "--json")
    assert len(load_labels(readable_root(remote), "side")) == 8
    assert verify_dataset(mirror(remote), NoProgress()).faults == []
    assert "8 images" in run("remove", "--task", "side", "--dry-run")
    assert "labels/side.parquet" in objects(bucket)
    assert "8 images" in run("remove", "--task", "side")
    assert "labels/side.parquet" not in objects(bucket)
    assert set(indexed_labels(readable_root(remote))) == {"odd"}
    assert verify_dataset(mirror(remote), NoProgress()).faults == []


@pytest.mark.parametrize("fault", ["labels/side.parquet", "index.duckdb", "dataset.json"])
def test_labels_go_on_after_an_end_at_any_object(tmp_path, s3, bucket, remote, monkeypatch, fault):
    private = tmp_path / "shards.private"
    root = working_root(remote, private)
    labels = dict.fromkeys(list(indexed_labels(root)["odd"])[:5], "left")
    for change in (lambda: store_labels(working_root(remote, private), "side", labels), lambda: removed()):

        def removed():
            return remove_task(working_root(remote, private), "side")

        with monkeypatch.context() as patch:
            patch.setattr(object_store, "ATTEMPTS", 2)
            patch.setattr(s3, "refuse", lambda method, path: method in ("PUT", "DELETE") and path.endswith(fault))
            with pytest.raises(StorageError, match="run the same command again"):
                change()
        change()
        assert verify_dataset(mirror(remote), NoProgress()).faults == []
    assert "side" not in indexed_labels(readable_root(remote))
