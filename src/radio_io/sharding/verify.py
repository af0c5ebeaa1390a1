"""Every byte of a dataset checked: tar, DALI index, record, index, dataset.json.

Comes in: a dataset folder. Goes out: `VerifyReport` with a line for each fault: which file, what was found, what to do.
Refuses a folder that is no dataset. The private folder is not needed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from radio_io.checksum import crc32_of
from radio_io.codecs.registry import get_codec
from radio_io.dataset_file import DatasetFile, read_dataset_file
from radio_io.errors import DatasetError, RadioError
from radio_io.executors import UnitFailure, run_units
from radio_io.index.catalog import file_sha256, read_index
from radio_io.index.records import ShardRecord, placed_rows, read_record
from radio_io.index.row import ImageLocation, ImageRow
from radio_io.labels.store import indexed_labels, read_task
from radio_io.layout import SHARD_SUFFIXES, DatasetLayout, Split
from radio_io.progress import Progress
from radio_io.remote_dataset import origin_of
from radio_io.sharding.dali_index import Member, encode_index
from radio_io.sharding.sample import encode_metadata, pixel_hash
from radio_io.sharding.tar_source import open_tar, tar_size
from radio_io.sharding.write import BLOCK, END_OF_ARCHIVE, member_size, tar_member

ADVICE = "run: radio shard verify --repair, or restore the shard from a copy"
INDEX_ADVICE = "run: radio index rebuild"
SHARD_TIMEOUT_S = 3600.0


@dataclass(kw_only=True, slots=True)
class VerifyReport:
    """What was checked, and a line for each fault; no fault, no line."""

    shards: int = 0
    images: int = 0
    size_bytes: int = 0
    faults: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCheck:
    """What was found in one shard: `keys` of its images and the SHA-256 of its record, where that can be read."""

    shard_id: str
    images: int = 0
    size_bytes: int = 0
    record_sha256: str = ""
    keys: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def verify_dataset(root: Path, progress: Progress, *, workers: int = 1, quick: bool = False) -> VerifyReport:
    """Check a dataset; `quick` compares sizes and records only and reads no image.

    Raises:
        DatasetError: There is no dataset, or dataset.json cannot be used.
    """
    layout = DatasetLayout(root)
    content = read_dataset_file(layout.root)
    shard_ids = [layout.shard_id_of(path) for path in layout.record_paths()]
    return report_checks(layout, content, check_shards(layout, shard_ids, progress, workers=workers, quick=quick))


def check_shards(
    layout: DatasetLayout, shard_ids: Sequence[str], progress: Progress, *, workers: int, quick: bool
) -> dict[str, ShardCheck]:
    """Check these shards, several at once."""
    progress.start("verify", total=len(shard_ids), unit="shards")
    function = partial(check_shard, str(layout.root), quick)
    checks: dict[str, ShardCheck] = {}
    for outcome in run_units(function, shard_ids, workers=workers, timeout_s=SHARD_TIMEOUT_S):
        found = outcome.result
        if isinstance(found, UnitFailure):
            fault = f"{outcome.unit}: could not be checked ({found.detail}); {ADVICE}"
            found = ShardCheck(shard_id=outcome.unit, faults=(fault,))
        checks[found.shard_id] = found
        progress.advance(size_bytes=found.size_bytes)
    progress.finish()
    return checks


def report_checks(layout: DatasetLayout, content: DatasetFile, checks: dict[str, ShardCheck]) -> VerifyReport:
    """The faults of shards that have been checked, and of what holds them together."""
    return VerifyReport(
        shards=len(checks),
        images=sum(check.images for check in checks.values()),
        size_bytes=sum(check.size_bytes for check in checks.values()),
        faults=[
            *_strangers(layout, set(checks)),
            *(fault for check in checks.values() for fault in check.faults),
            *_check_keys(checks),
            *check_index(layout, content, {name: check.record_sha256 for name, check in checks.items()}),
            *_check_labels(layout),
        ],
    )


def check_shard(root: str, quick: bool, shard_id: str) -> ShardCheck:
    """Check one shard: a unit of work."""
    layout = DatasetLayout(Path(root))
    faults: list[str] = []
    record: ShardRecord | None = None
    try:
        record = read_record(layout.record_path(shard_id))
        faults.extend(_shard_faults(layout, shard_id, record, quick=quick))
    except (RadioError, OSError) as error:
        faults.append(f"{shard_id}: {error}")
    metadata = record.metadata if record else None
    return ShardCheck(
        shard_id=shard_id,
        images=metadata.num_images if metadata else 0,
        size_bytes=metadata.size_bytes if metadata else 0,
        record_sha256=record.sha256 if record else "",
        keys=tuple(record.table["key"].to_pylist()) if record else (),
        faults=tuple(faults),
    )


def _shard_faults(layout: DatasetLayout, shard_id: str, record: ShardRecord, *, quick: bool) -> Iterator[str]:
    metadata = record.metadata
    if metadata.shard_id != shard_id:
        yield f"{shard_id}.parquet: is the record of {metadata.shard_id}; {ADVICE}"
    size = tar_size(layout, shard_id)
    if size is None:
        yield f"{shard_id}.tar: is missing; {ADVICE}"
        return
    if size != metadata.size_bytes:
        yield f"{shard_id}.tar: {size} bytes, its record says {metadata.size_bytes}; {ADVICE}"
        return
    if not quick:
        yield from _content_faults(layout, shard_id, record)


def _content_faults(layout: DatasetLayout, shard_id: str, record: ShardRecord) -> Iterator[str]:
    """Faults of the bytes of a tar and its DALI index; one image is in memory at a time."""
    members: list[tuple[Member, ...]] = []
    digest = hashlib.sha256()
    with open_tar(layout, shard_id, record.metadata.size_bytes) as file:
        for row, location in placed_rows(record.table):
            extension = get_codec(row.codec).extension
            text = encode_metadata(row)
            names = (f"{row.key}.{extension}", f"{row.key}.json")
            data = file.read(member_size(location.image_size) + member_size(len(text)))
            digest.update(data)
            image = data[BLOCK : BLOCK + location.image_size]
            where = f"{shard_id}.tar, image {row.key}"
            yield from (f"{where}: {fault}; {ADVICE}" for fault in _image_faults(row, location, image))
            if data != tar_member(names[0], image) + tar_member(names[1], text):
                yield f"{where}: headers or JSON member differ from the record; {ADVICE}"
            places = (location.image_offset, location.metadata_offset)
            sizes = (location.image_size, location.metadata_size)
            if (file.tell() - len(data) + BLOCK, len(text)) != (places[0], sizes[1]):
                yield f"{where}: does not lie where its record says; {ADVICE}"
            members.append(tuple(Member(*each) for each in zip(names, places, sizes, strict=True)))
        rest = file.read()
        digest.update(rest)
    if rest != END_OF_ARCHIVE:
        yield f"{shard_id}.tar: does not end where its record says; {ADVICE}"
    if digest.hexdigest() != record.metadata.tar_sha256:
        yield f"{shard_id}.tar: its SHA-256 is not that of its record; {ADVICE}"
    idx_path = layout.idx_path(shard_id)
    if not idx_path.exists() or idx_path.read_bytes() != encode_index(members):
        yield f"{shard_id}.idx: is missing or does not fit the tar; run: radio shard verify --repair"


def _image_faults(row: ImageRow, location: ImageLocation, image: bytes) -> Iterator[str]:
    if crc32_of(image) != location.image_crc32:
        yield "its CRC-32 is not that of the record"
        return
    try:
        pixels = get_codec(row.codec).decode(image)
    except RadioError as error:
        yield f"cannot be decoded ({error})"
        return
    if pixels.shape != (row.rows, row.columns) or pixel_hash(pixels) != row.pixel_hash:
        yield "its pixels are not those of the record"


def _strangers(layout: DatasetLayout, shard_ids: set[str]) -> Iterator[str]:
    """Files between the shards that belong to none."""
    for name in _names_between_shards(layout):
        path = PurePosixPath(name)
        if path.suffix not in SHARD_SUFFIXES or path.with_suffix("").as_posix() not in shard_ids:
            yield f"{name}: belongs to no finished shard; run the build again; if it is still there, remove it"


def _names_between_shards(layout: DatasetLayout) -> list[str]:
    origin = origin_of(layout.root)
    if origin is not None:
        return sorted(name for name in origin.names() if name.partition("/")[0] in set(Split))
    paths = (path for split in Split for path in sorted((layout.root / split).rglob("*")))
    return [path.relative_to(layout.root).as_posix() for path in paths if not path.is_dir()]


def _check_keys(checks: dict[str, ShardCheck]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for shard_id, check in checks.items():
        for key in check.keys:
            if key in seen:
                yield f"{shard_id}: image {key} is in {seen[key]} too; {ADVICE}"
            seen[key] = shard_id


def check_index(layout: DatasetLayout, content: DatasetFile, records: dict[str, str]) -> Iterator[str]:
    """Faults of the index, given the SHA-256 of each record."""
    if not layout.index.exists():
        yield f"index.duckdb: is missing; {INDEX_ADVICE}"
        return
    if file_sha256(layout.index) != content.index_sha256:
        yield f"index.duckdb: its SHA-256 is not that of dataset.json; {INDEX_ADVICE}"
        return
    try:
        shards = dict(read_index(layout.root, "SELECT shard_id, record_sha256 FROM shards"))
        [counted] = read_index(layout.root, "SELECT count(*), count(DISTINCT key) FROM images")
    except DatasetError as error:
        yield f"index.duckdb: {error}"
        return
    for shard_id in sorted(shards.keys() | records.keys()):
        if shard_id not in records:
            yield f"{shard_id}.parquet: the index knows it, but it is missing; {ADVICE}"
        elif shards.get(shard_id) != records[shard_id]:
            yield f"{shard_id}.parquet: is not the record that the index was made from; restore it, or {INDEX_ADVICE}"
    if counted != (content.num_images, content.num_images):
        yield f"index.duckdb: {counted} images and keys, dataset.json says {content.num_images}; {INDEX_ADVICE}"


def _check_labels(layout: DatasetLayout) -> Iterator[str]:
    """Faults of the files of labels, which the index has the content of."""
    try:
        indexed = indexed_labels(layout.root)
    except DatasetError:
        return  # a fault of the index
    files = {path.stem: path for path in layout.label_paths()}
    for task in sorted(indexed.keys() | files.keys()):
        try:
            if task not in files:
                yield f"labels/{task}.parquet: is missing; run: radio shard verify --repair, or import the labels again"
            elif read_task(files[task]) != indexed.get(task, {}):
                yield f"labels/{task}.parquet: is not what the index was made from; restore it, or {INDEX_ADVICE}"
        except DatasetError as error:
            yield f"labels/{task}.parquet: {error}"
