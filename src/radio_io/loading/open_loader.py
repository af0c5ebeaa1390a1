"""A loader of a dataset in one call, for training loops of your own.

Comes in: a dataset folder, which images, how to batch them. Goes out: a `PackLoader`. Refuses selections without an
image, and images that are larger than a pack. torch is imported when a loader is made, not before.

Example:
    >>> from radio_io.loading import LoaderConfig, make_loader
    >>> loader = make_loader("shards", where="region = 'Knee'", config=LoaderConfig(patch_size=16))  # doctest: +SKIP
    >>> next(iter(loader))  # doctest: +SKIP
    <Pack 0 of 2, epoch 0, step 0: 312 images in 24,576 rows of 256 pixels>
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from radio_io.dataset import Dataset
from radio_io.loading.background_counts import count_background, with_kept
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.table import load_image_table
from radio_io.progress import NoProgress

if TYPE_CHECKING:
    from radio_io.loading.torch_loader import PackLoader


def make_loader(
    dataset: Dataset | Path | str = "shards",
    *,
    split: str | None = "train",
    where: str | None = None,
    keys: Collection[str] | None = None,
    config: LoaderConfig | None = None,
    state: OrderState | None = None,
    rank: int = 0,
    world_size: int = 1,
    drop_background: bool = False,
) -> "PackLoader":
    """Packs of whole images as tensors, epoch after epoch without end; close it, or use it as a context.

    Args:
        dataset: The folder, or what `open_dataset` gave.
        split: train, val or test; None takes all.
        where: SQL predicate over `images`, such as `"region = 'Knee'"`.
        keys: Only these images.
        config: Patch size, token budget, decoder, reading ...; None takes the defaults.
        state: Seed, images a step, and the epoch and step to begin at; `loader.state_after(pack)` gives the one to
            save. None begins with seed 0 and 1,024 images a step.
        rank: Of this process; each of `world_size` processes gets its share of every step.
        world_size: Number of processes.
        drop_background: Leave out patches of background; those of images that were never counted are counted now.

    Raises:
        DatasetError: There is no dataset, or no image is selected.
        QueryError: The predicate is refused.
        UsageError: An image is larger than a pack, or the codec cannot give the resolution.
        StorageError: Counts of background cannot be written beside the index.
    """
    from radio_io.loading.torch_loader import PackLoader

    chosen = config or LoaderConfig()
    root = dataset.root if isinstance(dataset, Dataset) else Path(dataset)
    table = load_image_table(root, split, where=where, keys=keys, halvings=chosen.halvings)
    if drop_background:
        every = np.arange(len(table))
        count_background(root, table, chosen, every, NoProgress())
        table = with_kept(root, table, chosen, every)
    return PackLoader(root, table, chosen, state or OrderState(seed=0), rank=rank, world_size=world_size)
