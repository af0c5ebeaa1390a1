"""Removes images from the loader's caches on local disks.

Comes in: folders of caches and keys of images. Goes out: how many entries were removed. Refuses nothing; a folder that
is missing, as on another machine, is passed over.

An entry is a file named by the key of its image, below the folder of its dataset; see `loading/cache.py`.
"""

from collections.abc import Iterable
from pathlib import Path

from radio_io import atomic
from radio_io.loading.cache import COUNTER_NAME


def forget_in_caches(folders: Iterable[Path], keys: Iterable[str]) -> int:
    """Remove every entry of these images, whatever dataset and resolution it is of.

    Raises:
        StorageError: An entry cannot be removed.
    """
    wanted = sorted(keys)
    removed = 0
    for folder in sorted(set(folders)):
        entries = [path for key in wanted for path in folder.glob(f"*/{key[:2]}/{key}.*")]
        for path in entries:
            with atomic.storage_errors(path):
                path.unlink(missing_ok=True)
        if entries:
            # The bytes in use are counted anew by the next process that opens the cache.
            (folder / COUNTER_NAME).unlink(missing_ok=True)
        removed += len(entries)
    return removed
