"""How fast this storage gives the images of a dataset, in the way the loader asks for them.

Comes in: a dataset, an `ImageTable`, a `ReadConfig`. Goes out: `StorageSpeed`: latency, one stream, several streams,
small reads. Refuses nothing; what cannot be read raises its `OSError` as a `StorageError`.

Local files are dropped from the page cache first, so that a second measurement says the same as the first.
"""

import itertools
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from radio_io import atomic
from radio_io.layout import DatasetLayout
from radio_io.loading.order import OrderState, images_of_step
from radio_io.loading.reading import Range, ReadConfig, plan_ranges
from radio_io.loading.store import ShardStore, open_store
from radio_io.loading.table import ImageTable, Rows

PROBE_S = 2.0
SMALL_READ = 4096
SMALL_READS = 15
STREAMS = (1, 8, 16, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageSpeed:
    """Bandwidths in MB/s of wanted bytes.

    Attributes:
        latency_ms: Median of small reads at places not read before.
        sequential_mb_s: One stream, large neighbouring ranges.
        image_mb_s: One stream, single images at random.
        streams_mb_s: (streams, bandwidth) of the loader's own ranges.
    """

    latency_ms: float
    sequential_mb_s: float
    image_mb_s: float
    streams_mb_s: tuple[tuple[int, float], ...]

    def with_streams(self, streams: int) -> float:
        """The bandwidth of about so many streams."""
        return min(self.streams_mb_s, key=lambda each: abs(each[0] - streams))[1]

    @property
    def best_streams(self) -> int:
        """The fewest streams that come within 5 % of the best."""
        best = max(rate for _, rate in self.streams_mb_s)
        return next(streams for streams, rate in self.streams_mb_s if rate >= 0.95 * best)


def measure_storage(root: Path, table: ImageTable, config: ReadConfig, *, probe_s: float = PROBE_S) -> StorageSpeed:
    """Measure for a few times `probe_s`.

    Raises:
        StorageError: The shards cannot be read.
    """
    folder = Path(config.store) if config.store and "://" not in config.store else root
    store = open_store(root, config.store)
    rows = images_of_step(table, OrderState(seed=1, step_images=min(1024, len(table))))
    ranges = plan_ranges(table, rows, config)
    single = [_range_of(table, row, place) for place, row in enumerate(rows.tolist())]
    large = sorted(ranges, key=lambda each: (each.shard, each.offset))
    try:
        with atomic.storage_errors(folder):
            forget_pages(folder, table)
            latency_ms = _latency_ms(store, table, single)
            sequential = _bandwidth(store, table, rows, large, streams=1, probe_s=probe_s)
            forget_pages(folder, table)
            image = _bandwidth(store, table, rows, single, streams=1, probe_s=probe_s)
            found: list[tuple[int, float]] = []
            for streams in sorted({*STREAMS, config.streams}):
                forget_pages(folder, table)
                found.append((streams, _bandwidth(store, table, rows, ranges, streams=streams, probe_s=probe_s)))
    finally:
        store.close()
    return StorageSpeed(latency_ms=latency_ms, sequential_mb_s=sequential, image_mb_s=image, streams_mb_s=tuple(found))


def forget_pages(folder: Path, table: ImageTable) -> None:
    """Drop a table's shards from this machine's page cache, where they are local files."""
    layout = DatasetLayout(folder)
    for shard_id in table.shard_ids:
        path = layout.tar_path(shard_id)
        if path.exists():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def _range_of(table: ImageTable, row: int, place: int) -> Range:
    return Range(
        shard=int(table.shards[row]), offset=int(table.offsets[row]), size=int(table.sizes[row]), places=(place,)
    )


def _latency_ms(store: ShardStore, table: ImageTable, images: Sequence[Range]) -> float:
    seconds: list[float] = []
    for each in images[:SMALL_READS]:
        began_s = time.perf_counter()
        store.read(table.shard_ids[each.shard], each.offset, min(SMALL_READ, each.size))
        seconds.append(time.perf_counter() - began_s)
    return 1e3 * statistics.median(seconds)


def _bandwidth(
    store: ShardStore, table: ImageTable, rows: Rows, ranges: Sequence[Range], *, streams: int, probe_s: float
) -> float:
    """MB/s over about `probe_s`, of whole rounds over the ranges or parts of one; what lies between images is lost."""
    began_s = time.perf_counter()

    def read(each: Range) -> int:
        if time.perf_counter() - began_s > probe_s:
            return 0
        store.read(table.shard_ids[each.shard], each.offset, each.size)
        return int(table.sizes[rows[list(each.places)]].sum())

    with ThreadPoolExecutor(streams) as pool:
        size = sum(pool.map(read, _enough(ranges, streams)))
    return size / 1e6 / (time.perf_counter() - began_s)


def _enough(ranges: Sequence[Range], streams: int) -> Iterator[Range]:
    """The ranges once, or more often where there are hardly more of them than streams."""
    rounds = max(1, -(-4 * streams // len(ranges)))
    return itertools.chain.from_iterable(itertools.repeat(ranges, rounds))
