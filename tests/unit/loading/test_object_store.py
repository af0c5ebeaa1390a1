"""Shards in an S3 bucket: each image exactly once and right, whatever the network does meanwhile."""

import boto3
import numpy as np
import pytest

from loading_collect import collect, delivered_keys, expected_patches
from radio_io import object_store
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.reading import ReadConfig
from radio_io.loading.torch_loader import PackLoader
from s3_server import s3_server

pytestmark = pytest.mark.slow
PATCH = 16
FAULTS = {"error", "reset", "cut", "slow"}


@pytest.fixture(scope="module")
def shards_in_s3(sharded):
    with s3_server() as proxy:
        client = boto3.client("s3")
        client.create_bucket(Bucket="radiographs")
        for path in sorted(sharded.root.glob("*/*/*.tar")):
            client.upload_file(str(path), "radiographs", f"shards/{path.relative_to(sharded.root).as_posix()}")
        yield proxy


def configured(**reading):
    reading = {"store": "s3://radiographs/shards", "range_bytes": 100_000} | reading
    return LoaderConfig(patch_size=PATCH, token_budget=6000, workers=2, max_bad=0, reading=ReadConfig(**reading))


def test_every_image_arrives_once_and_whole_through_faults(shards_in_s3, sharded, table, monkeypatch):
    monkeypatch.setattr(object_store, "FIRST_PAUSE_S", 0.001)
    start = OrderState(seed=3, step_images=30)
    with shards_in_s3.failing(every=3) as proxy, PackLoader(sharded.root, table, configured(), start) as loader:
        found = collect(loader, epochs=1)
        assert not loader.bad_images
    assert set(proxy.failures) == FAULTS
    row_of = {table.key(row): row for row in range(len(table))}
    arrived = [key for images in found.values() for key in images]
    assert sorted(arrived) == sorted(row_of)
    for images in found.values():
        for key, patches in images.items():
            assert np.array_equal(patches, expected_patches(sharded.root, table, row_of[key], PATCH))


def test_steps_are_those_of_a_folder(shards_in_s3, sharded, table):
    start = OrderState(seed=4, step_images=25)
    with PackLoader(sharded.root, table, configured(), start) as loader:
        remote = delivered_keys(loader)
    with PackLoader(sharded.root, table, configured(store=None), start) as loader:
        assert delivered_keys(loader) == remote
