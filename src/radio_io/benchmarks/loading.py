"""How fast packs come: from a throttled store, from the cache, from local shards; beside what others do there.

Comes in: a dataset, DICOM files, a link's bandwidth and latency. Goes out: `Rate`s, and what each is compared with.
Refuses a machine that cannot mount a throttled store, with a `UsageError`.

All of one report is measured in one run, so that only the ratios count.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from radio_io.benchmarks.throttled_folder import Mounted, throttled
from radio_io.benchmarks.yardsticks import (
    Rate,
    decode_alone,
    decode_and_cut,
    has_litdata,
    read_dicom_files,
    read_litdata,
    read_webdataset,
    write_litdata,
    write_png_shards,
)
from radio_io.loading.batch import Decoder, LoaderConfig
from radio_io.loading.order import OrderState
from radio_io.loading.reading import ReadConfig
from radio_io.loading.store import ShardStore
from radio_io.loading.table import ImageTable, load_image_table
from radio_io.loading.torch_loader import PackLoader

TOKEN_BUDGET = 24_576
PATCH_SIZE = 48
MIN_READ_AHEAD = 16 << 20
LEAD_PACKS = 8
"""More than are in the making at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A rate, and its ratio to the yardstick that is named; `cpu_ratio` the same for images a CPU second."""

    rate: Rate
    ratio: float | None = None
    yardstick: str = ""
    cpu_ratio: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IoSettings:
    """The link, and how much is measured."""

    mbit_per_s: float = 1000.0
    latency_ms: float = 5.0
    streams: int = 8
    epochs: int = 4
    workers: int = 2
    halvings: int = 0


def measure_loader(
    root: Path,
    table: ImageTable,
    *,
    name: str,
    reading: ReadConfig,
    workers: int,
    epochs: int = 1,
    decoder: Decoder = Decoder.THREADS,
    link: Mounted | None = None,
    store: ShardStore | None = None,
) -> Rate:
    """At least the images of so many epochs, while the loader runs; the trainer takes no time.

    The clock starts once `LEAD_PACKS` have arrived, when the memory of packs is there and the queues are in the state
    in which they are at the end. What came from the store is counted as it arrived, read ahead or not. `store` takes
    the place of the one that `reading` names.
    """
    largest = int(table.grids(PATCH_SIZE).prod(axis=1).max()) + 1
    # What is read ahead at the end is not delivered: keep it small beside what is.
    ahead = max(MIN_READ_AHEAD, min(reading.read_ahead_bytes, int(table.sizes.sum()) // 4))
    config = LoaderConfig(
        patch_size=PATCH_SIZE,
        token_budget=max(TOKEN_BUDGET, largest),
        workers=workers,
        halvings=table.halvings,
        decoder=decoder,
        reading=replace(reading, read_ahead_bytes=ahead),
    )
    with PackLoader(root, table, config, OrderState(seed=0), store=store) as loader:
        packs = iter(loader)
        for _ in range(LEAD_PACKS):
            next(packs)
        images, stored = 0, loader.counts.store_bytes
        link_s = link.cpu_s if link else 0.0
        began_s, cpu_s = time.perf_counter(), time.process_time()
        while images < epochs * len(table):
            images += next(packs).num_images
        seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
        stored = loader.counts.store_bytes - stored
        link_s = link.cpu_s - link_s if link else 0.0
    return Rate(name=name, images=images, seconds=seconds, bytes_read=stored, cpu_s=cpu_s, link_cpu_s=link_s)


def measure_io(root: Path, files: Sequence[Path], settings: IoSettings) -> list[Compared]:
    """The throttled store: our first epoch and the cached ones, DICOM one by one, webdataset with PNG.

    The link is a process on the same machine: `link_cpu_s` of the first rate says what it took from the cores, which a
    real one would not. `files` are the DICOM files of `root`'s images, below one folder.
    """
    table = load_image_table(root, None, halvings=settings.halvings)
    folder = _common_folder(files)
    bytes_per_s = settings.mbit_per_s * 1e6 / 8
    with tempfile.TemporaryDirectory(prefix="radio-bench-") as name:
        work = Path(name)
        shards = write_png_shards(root, load_image_table(root, None), work / "store" / "png", threads=settings.workers)
        for each, source in (("shards", root), ("dicom", folder)):
            (work / "store" / each).symlink_to(source.absolute())
        link = throttled(work / "store", work / "mount", mbit_per_s=settings.mbit_per_s, latency_ms=settings.latency_ms)
        with link as mounted:
            mount = mounted.path
            slow = ReadConfig(store=str(mount / "shards"), streams=settings.streams)
            cached = ReadConfig(store=str(mount / "shards"), streams=settings.streams, cache=work / "cache")
            first = measure_loader(
                root,
                table,
                name="radio, from the store",
                reading=slow,
                workers=settings.workers,
                epochs=settings.epochs,
                link=mounted,
            )
            measure_loader(root, table, name="filling", reading=cached, workers=settings.workers)
            later = measure_loader(
                root,
                table,
                name="radio, from the cache",
                reading=cached,
                workers=settings.workers,
                epochs=settings.epochs,
            )
            least = _least_work(root, table, settings)
            one_by_one = read_dicom_files(
                [mount / "dicom" / path.absolute().relative_to(folder) for path in files], threads=settings.streams
            )
            png = read_webdataset([mount / "png" / path.name for path in shards], workers=settings.workers)
    return [
        Compared(rate=first, ratio=first.mb_per_s * 1e6 / bytes_per_s, yardstick="bandwidth"),
        *(_beside(later, least), _beside(first, one_by_one), _beside(first, png)),
        *(Compared(rate=each) for each in (least, one_by_one, png)),
    ]


def measure_local(root: Path, *, workers: int, epochs: int = 4, with_webdataset: bool = True) -> list[Compared]:
    """Warm local shards: our packs beside the decoder alone, webdataset with PNG, and litdata where it is installed."""
    table = load_image_table(root, None)
    ours = "radio, local shards"
    measure_loader(root, table, name="warming", reading=ReadConfig(), workers=workers)
    local = measure_loader(root, table, name=ours, reading=ReadConfig(), workers=workers, epochs=epochs)
    single = decode_alone(root, table, threads=1, rounds=epochs)
    least = decode_and_cut(root, table, patch=PATCH_SIZE, threads=workers, rounds=epochs)
    cores = replace(single, name=f"{workers} x {single.name}", seconds=single.seconds / workers)
    found = [_beside(local, cores), _beside(local, least)]
    yardsticks = [cores, least]
    if with_webdataset:
        with tempfile.TemporaryDirectory(prefix="radio-bench-") as name:
            shards = write_png_shards(root, table, Path(name), threads=workers)
            others = [read_webdataset(shards, workers=workers)]
            if has_litdata():
                write_litdata(root, table, Path(name) / "litdata", threads=workers)
                others.append(read_litdata(Path(name) / "litdata", workers=workers))
        found.extend(_beside(local, other) for other in others)
        yardsticks.extend(others)
    return [*found, *(Compared(rate=each) for each in yardsticks)]


def _beside(rate: Rate, yardstick: Rate) -> Compared:
    cpu_ratio = yardstick.cpu_ms / rate.cpu_ms if yardstick.cpu_s and rate.cpu_s else None
    ratio = rate.images_per_s / yardstick.images_per_s
    return Compared(rate=rate, ratio=ratio, yardstick=yardstick.name, cpu_ratio=cpu_ratio)


def _least_work(root: Path, table: ImageTable, settings: IoSettings) -> Rate:
    if settings.halvings:
        return measure_loader(
            root,
            table,
            name="radio, local fronts",
            reading=ReadConfig(),
            workers=settings.workers,
            epochs=settings.epochs,
        )
    return decode_and_cut(root, table, patch=PATCH_SIZE, threads=settings.workers, rounds=settings.epochs)


def _common_folder(files: Sequence[Path]) -> Path:
    folder = files[0].absolute().parent
    while not all(path.absolute().is_relative_to(folder) for path in files):
        folder = folder.parent
    return folder
