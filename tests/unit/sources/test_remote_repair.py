"""`shard verify --repair` of a dataset in a store: the bytes that were there, or a line that says what is lost."""

import shutil

import pytest
from typer.testing import CliRunner

from radio_cli.main import app
from radio_io import object_store
from radio_io.config import BuildConfig
from radio_io.errors import StorageError
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.remote_dataset import mirror
from radio_io.sharding.places import working_root
from radio_io.sharding.repair import repair_dataset
from radio_io.sharding.verify import verify_dataset
from unit.sharding.test_repair import whole  # noqa: F401
from unit.sources.test_remote_dataset import objects, surroundings  # noqa: F401

pytestmark = pytest.mark.slow
SHARD = "train/h112w96/000000"
NAMES = [f"{SHARD}.tar", f"{SHARD}.idx", f"{SHARD}.parquet", "labels/odd.parquet", "dataset.json"]


@pytest.fixture
def remote(whole, bucket, tmp_path):  # noqa: F811
    client, name = bucket
    for path in whole.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), name, f"shards/{path.relative_to(whole).as_posix()}")
    shutil.copytree(DatasetLayout(whole).private, tmp_path / "shards.private")
    return f"s3://{name}/shards"


def repair(tmp_path, remote, **options):
    root = working_root(remote, tmp_path / "shards.private", as_it_is=True)
    return repair_dataset(root, NoProgress(), config=BuildConfig(dataset=root, workers=0), workers=0, **options)


def damage(bucket, name, how):
    client, place = bucket[0], {"Bucket": bucket[1], "Key": f"shards/{name}"}
    if how == "deleted":
        client.delete_object(**place)
        return
    body = bytearray(client.get_object(**place)["Body"].read())
    body[len(body) // (8 if name.startswith("labels") else 2)] ^= 4
    client.put_object(**place, Body=bytes(body))


@pytest.mark.parametrize("how", ["deleted", "flipped"])
@pytest.mark.parametrize("name", NAMES)
def test_makes_an_object_again_as_it_was(tmp_path, bucket, remote, name, how):
    before = objects(bucket)
    assert name in before
    damage(bucket, name, how)
    damaged = objects(bucket)
    planned = repair(tmp_path, remote, dry_run=True)
    assert planned.done
    assert objects(bucket) == damaged
    done = repair(tmp_path, remote)
    assert (done.faults, done.lost, len(done.done)) == ([], [], len(planned.done))
    assert objects(bucket) == before
    assert verify_dataset(mirror(remote), NoProgress()).faults == []
    assert not list((tmp_path / "shards.private" / ".staging").rglob("*.tar"))
    kept = [path for path in (tmp_path / "shards.private" / "quarantine").rglob("*") if path.is_file()]
    assert len(kept) == (how == "flipped")


def test_goes_on_after_an_end(tmp_path, s3, bucket, remote, monkeypatch):
    before = objects(bucket)
    damage(bucket, f"{SHARD}.tar", "flipped")
    damage(bucket, f"{SHARD}.parquet", "deleted")
    with monkeypatch.context() as patch:
        patch.setattr(object_store, "ATTEMPTS", 2)
        patch.setattr(s3, "refuse", lambda method, path: method == "PUT" and path.endswith(".parquet"))
        with pytest.raises(StorageError, match="run the same command again"):
            repair(tmp_path, remote)
    assert repair(tmp_path, remote).faults == []
    assert objects(bucket) == before


def test_says_what_is_lost(tmp_path, bucket, remote, monkeypatch):
    damage(bucket, f"{SHARD}.tar", "deleted")
    shutil.rmtree(tmp_path / "shards.private" / "plan")
    monkeypatch.chdir(tmp_path)
    command = ["shard", "verify", "--repair", "--workers", "1", "--dataset", remote]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1, result.output + str(result.exception)
    assert f"LOST {SHARD}: " in result.output
    assert remote in result.output
    assert f"{SHARD}.parquet" in objects(bucket)
