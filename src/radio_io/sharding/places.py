"""The folder to work in, for a dataset that is named by a folder or a URL.

Comes in: what the user named. Goes out: a dataset folder; for a URL one that holds everything but the tars. Refuses
what the store or the lock of the dataset refuses.
"""

from pathlib import Path

from radio_io import atomic
from radio_io.layout import DatasetLayout
from radio_io.object_store import is_url
from radio_io.remote_dataset import (
    RemoteDataset,
    attach,
    mirror,
    mirror_folder,
    origin_of,
    staging_root,
    sync_records,
)
from radio_io.sharding.locking import locked


def source_root(place: str) -> Path:
    """A folder to copy a dataset from.

    For a URL it is the staging folder where the private folder lies here under its usual name: it tells of withdrawals
    and rejects, too. Elsewhere it is a copy in the cache, as of a dataset that came without its private folder.

    Raises:
        DatasetError: There is no dataset at the URL.
        StorageError: Another process changes the dataset, or the store or the disk fails.
    """
    if not is_url(place):
        return Path(place)
    staging = DatasetLayout(staging_root(place, None))
    if origin_of(staging.root) == RemoteDataset(place):
        with locked(staging):
            attach(place, staging)
            sync_records(staging)
        return staging.root
    copy = DatasetLayout(mirror_folder(place, "source"))
    atomic.make_private_folder(copy.private)
    with locked(copy):
        return mirror(place, "source")
