"""Withdraws images from shards wherever they lie: in a folder, or in an object store.

Comes in: a shard id and tombstones. Goes out: the shard without these images; a local one is rewritten in its place,
one of a store is fetched, rewritten here and put. Refuses a damaged shard, and what the store refuses.

What counts is what the store has: local files are fetched anew each time. Objects are replaced in the order tar, DALI
index, record, and removed in the same order, so that what a dead process left is continued like in a folder.
"""

from radio_io.errors import DatasetError
from radio_io.index.records import read_record
from radio_io.layout import SHARD_ID, DatasetLayout
from radio_io.privacy.tombstones import Tombstones
from radio_io.remote_dataset import move_to_store, origin_of, place_of
from radio_io.remote_removal import purge_history, remove_cached_copies, remove_from_store
from radio_io.sharding.forget_shard import forget_in_shard, kept_rows
from radio_io.sharding.verify import check_shard


def withdraw_from_shard(layout: DatasetLayout, shard_id: str, tombstones: Tombstones) -> None:
    """Take the withdrawn images out of a shard; done again after a crash it completes.

    Raises:
        DatasetError: The shard is damaged: restore it first.
        StorageError: The disk or the store refuses.
    """
    if origin_of(layout.root) is None:
        forget_in_shard(layout, shard_id, tombstones)
        return
    tar, *others = layout.shard_paths(shard_id)
    _fetch(layout, shard_id, with_tar=False)
    there = layout.record_path(shard_id).exists()
    record = read_record(layout.record_path(shard_id)) if there else None
    clean = record is not None and len(kept_rows(record, tombstones)) == record.table.num_rows
    if there and not clean:
        _fetch(layout, shard_id, with_tar=True)
    forget_in_shard(layout, shard_id, tombstones)
    if not layout.record_path(shard_id).exists():
        remove_from_store(layout, tar, *others)
    elif not clean:
        move_to_store(layout, shard_id)


def remove_traces(layout: DatasetLayout, shard_ids: tuple[str, ...]) -> None:
    """What a store and this machine's cache keep of what was replaced there; nothing for a local dataset.

    Raises:
        StorageError: The store or the disk refuses.
    """
    purge_history(layout, [*(f"{shard_id}." for shard_id in shard_ids), "index.duckdb", "labels/"])
    remove_cached_copies(layout)


def shard_faults(layout: DatasetLayout, shard_id: str) -> tuple[str, ...]:
    """What is wrong with a shard after a withdrawal, read from where it lies; one that is gone must be gone whole."""
    remote = origin_of(layout.root)
    if remote is not None:
        _fetch(layout, shard_id, with_tar=False)
    if layout.record_path(shard_id).exists():
        return check_shard(str(layout.root), False, shard_id).faults
    names = [path.relative_to(layout.root).as_posix() for path in layout.shard_paths(shard_id)]
    found = remote.names() if remote is not None else {name for name in names if (layout.root / name).exists()}
    return tuple(f"{name} is still there" for name in names if name in found)


def require_no_strays(layout: DatasetLayout) -> None:
    """Refuse tars without a record, as a killed build leaves them: nobody knows whose images they hold.

    Raises:
        DatasetError: There is one.
    """
    remote = origin_of(layout.root)
    if remote is not None:
        found = set(remote.names())
    else:
        paths = (*layout.root.glob("*/h*w*/[0-9]*.tar"), *layout.record_paths())
        found = {path.relative_to(layout.root).as_posix() for path in paths}
    tars = (name.removesuffix(".tar") for name in found if name.endswith(".tar"))
    strays = sorted(name for name in tars if SHARD_ID.fullmatch(name) and f"{name}.parquet" not in found)
    if strays:
        raise DatasetError(
            f"{len(strays)} tars in {place_of(layout.root)} have no record, such as {strays[0]}.tar, and may hold "
            "images to withdraw; complete them with: radio shard build, or remove them, then run the same command"
        )


def _fetch(layout: DatasetLayout, shard_id: str, *, with_tar: bool) -> None:
    """Make the local files of a shard those of the store."""
    remote = origin_of(layout.root)
    assert remote is not None
    tar, *others = layout.shard_paths(shard_id)
    for path in (tar, *others) if with_tar else others:
        if not remote.fetch(path.relative_to(layout.root).as_posix(), path):
            path.unlink(missing_ok=True)
