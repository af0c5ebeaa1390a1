"""Rebin and merge from and to object stores: the bytes that folders give, whatever is interrupted."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from radio_cli.main import app
from radio_io import object_store
from radio_io.errors import DatasetError, StorageError, UsageError
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.remote_dataset import mirror, staging_root
from radio_io.sharding.derive import DeriveConfig, rebin_dataset
from radio_io.sharding.places import source_root
from radio_io.sharding.verify import verify_dataset
from small_datasets import NEW, files_of
from unit.sharding.test_derive import SMALL, rebin, whole  # noqa: F401
from unit.sources.test_remote_dataset import objects, pending, surroundings  # noqa: F401


@pytest.fixture
def url(whole, bucket):  # noqa: F811
    """A copy of a dataset in a bucket, without its private folder."""
    client, name = bucket
    for path in whole.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), name, f"shards/{path.relative_to(whole).as_posix()}")
    return f"s3://{name}/shards"


@pytest.fixture
def expected(whole, tmp_path):  # noqa: F811
    """The objects of a rebinned copy, without the index, by what a folder gives."""
    rebin(whole, tmp_path / "local")
    return {name: hashlib.sha256(data).hexdigest() for name, data in files_of(tmp_path / "local").items()}


def new_objects(bucket):
    found = objects(bucket, "new/")
    return {name: digest for name, digest in found.items() if name not in ("index.duckdb", "dataset.json")}


def config_of(tmp_path, bucket, source, workers=0):
    new = f"s3://{bucket[1]}/new"
    out = staging_root(new, tmp_path / "p")
    return DeriveConfig(sources=(source,), out=out, out_url=new, sizes=SMALL, workers=workers)


def require_whole(tmp_path, bucket, expected):
    assert new_objects(bucket) == expected
    assert pending(bucket) == []
    assert [path for pattern in (".tmp-*", "*.tar") for path in (tmp_path / "p").rglob(pattern)] == []
    assert verify_dataset(mirror(f"s3://{bucket[1]}/new"), NoProgress()).faults == []


@pytest.mark.slow
def test_rebins_from_a_url_to_a_url_over_a_failing_connection(tmp_path, s3, bucket, url, expected):
    before = objects(bucket)
    with s3.failing(every=4):
        config = config_of(tmp_path, bucket, source_root(url), workers=2)
        assert rebin_dataset(config, NEW, NoProgress(), dry_run=True).images == 60
        assert new_objects(bucket) == {}
        assert rebin_dataset(config, NEW, NoProgress()).new_images == 60
    require_whole(tmp_path, bucket, expected)
    assert any(name.startswith("labels/") for name in expected)
    assert objects(bucket) == before
    assert rebin_dataset(config, NEW, NoProgress()).new_shards == 0


@pytest.mark.slow
@pytest.mark.parametrize("refused", [".tar", ".parquet", "labels/odd.parquet", "index.duckdb", "dataset.json"])
def test_goes_on_after_an_end_at_any_object(tmp_path, s3, bucket, whole, expected, monkeypatch, refused):  # noqa: F811
    """The store refuses one kind of object from its second one on; dataset.json comes twice, the others once."""
    config, puts = config_of(tmp_path, bucket, whole), []

    def refuse(method, path):
        if method != "PUT" or not path.endswith(refused):
            return False
        puts.append(path)
        return len(puts) > 1 or refused in ("labels/odd.parquet", "index.duckdb")

    with monkeypatch.context() as patch:
        patch.setattr(object_store, "ATTEMPTS", 2)
        patch.setattr(s3, "refuse", refuse)
        with pytest.raises(StorageError, match="run the same command again"):
            rebin_dataset(config, NEW, NoProgress())
    shutil.rmtree(config.out)  # the private folder alone is enough
    rebin_dataset(config, NEW, NoProgress())
    require_whole(tmp_path, bucket, expected)


@pytest.mark.slow
def test_goes_on_after_a_kill(tmp_path, s3, bucket, url, expected):
    new = f"s3://{bucket[1]}/new"
    command = [sys.executable, "-m", "radio_cli", "shard", "rebin", "--bins", "100x96,104x96,128x128"]
    sizes = ["--shard-size", "60kB", "--min-shard-images", "3", "--workers", "1"]
    places = ["--dataset", url, "--out", new, "--private", str(tmp_path / "p")]
    s3.requests.clear()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, *sizes, *places], start_new_session=True, cwd=tmp_path, **quiet)
    while sum(method == "PUT" and path.endswith(".tar") for method, path, _ in list(s3.requests)) < 3:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(new_objects(bucket)) < len(expected)
    assert subprocess.run([*command, *sizes, *places], check=False, cwd=tmp_path, **quiet).returncode == 0
    require_whole(tmp_path, bucket, expected)


@pytest.mark.slow
def test_refuses_a_place_that_holds_something_else(tmp_path, bucket, url, whole):  # noqa: F811
    before = objects(bucket)
    out = staging_root(url, tmp_path / "p")
    onto = DeriveConfig(sources=(whole,), out=out, out_url=url, sizes=SMALL, workers=0)
    with pytest.raises(DatasetError, match="another dataset"):
        rebin_dataset(onto, NEW, NoProgress())
    inside = DeriveConfig(sources=(source_root(url),), out=out, out_url=f"{url}/new", sizes=SMALL, workers=0)
    with pytest.raises(UsageError, match="lies in a source"):
        rebin_dataset(inside, NEW, NoProgress())
    assert objects(bucket) == before
    assert not DatasetLayout(out).private.exists()


@pytest.mark.slow
def test_merges_a_folder_and_a_url(tmp_path, bucket, url, whole, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    options = ["--shard-size", "60kB", "--min-shard-images", "3", "--workers", "1"]
    result = runner.invoke(app, ["shard", "merge", url, str(whole), "--out", f"s3://{bucket[1]}/new", *options])
    assert result.exit_code == 0, result.output + str(result.exception)
    assert "60 images" in result.output
    assert "DUPLICATE" in result.output
    key = tmp_path / "new.private" / "pseudonym.key"
    assert key.read_bytes() == DatasetLayout(whole).key_file.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    shutil.copytree(whole, tmp_path / "copy")
    result = runner.invoke(app, ["shard", "merge", "copy", str(whole), "--out", "local", *options])
    assert result.exit_code == 0
    local = {name: hashlib.sha256(data).hexdigest() for name, data in files_of(tmp_path / "local").items()}
    assert new_objects(bucket) == local
    result = runner.invoke(app, ["shard", "merge", url, url, "--out", "again", *options])
    assert isinstance(result.exception, UsageError)
