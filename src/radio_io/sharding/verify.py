"""Every byte of a dataset checked: tar, DALI index, record, index, dataset.json.

Comes in: a dataset folder. Goes out: `VerifyReport` with a line for each fault: which file, what was found, what to do.
Refuses a folder that is no dataset. The private folder is not needed.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from radio_io.codecs.registry import get_codec
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, RadioError
from radio_io.executors import UnitFailure, run_units
from radio_io.index.catalog import file_sha256, open_index
from radio_io.index.records import ShardRecord, placed_rows, read_record
from radio_io.index.row import ImageLocation, ImageRow
from radio_io.layout import SHARD_SUFFIXES, DatasetLayout, Split
from radio_io.progress import Progress
from radio_io.sharding.dali_index import Member, encode_index
from radio_io.sharding.sample import encode_metadata, pixel_hash
from radio_io.sharding.write import BLOCK, END_OF_ARCHIVE, member_size, tar_member

ADVICE = "restore the shard from a copy, or delete its record (.parquet) and run the build again"
SHARD_TIMEOUT_S = 3600.0


@dataclass(kw_only=True, slots=True)
class VerifyReport:
    """What was checked, and a line for each fault; no fault, no line."""

    shards: int = 0
    images: int = 0
    size_bytes: int = 0
    faults: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True, slots=True)
class _ShardCheck:
    shard_id: str
    images: int
    size_bytes: int
    record_sha256: str
    keys: tuple[str, ...]
    faults: tuple[str, ...]


def verify_dataset(root: Path, progress: Progress, *, workers: int = 1, quick: bool = False) -> VerifyReport:
    """Check a dataset; `quick` compares sizes and records only and reads no image.

    Raises:
        DatasetError: There is no dataset, or dataset.json cannot be used.
    """
    layout = DatasetLayout(root)
    content = read_dataset_file(layout.root)
    report = VerifyReport()
    shard_ids = [layout.shard_id_of(path) for path in layout.record_paths()]
    report.faults.extend(_strangers(layout, set(shard_ids)))
    progress.start("verify", total=len(shard_ids), unit="shards")
    function = partial(check_shard, str(layout.root), quick)
    checks: dict[str, _ShardCheck] = {}
    for outcome in run_units(function, shard_ids, workers=workers, timeout_s=SHARD_TIMEOUT_S):
        found = outcome.result
        if isinstance(found, UnitFailure):
            report.faults.append(f"{outcome.unit}: could not be checked ({found.detail}); {ADVICE}")
            continue
        checks[found.shard_id] = found
        report.shards += 1
        report.images += found.images
        report.size_bytes += found.size_bytes
        report.faults.extend(found.faults)
        progress.advance(size_bytes=found.size_bytes)
    progress.finish()
    report.faults.extend(_check_keys(checks))
    report.faults.extend(_check_index(layout, checks, content.index_sha256, content.num_images))
    return report


def check_shard(root: str, quick: bool, shard_id: str) -> _ShardCheck:
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
    return _ShardCheck(
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
    tar_path = layout.tar_path(shard_id)
    if not tar_path.exists():
        yield f"{shard_id}.tar: is missing; {ADVICE}"
        return
    size = tar_path.stat().st_size
    if size != metadata.size_bytes:
        yield f"{shard_id}.tar: {size} bytes, its record says {metadata.size_bytes}; {ADVICE}"
        return
    if not quick:
        yield from _content_faults(layout, shard_id, record)


def _content_faults(layout: DatasetLayout, shard_id: str, record: ShardRecord) -> Iterator[str]:
    """Faults of the bytes of a tar and its DALI index; one image is in memory at a time."""
    members: list[tuple[Member, ...]] = []
    digest = hashlib.sha256()
    with layout.tar_path(shard_id).open("rb") as file:
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
        yield f"{shard_id}.idx: is missing or does not fit the tar; delete it and run the build again"


def _image_faults(row: ImageRow, location: ImageLocation, image: bytes) -> Iterator[str]:
    if zlib.crc32(image) != location.image_crc32:
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
    for split in Split:
        for path in sorted((layout.root / split).rglob("*")):
            if path.is_dir():
                continue
            shard_id = path.relative_to(layout.root).with_suffix("").as_posix()
            if path.suffix not in SHARD_SUFFIXES or shard_id not in shard_ids:
                name = path.relative_to(layout.root).as_posix()
                yield f"{name}: belongs to no finished shard; run the build again; if it is still there, remove it"


def _check_keys(checks: dict[str, _ShardCheck]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for shard_id, check in checks.items():
        for key in check.keys:
            if key in seen:
                yield f"{shard_id}: image {key} is in {seen[key]} too; {ADVICE}"
            seen[key] = shard_id


def _check_index(
    layout: DatasetLayout, checks: dict[str, _ShardCheck], sha256: str | None, num_images: int
) -> Iterator[str]:
    advice = "run: radio index rebuild"
    if not layout.index.exists():
        yield f"index.duckdb: is missing; {advice}"
        return
    if file_sha256(layout.index) != sha256:
        yield f"index.duckdb: its SHA-256 is not that of dataset.json; {advice}"
        return
    try:
        with open_index(layout.root) as connection:
            shards = dict(connection.execute("SELECT shard_id, record_sha256 FROM shards").fetchall())
            counted = connection.execute("SELECT count(*), count(DISTINCT key) FROM images").fetchone()
    except DatasetError as error:
        yield f"index.duckdb: {error}"
        return
    for shard_id in sorted(shards.keys() | checks.keys()):
        if shard_id not in checks:
            yield f"{shard_id}.parquet: the index knows it, but it is missing; {ADVICE}"
        elif shards.get(shard_id) != checks[shard_id].record_sha256:
            yield f"{shard_id}.parquet: is not the record that the index was made from; restore it, or {advice}"
    if counted != (num_images, num_images):
        yield f"index.duckdb: {counted} images and keys, dataset.json says {num_images}; {advice}"
