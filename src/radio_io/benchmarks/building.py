"""How fast a build makes shards of DICOM files, beside what these files cost at least and what people do today.

Comes in: DICOM files, or how many phantoms to make. Goes out: `BuildReport`: files/s of the whole build, the CPU time
of each stage, the floor, the PNG way. Refuses files of which none is a radiograph.

All of one report is measured in one run, so that only the ratios count.

- Floor: decode, render, encode and hash of files in memory, CPU seconds of one process, spread over the cores.
- PNG way: pydicom with pylibjpeg, `pixel_array`, PNG of 16 bits by Pillow, `webdataset.ShardWriter`; as many processes.
"""

import hashlib
import importlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from radio_io.benchmarks.timing import cpu_seconds_of
from radio_io.checksum import crc32_of
from radio_io.codecs.registry import get_codec
from radio_io.config import BuildConfig
from radio_io.dicom.check import check
from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.header import HeaderContext, header_record, read_file
from radio_io.dicom.render import render, render_parameters
from radio_io.dicom.walk import FoundFile, walk_sources
from radio_io.errors import DatasetError, ImageRejectedError
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset, open_key, scan
from radio_io.sharding.sample import pixel_hash, sample_context
from radio_io.synth.export import file_bytes
from radio_io.synth.plan import plan_export

STAGES = ("read", "header", "decode", "render", "check", "encode", "hash")
FLOOR_STAGES = ("decode", "render", "encode", "hash")
PHANTOM_SYNTAXES = ("explicit", "jpeg_lossless")
BASES_A_SYNTAX = 4
MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSettings:
    """How much is measured: phantoms to make, files whose stages are timed, files that take the PNG way."""

    files: int = 400
    rows: int = 2000
    columns: int = 1500
    profiled: int = 24
    png_files: int = 24
    png_levels: tuple[int, ...] = (6, 1)
    workers: int = 2
    codec: str = "htj2k"
    shard_size_bytes: int = 50_000_000
    """Small, so that the last shards end at about the same time, as the thousands of a large dataset do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PngRate:
    """Files a second on the PNG way; level 6 is the default of Pillow."""

    level: int
    files_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What was measured. `stage_ms` is CPU time of one file; `stage_mb_s` its raw pixels over that, per core."""

    files: int
    images: int
    source_bytes: int
    pixel_bytes: int
    encoded_bytes: int
    scan_s: float
    build_s: float
    build_cpu_s: float
    workers: int
    stage_ms: dict[str, float]
    stage_mb_s: dict[str, float]
    png: tuple[PngRate, ...]

    @property
    def files_per_s(self) -> float:
        """Of the whole build: scan, plan, shards, index, and the start of the processes."""
        return self.files / (self.scan_s + self.build_s)

    @property
    def floor_per_s(self) -> float:
        """Files a second that decoding, rendering, encoding and hashing alone would allow on these cores."""
        cores = min(self.workers, len(os.sched_getaffinity(0)))
        return cores / sum(self.stage_ms[stage] / 1000 for stage in FLOOR_STAGES)

    @property
    def of_floor(self) -> float:
        """How much of the floor the build reaches, 0 to 1."""
        return self.files_per_s / self.floor_per_s

    @property
    def cores_busy(self) -> float:
        """CPU seconds of scan and build, its processes included, for each second by the clock."""
        return self.build_cpu_s / (self.scan_s + self.build_s)

    @property
    def cpu_of_floor(self) -> float:
        """CPU seconds that the floor needs for these files over those that the build took, 0 to 1."""
        return self.files * sum(self.stage_ms[stage] / 1000 for stage in FLOOR_STAGES) / self.build_cpu_s

    @property
    def hash_share(self) -> float:
        """Hashing in the CPU time of all stages, 0 to 1."""
        return self.stage_ms["hash"] / sum(self.stage_ms.values())


def measure_build(sources: Sequence[str], folder: Path, settings: BuildSettings) -> BuildReport:
    """Measure a build of `sources`, or of phantoms, in the empty folder `folder`.

    Raises:
        DatasetError: No file is a radiograph.
    """
    if not sources:
        write_phantoms(folder / "phantoms", settings)
        sources = [str(folder / "phantoms")]
    config = BuildConfig(
        dataset=folder / "shards",
        sources=tuple(sources),
        workers=settings.workers,
        codec=settings.codec,
        shard_size_bytes=settings.shard_size_bytes,
        min_shard_images=1,
    )
    os.sync()  # what lies unwritten in the page cache would be written while shards are
    began_s, began_cpu_s = time.perf_counter(), _cpu_s()
    scan(config, NoProgress())
    scan_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    summary = build_dataset(config, NoProgress())
    build_s, build_cpu_s = time.perf_counter() - began_s, _cpu_s() - began_cpu_s
    if not summary.images:
        raise DatasetError("no file became an image; name a folder with radiographs")
    paths = list(_radiographs(sources, max(settings.profiled, settings.png_files)))
    stage_ms, stage_mb_s = _profile(paths[: settings.profiled], config)
    return BuildReport(
        files=summary.found,
        images=summary.images,
        source_bytes=summary.source_bytes,
        pixel_bytes=summary.pixel_bytes,
        encoded_bytes=summary.encoded_bytes,
        scan_s=scan_s,
        build_s=build_s,
        build_cpu_s=build_cpu_s,
        workers=settings.workers,
        stage_ms=stage_ms,
        stage_mb_s=stage_mb_s,
        png=tuple(
            PngRate(
                level=level, files_per_s=_png_way(paths[: settings.png_files], folder / f"png{level}", level, settings)
            )
            for level in settings.png_levels
        ),
    )


def _cpu_s() -> float:
    """CPU seconds of this process, of its children, and of theirs: workers are forks of a server (see `executors`)."""
    own = sum(os.times()[:4])
    lists = [path.read_text(encoding="ascii") for path in Path("/proc/self/task").glob("*/children")]
    return own + sum(cpu_seconds_of(int(pid)) for line in lists for pid in line.split())


def write_phantoms(folder: Path, settings: BuildSettings) -> None:
    """Phantoms of one size and 12 bits, uncompressed and JPEG lossless in turns; few pictures under many UIDs."""
    folder.mkdir(parents=True)
    count = BASES_A_SYNTAX * len(PHANTOM_SYNTAXES)
    plans = [plan for plan in plan_export(images=count, seed=1, scale=1.0) if plan.fault is None][:count]
    bases: list[tuple[bytes, bytes]] = []
    for number, plan in enumerate(plans):
        syntax = PHANTOM_SYNTAXES[number % len(PHANTOM_SYNTAXES)]
        changed = replace(plan, rows=settings.rows, columns=settings.columns, bits=12, small=False, syntax=syntax)
        bases.append((changed.instance_uid.encode(), file_bytes(changed)))
    for number in range(settings.files):
        uid, content = bases[number % count]
        content = content.replace(uid, uid[:-7] + b"%07d" % (number + 1_000_000))
        (folder / f"{number:06}").write_bytes(content)


def _radiographs(sources: Sequence[str], count: int) -> Iterator[Path]:
    """The first files that have pixels which can be read."""
    for found in walk_sources(sources):
        if not isinstance(found, FoundFile):
            continue
        try:
            decode_pixels(read_file(found.path))
        except ImageRejectedError:
            continue
        yield Path(found.path)
        count -= 1
        if not count:
            return


def _profile(paths: Sequence[Path], config: BuildConfig) -> tuple[dict[str, float], dict[str, float]]:
    """CPU milliseconds of a file in each stage, and MB of raw pixels a second, after one file that does not count."""
    context = sample_context(config, open_key(config))
    totals = dict.fromkeys(STAGES, 0.0)
    pixel_bytes = images = 0
    for number, path in enumerate([paths[0], *paths]):
        try:
            times, size = _stage_times(path, context.header, config.codec)
        except ImageRejectedError:
            continue
        if number:
            images, pixel_bytes = images + 1, pixel_bytes + size
            totals = {stage: totals[stage] + times[stage] for stage in STAGES}
    if not images:
        raise DatasetError("none of the first files can become an image; name other files")
    per_file = {stage: 1000 * seconds / images for stage, seconds in totals.items()}
    return per_file, {stage: pixel_bytes / MEGABYTE / max(seconds, 1e-9) for stage, seconds in totals.items()}


def _stage_times(path: Path, context: HeaderContext, codec: str) -> tuple[dict[str, float], int]:
    marks = [time.process_time()]

    def mark() -> None:
        marks.append(time.process_time())

    content = path.read_bytes()
    mark()
    parsed = read_file(content)
    header_record(parsed, context)
    mark()
    stored = decode_pixels(parsed)
    mark()
    radiograph = render(stored, render_parameters(parsed.dataset, stored))
    mark()
    check(radiograph)
    mark()
    encoded = get_codec(codec).encode(radiograph.pixels)
    mark()
    pixel_hash(radiograph.pixels)
    hashlib.sha256(encoded)
    for _ in range(3):  # the member, the tar, and what lies on the disk
        crc32_of(encoded)
    mark()
    times = {stage: marks[i + 1] - marks[i] for i, stage in enumerate(STAGES)}
    return times, radiograph.pixels.nbytes


def _png_way(paths: Sequence[Path], folder: Path, level: int, settings: BuildSettings) -> float:
    """Files a second; the start of the processes does not count."""
    wds: Any = importlib.import_module("webdataset")
    folder.mkdir()
    with ProcessPoolExecutor(settings.workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(_ready, range(4 * settings.workers)))
        began_s = time.perf_counter()
        with wds.ShardWriter(str(folder / "%06d.tar"), maxsize=1e9, verbose=0) as sink:
            for number, png in enumerate(pool.map(partial(png_of, level=level), map(str, paths))):
                sink.write({"__key__": f"{number:08}", "png": png})
        return len(paths) / (time.perf_counter() - began_s)


def _ready(number: int) -> int:
    importlib.import_module("pydicom")
    importlib.import_module("PIL.Image")
    time.sleep(0.05)
    return number


def png_of(path: str, *, level: int) -> bytes:
    """A file as people convert it today: a unit of work."""
    pydicom: Any = importlib.import_module("pydicom")
    image: Any = importlib.import_module("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(pydicom.dcmread(path).pixel_array.astype("uint16")).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()
