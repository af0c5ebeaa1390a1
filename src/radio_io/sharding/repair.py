"""`radio shard verify --repair`: what is broken is made again from what is left of the dataset, or from its sources.

Comes in: a dataset folder, its configuration where sources may be read. Goes out: `RepairReport`: what was made again,
which images are lost and what to do, the faults that are left. Refuses a dataset whose `dataset.json` is gone and
cannot be known, and one with an incomplete withdrawal. Nothing good is ever removed; what is replaced lies in
`quarantine/` of the private folder.
"""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path

from radio_io.checked_table import read_metadata
from radio_io.config import BuildConfig
from radio_io.dataset_file import BUILD, DatasetFile, read_dataset_file, recover_dataset_file, write_dataset_file
from radio_io.errors import DatasetError
from radio_io.index.catalog import file_sha256, indexed_rejects
from radio_io.labels.store import indexed_labels, read_task, task_path, write_task
from radio_io.layout import SHARD_ID, SHARD_SUFFIXES, TAR_SUFFIX, DatasetLayout, Split
from radio_io.privacy.tombstones import read_tombstones
from radio_io.progress import Progress
from radio_io.remote_dataset import origin_of, place_of, publish_to_store
from radio_io.sharding.build import publish_index
from radio_io.sharding.locking import locked
from radio_io.sharding.origin import read_origin
from radio_io.sharding.remake import image_source
from radio_io.sharding.repair_shard import Mending, ShardMender, require_no_withdrawal, set_aside
from radio_io.sharding.shard_facts import IndexedShard, indexed_shards
from radio_io.sharding.verify import ShardCheck, check_index, check_shard, check_shards, report_checks
from radio_io.sources.archives import remove_unpacked


@dataclass(kw_only=True, slots=True)
class RepairReport:
    """What was checked, made again (`done`), is lost (`lost`: a line a shard with what to do), and still faulty.

    `lost_keys` are the images that are lost, by shard.
    """

    shards: int = 0
    images: int = 0
    size_bytes: int = 0
    dry_run: bool = False
    done: list[str] = field(default_factory=list[str])
    lost: list[str] = field(default_factory=list[str])
    lost_keys: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    faults: list[str] = field(default_factory=list[str])


def repair_dataset(
    root: Path,
    progress: Progress,
    *,
    config: BuildConfig | None = None,
    workers: int = 1,
    quick: bool = False,
    dry_run: bool = False,
) -> RepairReport:
    """Check a dataset and mend it; `config` names the settings for reading DICOM files again, None never reads them.

    Raises:
        DatasetError: There is no dataset, `dataset.json` cannot be known, or a withdrawal is not complete.
        StorageError: Another process changes the dataset, or the disk refuses.
    """
    layout = DatasetLayout(root)
    content, whole = recover_dataset_file(layout)
    require_no_withdrawal(layout)
    with contextlib.nullcontext() if dry_run else locked(layout):
        report = RepairReport(dry_run=dry_run)
        if not whole:
            report.done.append("dataset.json: made again from its own settings")
            if not dry_run:
                set_aside(layout, layout.dataset_json)
                write_dataset_file(layout, content)
                publish_to_store(layout, layout.dataset_json)
        checks = check_shards(layout, _shard_ids(layout), progress, workers=workers, quick=quick)
        _mend_shards(layout, content, config, checks, report, progress)
        _mend_labels(layout, content, report)
        if not dry_run:
            _mend_index(layout, checks, report)
            content = read_dataset_file(layout.root)
        elif _is_stale(layout, content, checks):
            report.done.append("index.duckdb: would be built again")
    found = report_checks(layout, content, checks)
    report.shards, report.images, report.size_bytes = found.shards, found.images, found.size_bytes
    report.faults = found.faults
    return report


def _shard_ids(layout: DatasetLayout) -> list[str]:
    """Every shard that left a trace: a file of its own, a row in the index, a list of rejects that speaks of images."""
    files = [path for split in Split for path in (layout.root / split).glob("h*w*/*") if path.suffix in SHARD_SUFFIXES]
    names = {path.relative_to(layout.root).with_suffix("").as_posix() for path in files}
    remote = origin_of(layout.root)
    names |= {name.rpartition(".")[0] for name in remote.names() if name.endswith(SHARD_SUFFIXES)} if remote else set()
    names |= indexed_shards(layout).keys()
    for path in layout.shard_rejects_paths():
        with contextlib.suppress(DatasetError):
            if read_metadata(path).get(b"num_images", b"0") != b"0":
                names.add(path.relative_to(layout.rejects_dir).with_suffix("").as_posix())
    return sorted(name for name in names if SHARD_ID.fullmatch(name))


def _mend_shards(
    layout: DatasetLayout,
    content: DatasetFile,
    config: BuildConfig | None,
    checks: dict[str, ShardCheck],
    report: RepairReport,
    progress: Progress,
) -> None:
    known = indexed_shards(layout)
    faulty = [name for name, check in checks.items() if check.faults or _is_other(check, known.get(name))]
    if not faulty:
        return
    source = image_source(layout, content, config)
    mender = ShardMender(layout=layout, tombstones=read_tombstones(layout), source=source, dry_run=report.dry_run)
    progress.start("repair", total=len(faulty), unit="shards")
    for shard_id in faulty:
        with _at_hand(layout, shard_id):
            mending = mender.mend(shard_id, known.get(shard_id))
            if not report.dry_run:
                _put_mended(layout, mending)
        report.done.extend(mending.actions)
        if mending.lost or mending.record_sha256 is None:
            report.lost.append(_loss(layout, content, mending))
            report.lost_keys[shard_id] = mending.lost
        if not report.dry_run:
            checks[shard_id] = check_shard(str(layout.root), False, shard_id)
        elif mending.record_sha256 is not None:  # so that the index is judged by what would be there
            checks[shard_id] = replace(checks[shard_id], record_sha256=mending.record_sha256)
        progress.advance()
    remove_unpacked(layout.archives_dir)
    progress.finish()


@contextlib.contextmanager
def _at_hand(layout: DatasetLayout, shard_id: str) -> Generator[None, None, None]:
    """The tar of a shard lies in the folder within the block, also where the store has it."""
    remote = origin_of(layout.root)
    if remote is None:
        yield
        return
    path = layout.tar_path(shard_id)
    path.unlink(missing_ok=True)
    try:
        remote.fetch(shard_id + TAR_SUFFIX, path)
        yield
    finally:
        path.unlink(missing_ok=True)


def _put_mended(layout: DatasetLayout, mending: Mending) -> None:
    """Put what was made again, record last."""
    made = {action.partition(":")[0] for action in mending.actions}
    paths = layout.shard_paths(mending.shard_id)
    publish_to_store(layout, *(path for path in paths if path.relative_to(layout.root).as_posix() in made))


def _is_other(check: ShardCheck, known: IndexedShard | None) -> bool:
    return known is not None and known.record_sha256 != check.record_sha256


def _loss(layout: DatasetLayout, content: DatasetFile, mending: Mending) -> str:
    if content.origin == BUILD:
        make = "run `radio shard build` with its sources, which makes it again"
    else:
        make = f"repeat `radio shard {content.origin}` with the same options, which makes it again"
    aside = f"or move {mending.shard_id}.tar, .idx and .parquet out of {place_of(layout.root)} and {make}"
    if mending.record_sha256 is None:
        return f"{mending.shard_id}: nothing whole is left of it; restore it from a copy, {aside}"
    return (
        f"{mending.shard_id}: {len(mending.lost):,} images are lost, the others are whole; repair again where the "
        f"sources can be read, restore the tar from a copy, {aside}"
    )


def _mend_labels(layout: DatasetLayout, content: DatasetFile, report: RepairReport) -> None:
    """Files of labels from the index, where it has them; a readable one gives way only to an index that is whole."""
    try:
        indexed = indexed_labels(layout.root)
    except DatasetError:
        return
    whole = file_sha256(layout.index) == content.index_sha256
    for task, labels in sorted(indexed.items()):
        path = task_path(layout, task)
        try:
            found = read_task(path)
        except DatasetError:
            found = None
        if found == labels or (found is not None and not whole):
            continue
        report.done.append(f"labels/{task}.parquet: made again from the index")
        if not report.dry_run:
            set_aside(layout, path)
            write_task(layout, task, labels)
            publish_to_store(layout, path)


def _is_stale(layout: DatasetLayout, content: DatasetFile, checks: dict[str, ShardCheck]) -> bool:
    """Whether the index is damaged, or made from other records or without some labels."""
    if any(check_index(layout, content, {shard_id: check.record_sha256 for shard_id, check in checks.items()})):
        return True
    return bool({path.stem for path in layout.label_paths()} - indexed_labels(layout.root).keys())


def _mend_index(layout: DatasetLayout, checks: dict[str, ShardCheck], report: RepairReport) -> None:
    content = read_dataset_file(layout.root)
    if not _is_stale(layout, content, checks):
        return
    unreadable = [shard_id for shard_id, check in checks.items() if not check.record_sha256]
    if any(layout.record_path(shard_id).exists() for shard_id in unreadable):
        report.lost.append("index.duckdb: cannot be built before every record can be read")
        return
    try:
        for path in layout.label_paths():
            read_task(path)
    except DatasetError as error:
        report.lost.append(f"index.duckdb: cannot be built before all labels can be read: {error}")
        return
    set_aside(layout, layout.index)
    if not indexed_rejects(layout.root) and read_origin(layout) is None and not layout.scan_dir.exists():
        report.lost.append("counts of rejects, if there were any: only the index had them")
    publish_index(layout, content)
    report.done.append("index.duckdb: built again from the records")
