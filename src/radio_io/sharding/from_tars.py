"""Records and index from the tars alone, where records are lost.

Comes in: a dataset folder. Goes out: a record and a DALI index for each tar that has no readable record, then the
index; the bytes are those that the build wrote. Refuses tars of which any byte is not as it must be, and those with
withdrawn images: they are named and get no record.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from radio_io import atomic
from radio_io.dataset_file import recover_dataset_file
from radio_io.executors import UnitFailure, run_units
from radio_io.index.records import encode_record
from radio_io.layout import SHARD_ID, TAR_SUFFIX, DatasetLayout, Split
from radio_io.privacy.tombstones import Tombstones, read_tombstones
from radio_io.progress import Progress
from radio_io.sharding.build import publish_index
from radio_io.sharding.locking import locked
from radio_io.sharding.repair_shard import index_of, require_no_withdrawal, set_aside
from radio_io.sharding.shard_facts import record_of_tar, record_on_disk

SHARD_TIMEOUT_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TarReport:
    """Tars looked at, shards that got a record, shards whose tar is refused; records that the index is built from."""

    tars: int
    made: tuple[str, ...]
    refused: tuple[str, ...]
    records: int


def rebuild_from_tars(root: Path, progress: Progress, *, workers: int = 1, dry_run: bool = False) -> TarReport:
    """Make the records that are missing or cannot be read, and publish the index.

    Raises:
        DatasetError: There is no dataset, or a withdrawal is not complete.
        StorageError: Another process changes the dataset, or the disk refuses.
    """
    layout = DatasetLayout(root)
    content, whole = recover_dataset_file(layout)
    require_no_withdrawal(layout)
    paths = [path for split in Split for path in sorted((layout.root / split).glob(f"h*w*/[0-9]*{TAR_SUFFIX}"))]
    names = [path.relative_to(layout.root).with_suffix("").as_posix() for path in paths]
    tars = [name for name in names if SHARD_ID.fullmatch(name)]
    lost = [shard_id for shard_id in tars if record_on_disk(layout, shard_id) is None]
    if dry_run:
        return TarReport(tars=len(tars), made=tuple(lost), refused=(), records=len(layout.record_paths()))
    with locked(layout):
        made, refused = _make_records(layout, lost, progress, workers)
        unreadable = [shard_id for shard_id in refused if layout.record_path(shard_id).exists()]
        for shard_id in unreadable:  # the index cannot be built with it; it lies in quarantine
            set_aside(layout, layout.record_path(shard_id))
            layout.record_path(shard_id).unlink()
        if not whole:
            set_aside(layout, layout.dataset_json)
        publish_index(layout, content)
    return TarReport(tars=len(tars), made=tuple(made), refused=tuple(refused), records=len(layout.record_paths()))


def _make_records(
    layout: DatasetLayout, shard_ids: list[str], progress: Progress, workers: int
) -> tuple[list[str], list[str]]:
    """The shards that got a record, and those that got none."""
    made: list[str] = []
    refused: list[str] = []
    progress.start("records", total=len(shard_ids), unit="shards")
    function = partial(record_shard, str(layout.root), read_tombstones(layout))
    for outcome in run_units(function, shard_ids, workers=workers, timeout_s=SHARD_TIMEOUT_S):
        done = not isinstance(outcome.result, UnitFailure) and outcome.result
        (made if done else refused).append(outcome.unit)
        progress.advance()
    progress.finish()
    return made, refused


def record_shard(root: str, withdrawn: Tombstones, shard_id: str) -> bool:
    """Make record and DALI index of one tar, if it proves itself: a unit of work."""
    layout = DatasetLayout(Path(root))
    record = record_of_tar(layout, shard_id, withdrawn)
    if record is None:
        return False
    for path, data in (
        (layout.idx_path(shard_id), index_of(record)),
        (layout.record_path(shard_id), encode_record(record.table, record.metadata)),
    ):
        if not path.exists() or path.read_bytes() != data:
            set_aside(layout, path)
            atomic.write_file(path, data)
    return True
