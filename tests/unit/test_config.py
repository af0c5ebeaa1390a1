"""What a build may be told."""

import pickle
from pathlib import Path

import pytest

from radio_io.config import BuildConfig, SplitShares
from radio_io.errors import ConfigError
from radio_io.layout import Split


def test_takes_words_of_the_command_line_and_pickles():
    config = BuildConfig(dataset=Path("shards"), render="voi", dates="year", frames="first")  # pyright: ignore
    assert (config.render, config.dates, config.frames) == ("voi", "year", "first")
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    "wrong",
    [
        {"codec": "png"},
        {"render": "best"},
        {"dates": "keep"},
        {"frames": "some"},
        {"shard_size_bytes": 0},
        {"workers": -1},
        {"min_shard_images": 0},
        {"file_timeout_s": 0},
    ],
)
def test_refuses_what_cannot_be_meant(wrong):
    with pytest.raises(ConfigError, match="expected"):
        BuildConfig(dataset=Path("shards"), **wrong)


def test_splits_by_fraction():
    shares = SplitShares()
    assert [shares.split_of(fraction) for fraction in (0.0, 0.7999, 0.8, 0.8499, 0.85, 0.999999)] == [
        Split.TRAIN, Split.TRAIN, Split.VAL, Split.VAL, Split.TEST, Split.TEST,
    ]  # fmt: skip
    assert SplitShares(train=1, val=0, test=0).split_of(0.999999999) == Split.TRAIN
    with pytest.raises(ConfigError, match="sum 1"):
        SplitShares(train=0.5, val=0.5, test=0.5)
