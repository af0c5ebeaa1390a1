"""Datasets in an object store: complete, the same as local ones, nothing half-written, whatever the connection does."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import radio_io
from loading_collect import collect
from radio_cli.main import app
from radio_io import object_put, object_store, remote_dataset
from radio_io.config import BuildConfig
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, KeyFileError, StorageError, UsageError
from radio_io.labels.store import indexed_labels, task_path, write_task
from radio_io.layout import DatasetLayout
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.table import load_image_table
from radio_io.loading.torch_loader import PackLoader
from radio_io.object_put import put_object
from radio_io.object_store import open_object_store
from radio_io.progress import NoProgress
from radio_io.remote_dataset import mirror, readable_root, staging_root
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import build_dataset, publish_index
from radio_io.sharding.verify import verify_dataset
from unit.sources.test_archives import CONTENTS, dicom, shards, unpacked  # noqa: F401

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setattr(object_store, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote_dataset, "_TRY_AGAIN_S", 0.0)
    monkeypatch.setenv("RADIO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path):
    for name, content in CONTENTS.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "src"


def config_of(tmp_path, url, *, workers=0, private="p"):
    layout = DatasetLayout(staging_root(url, tmp_path / private))
    if not layout.key_file.exists():
        layout.private.mkdir(mode=0o700, exist_ok=True)
        layout.key_file.write_bytes(KEY)
        layout.key_file.chmod(0o600)
    bins = Bins.parse("600,1200")
    sources = (str(tmp_path / "src"),)
    return BuildConfig(dataset=layout.root, dataset_url=url, sources=sources, bins=bins, workers=workers)


def objects(bucket, prefix="shards/"):
    """SHA-256 of every object, by its name below the prefix."""
    client, name = bucket
    found = client.list_objects_v2(Bucket=name, Prefix=prefix).get("Contents", [])
    bodies = {entry["Key"]: client.get_object(Bucket=name, Key=entry["Key"])["Body"].read() for entry in found}
    return {key.removeprefix(prefix): hashlib.sha256(body).hexdigest() for key, body in bodies.items()}


def shard_objects(bucket):
    return {name: digest for name, digest in objects(bucket).items() if "/" in name}


def pending(bucket):
    client, name = bucket
    return client.list_multipart_uploads(Bucket=name).get("Uploads", [])


def url_of(bucket):
    return f"s3://{bucket[1]}/shards"


def test_is_the_local_dataset_over_a_failing_connection(tmp_path, s3, bucket, source, unpacked):  # noqa: F811
    with s3.failing(every=2):
        summary = build_dataset(config_of(tmp_path, url_of(bucket)), NoProgress())
        assert sum(s3.failures.values()) >= 8
    assert (summary.images, summary.missing_shards) == (6, 0)
    assert shard_objects(bucket) == unpacked
    assert set(objects(bucket)) - set(unpacked) == {"dataset.json", "index.duckdb"}
    assert pending(bucket) == []
    assert not list((tmp_path / "p").rglob("*.tar")), "tars leave once they are safely put"
    with s3.failing(every=2):
        report = verify_dataset(mirror(url_of(bucket)), NoProgress())
    assert (report.faults, report.images) == ([], 6)
    data = radio_io.open_dataset(url_of(bucket))
    assert data[data.keys()[0]].pixels.shape[1] == 80


@pytest.mark.slow
def test_is_the_local_dataset_with_worker_processes(tmp_path, s3, bucket, source, unpacked):  # noqa: F811
    with s3.failing(every=3):
        build_dataset(config_of(tmp_path, url_of(bucket), workers=2), NoProgress())
    assert shard_objects(bucket) == unpacked


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["nothing", "staging"])
@pytest.mark.parametrize("refused", [".tar", ".idx", ".parquet", "index.duckdb", "dataset.json"])
def test_goes_on_after_an_end_at_any_object(tmp_path, s3, bucket, source, unpacked, monkeypatch, refused, lost):  # noqa: F811
    """The store refuses one kind of object from its second one on; the next build completes the dataset."""
    config = config_of(tmp_path, url_of(bucket))
    seen = []

    def refuse(method, path):
        name = path.partition("?")[0]
        if method != "PUT" or not name.endswith(refused):
            return False
        seen.append(name)
        return name != seen[0] or refused in ("index.duckdb", "dataset.json")

    with monkeypatch.context() as patch:
        patch.setattr(object_store, "ATTEMPTS", 2)
        patch.setattr(s3, "refuse", refuse)
        with pytest.raises(StorageError, match="run the same command again"):
            build_dataset(config, NoProgress())
    records = {name for name in objects(bucket) if name.endswith(".parquet")}
    assert all(name.replace(".parquet", ".tar") in objects(bucket) for name in records)
    if lost == "staging":
        shutil.rmtree(config.dataset)
    summary = build_dataset(config, NoProgress())
    assert (summary.images, shard_objects(bucket)) == (6, unpacked)
    assert verify_dataset(mirror(url_of(bucket)), NoProgress()).faults == []


@pytest.mark.slow
def test_adds_new_files_from_a_machine_that_has_only_the_private_folder(tmp_path, s3, bucket, source):
    config = config_of(tmp_path, url_of(bucket))
    build_dataset(config, NoProgress())
    before = shard_objects(bucket)
    shutil.rmtree(config.dataset)
    (source / "new.dcm").write_bytes(dicom(99))
    s3.requests.clear()
    summary = build_dataset(config, NoProgress())
    assert (summary.images, summary.new_images) == (7, 1)
    assert shard_objects(bucket).items() > before.items()
    put = {path for method, path, _ in s3.requests if method == "PUT"}
    assert len([path for path in put if ".tar" in path]) == 1, "what is there is not put again"


@pytest.mark.slow
def test_builds_again_what_somebody_removed(tmp_path, bucket, source, unpacked):  # noqa: F811
    client, name = bucket
    config = config_of(tmp_path, url_of(bucket))
    build_dataset(config, NoProgress())
    gone = next(each for each in unpacked if each.endswith(".tar"))
    client.delete_object(Bucket=name, Key=f"shards/{gone}")
    assert any(gone in fault for fault in verify_dataset(mirror(url_of(bucket)), NoProgress()).faults)
    build_dataset(config, NoProgress())
    assert shard_objects(bucket) == unpacked


@pytest.mark.slow
def test_verifies_every_byte(tmp_path, bucket, source, unpacked):  # noqa: F811
    client, name = bucket
    build_dataset(config_of(tmp_path, url_of(bucket)), NoProgress())
    tar = next(each for each in unpacked if each.endswith(".tar"))
    body = bytearray(client.get_object(Bucket=name, Key=f"shards/{tar}")["Body"].read())
    body[len(body) // 2] ^= 1
    client.put_object(Bucket=name, Key=f"shards/{tar}", Body=bytes(body))
    client.put_object(Bucket=name, Key="shards/train/stranger.txt", Body=b"x")
    faults = verify_dataset(mirror(url_of(bucket)), NoProgress()).faults
    assert any(tar in fault for fault in faults)
    assert any("stranger.txt" in fault for fault in faults)


def test_puts_large_files_in_parts_and_leaves_none_behind(tmp_path, s3, bucket, monkeypatch):
    client, name = bucket
    monkeypatch.setattr(object_put, "PART_BYTES", 5 << 20)
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (12 << 12))
    client.create_multipart_upload(Bucket=name, Key="large")  # as a killed process leaves it
    with s3.failing(every=2):
        put_object(open_object_store("s3://x"), path, f"s3://{name}/large")
    assert client.get_object(Bucket=name, Key="large")["Body"].read() == path.read_bytes()
    assert pending(bucket) == []


def test_leaves_no_part_where_the_store_refuses(tmp_path, s3, bucket, monkeypatch):
    client, name = bucket
    monkeypatch.setattr(object_put, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(object_store, "ATTEMPTS", 2)
    path = tmp_path / "large"
    path.write_bytes(bytes(12 << 20))
    monkeypatch.setattr(s3, "refuse", lambda method, path: "partNumber=2" in path)
    with pytest.raises(StorageError, match="run the same command again"):
        put_object(open_object_store("s3://x"), path, f"s3://{name}/large")
    assert pending(bucket) == []
    assert "Contents" not in client.list_objects_v2(Bucket=name)


@pytest.mark.slow
def test_refuses_another_key_and_another_private_folder(tmp_path, bucket, source):
    build_dataset(config_of(tmp_path, url_of(bucket)), NoProgress())
    other = config_of(tmp_path, f"s3://{bucket[1]}/others")
    with pytest.raises(UsageError, match="--private"):
        build_dataset(other, NoProgress())
    without_key = config_of(tmp_path, url_of(bucket), private="q")
    DatasetLayout(without_key.dataset).key_file.unlink()
    with pytest.raises(KeyFileError):
        build_dataset(without_key, NoProgress())


@pytest.mark.slow
def test_refuses_an_index_that_is_not_the_one_that_was_published(tmp_path, bucket, source):
    client, name = bucket
    build_dataset(config_of(tmp_path, url_of(bucket)), NoProgress())
    readable_root(url_of(bucket))
    client.put_object(Bucket=name, Key="shards/index.duckdb", Body=b"other")
    assert readable_root(url_of(bucket)).exists(), "the cached one is the one that is named"
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DatasetError, match="index rebuild"):
        readable_root(url_of(bucket))


@pytest.mark.slow
def test_commands_take_a_url(tmp_path, bucket, source, monkeypatch):
    url = url_of(bucket)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*arguments, code=0):
        result = runner.invoke(app, [*arguments, "--dataset", url])
        assert result.exit_code == code, result.output + str(result.exception)
        return result.output

    assert "nothing was written" in run("shard", "build", "src", "--dry-run")
    assert not Path("shards.private").exists()
    run("shard", "build", "src", "--bins", "600,1200", "--workers", "1")
    assert Path("shards.private/pseudonym.key").stat().st_mode & 0o777 == 0o600
    assert Path("shards.private").stat().st_mode & 0o777 == 0o700
    assert "6 images" in run("shard", "info")
    assert "train/h600w600/000000" in run("shard", "ls", "--json")
    assert run("query", "rows > 0", "--count").strip().endswith("6")
    assert "all good" in run("shard", "verify", "--workers", "1")
    assert "wrote" in run("index", "rebuild")
    assert "all good" in run("shard", "verify", "--quick", "--workers", "1")
    result = runner.invoke(app, ["report", "--dataset", url, "--out", "r.html"])
    assert isinstance(result.exception, UsageError | SystemExit)
    assert not Path("r.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [".tar", ".parquet", "index.duckdb"])
def test_goes_on_after_a_kill(tmp_path, s3, bucket, source, unpacked, moment):  # noqa: F811
    url = url_of(bucket)
    config = config_of(tmp_path, url)
    command = [sys.executable, "-m", "radio_cli", "shard", "build", str(source), "--bins", "600,1200"]
    s3.requests.clear()
    process = subprocess.Popen(
        [*command, "--workers", "1", "--dataset", url, "--private", str(tmp_path / "p")],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not any(method == "PUT" and path.endswith(moment) for method, path, _ in list(s3.requests)):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for name in [each for each in objects(bucket) if "/" in each]:
        assert objects(bucket)[name] == unpacked[name], "what is there is whole"
    summary = build_dataset(config, NoProgress())
    assert (summary.images, shard_objects(bucket)) == (6, unpacked)
    assert pending(bucket) == []
    assert not list((tmp_path / "p").rglob(".tmp-*"))
    assert not list((tmp_path / "p").rglob("*.tar"))
    assert verify_dataset(mirror(url), NoProgress()).faults == []


@pytest.mark.slow
def test_trains_from_a_url_as_from_a_folder(s3, bucket, built):
    client, name = bucket
    for path in built.root.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), name, f"shards/{path.relative_to(built.root).as_posix()}")
    config, state = LoaderConfig(patch_size=16, token_budget=6000, workers=2), OrderState(seed=1, step_images=20)
    found = {}
    for root in (built.root, readable_root(url_of(bucket))):
        table = load_image_table(root, "train", where="rows <= 600 and columns <= 600")
        with s3.failing(every=5), PackLoader(root, table, config, state) as loader:
            found[root] = collect(loader)
    local, remote = found.values()
    assert local.keys() == remote.keys()
    for step in local:
        assert all((remote[step][key] == patches).all() for key, patches in local[step].items())


@pytest.mark.slow
def test_keeps_the_labels_of_a_copied_dataset(tmp_path, bucket, source):
    client, name = bucket
    build_dataset(config_of(tmp_path, url_of(bucket)), NoProgress())
    copy = DatasetLayout(mirror(url_of(bucket)))
    keys = radio_io.open_dataset(url_of(bucket)).keys()
    write_task(copy, "fracture", dict.fromkeys(keys, "yes"))
    client.upload_file(str(task_path(copy, "fracture")), name, "shards/labels/fracture.parquet")
    shutil.rmtree(tmp_path / "cache")
    layout = DatasetLayout(mirror(url_of(bucket)))
    publish_index(layout, read_dataset_file(layout.root))
    assert set(indexed_labels(readable_root(url_of(bucket)))["fracture"]) == set(keys)
    assert verify_dataset(mirror(url_of(bucket)), NoProgress()).faults == []
