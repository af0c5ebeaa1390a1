"""A dataset of many small shards in several bins."""

from dataclasses import replace

import pytest

from radio_io.config import BuildConfig
from radio_io.loading.table import load_image_table
from radio_io.progress import NoProgress
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import build_dataset


@pytest.fixture(scope="session")
def sharded(built, tmp_path_factory):
    """The synthetic radiographs of `built` again, in shards of about five images and in bins that fit their sizes."""
    root = tmp_path_factory.mktemp("sharded") / "shards"
    config = BuildConfig(
        dataset=root,
        sources=(str(built.export),),
        workers=2,
        bins=Bins.parse("96,144,192,240,3072"),
        shard_size_bytes=120_000,
        min_shard_images=1,
    )
    summary = build_dataset(config, NoProgress())
    return replace(built, root=root, summary=summary)


@pytest.fixture(scope="session")
def table(sharded):
    """All training images but the largest."""
    return load_image_table(sharded.root, "train", where="rows <= 600 and columns <= 600")
