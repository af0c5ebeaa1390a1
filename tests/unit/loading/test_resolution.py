"""Lower resolutions: only the front of each image is read, and the pixels are those of the reference decoder."""

import imagecodecs
import numpy as np
import pytest

from loading_collect import images_of_pack
from radio_io.codecs.htj2k import HTJ2K
from radio_io.layout import DatasetLayout
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.reading import ReadConfig, plan_ranges
from radio_io.loading.table import load_image_table
from radio_io.loading.torch_loader import PackLoader

LARGE = "rows > 600 and columns > 600"


@pytest.mark.parametrize(("halvings", "share"), [(1, 0.35), (2, 0.11), (3, 0.05)])
def test_reads_only_the_front_of_each_image(built, halvings, share):
    full = load_image_table(built.root, None, where=LARGE)
    small = load_image_table(built.root, None, where=LARGE, halvings=halvings)
    assert len(small) == len(full) >= 8
    ranges = plan_ranges(small, np.arange(len(small)), ReadConfig())
    assert sum(each.size for each in ranges) <= share * full.sizes.sum()


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_gives_the_pixels_of_the_reference_reduction(built, halvings):
    table = load_image_table(built.root, None, where=LARGE, halvings=halvings)
    config = LoaderConfig(patch_size=16, token_budget=40_000, halvings=halvings, shuffle=False, workers=2)
    with PackLoader(built.root, table, config, OrderState(seed=0, step_images=len(table))) as loader:
        images = {}
        for pack in loader:
            images |= dict(images_of_pack(pack))
            if pack.is_last_of_step:
                break
    assert len(images) == len(table)
    for row in range(len(table)):
        with DatasetLayout(built.root).tar_path(table.shard_ids[table.shards[row]]).open("rb") as file:
            file.seek(int(table.offsets[row]))
            front = file.read(int(table.sizes[row]))
        reference = imagecodecs.jpeg2k_decode(HTJ2K.reduced_image(front, halvings))  # by OpenJPEG
        assert reference.shape == table.shape(row)
        height, width = table.grids_of(np.array([row]), 16)[0]
        padded = np.zeros((height * 16, width * 16), np.uint16)
        padded[: reference.shape[0], : reference.shape[1]] = reference
        cut = padded.reshape(height, 16, width, 16).transpose(0, 2, 1, 3).reshape(height * width, -1)
        assert (images[table.key(row)] == cut).all()
