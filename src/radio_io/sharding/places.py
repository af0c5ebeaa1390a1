"""The folder to work in, for a dataset that is named by a folder or a URL.

Comes in: what the user named. Goes out: a dataset folder; for a URL one that holds everything but the tars. Refuses
what the store or the lock of the dataset refuses.
"""

from pathlib import Path

from radio_io.dataset_file import DatasetFile, read_dataset_file
from radio_io.errors import UsageError
from radio_io.index.catalog import file_sha256
from radio_io.layout import DatasetLayout
from radio_io.object_store import is_url
from radio_io.remote_dataset import (
    RemoteDataset,
    attach,
    fetch_small_files,
    mirror,
    mirror_folder,
    origin_of,
    staging_root,
    sync_records,
)
from radio_io.sharding.build import publish_index
from radio_io.sharding.locking import locked


def working_root(place: str, private: Path | None = None, *, as_it_is: bool = False) -> Path:
    """A folder to change a dataset in; for a URL the staging folder of its private folder, as the store has it now.

    With `as_it_is` it has what the store has, damaged or not, for a repair.

    Raises:
        UsageError: The private folder is not here, belongs to another URL, or is named for a dataset in a folder.
        DatasetError: There is no dataset at the URL.
        StorageError: Another process changes the dataset, or the store or the disk fails.
    """
    if not is_url(place):
        if private is not None:
            raise UsageError("--private is for datasets at a URL; that of a folder lies beside it")
        return Path(place)
    layout = DatasetLayout(staging_root(place, private))
    if not layout.key_file.exists():
        raise UsageError(
            f"{layout.private} has no key, but {place} can only be changed with its private folder; "
            "name that with --private"
        )
    with locked(layout):
        attach(place, layout)
        if as_it_is:
            fetch_small_files(layout)
        else:
            content = read_dataset_file(layout.root)
            sync_records(layout)
            _update_index(layout, content)
    return layout.root


def _update_index(layout: DatasetLayout, content: DatasetFile) -> None:
    """Fetch the index where it is not the one of `dataset.json`; one that was not published whole is made again."""
    remote = origin_of(layout.root)
    wanted = content.index_sha256
    assert remote is not None
    if wanted is None or (layout.index.exists() and file_sha256(layout.index) == wanted):
        return
    if not remote.fetch(layout.index.name, layout.index) or file_sha256(layout.index) != wanted:
        publish_index(layout, content)


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
    with locked(copy):
        return mirror(place, "source")
