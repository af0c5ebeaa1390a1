"""How encoded images are read: ranges, read-ahead, cache.

Comes in: nothing. Goes out: `ReadConfig`, and `Range`s: neighbouring images of a shard that one request reads. Refuses
values that cannot be meant, with a `UsageError`.

Nothing here changes which images a step holds or what they look like: a run may be resumed with other values.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import UsageError
from radio_io.loading.table import ImageTable, Rows

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?B?)\s*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadConfig:
    """How bytes come from storage.

    Attributes:
        store: Folder or fsspec URL of the shards, where they do not lie beside the index.
        read_ahead_bytes: Encoded images in memory at most (those of one pack always fit): two steps of one rank let
            neighbouring images be read together.
        range_bytes: Bytes of one request at most.
        gap_bytes: Unwanted bytes between two images that are read along rather than skipped by a further request: with
            8 requests under way, 5 ms at 1 Gbit/s cost as much.
        streams: Requests under way at once.
        timeout_s: A request that takes longer is given up, and its images count as damaged.
        retry_pause_s: The first pause after a transient fault; it doubles with each.
        cache: Folder on a local disk for images read before.
        cache_bytes: What the cache may hold.
    """

    store: str | None = None
    read_ahead_bytes: int = 4 << 30
    range_bytes: int = 16 << 20
    gap_bytes: int = 64 << 10
    streams: int = 8
    timeout_s: float = 300.0
    retry_pause_s: float = 0.1
    cache: Path | None = None
    cache_bytes: int = 100 * 10**9

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("read_ahead_bytes", "range_bytes", "streams", "cache_bytes"):
            if getattr(self, name) < 1:
                raise UsageError(f"found {name}={getattr(self, name)}, expected at least 1")
        if self.gap_bytes < 0 or self.timeout_s <= 0 or self.retry_pause_s < 0:
            raise UsageError("expected gap_bytes and retry_pause_s of at least 0 and timeout_s above 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Images of one shard that are read together; `places` are their positions among those asked for."""

    shard: int
    offset: int
    size: int
    places: tuple[int, ...]


def plan_ranges(table: ImageTable, rows: Rows, config: ReadConfig) -> list[Range]:
    """Few large ranges that hold all `rows`, those of the images that are needed first at the front.

    `rows` stand in the order in which they are needed. A large selected share of a shard is so read whole, in pieces
    of `range_bytes`; a small one image by image.
    """
    if not len(rows):
        return []
    order = np.lexsort((table.offsets[rows], table.shards[rows]))
    shards = table.shards[rows][order]
    starts = table.offsets[rows][order]
    ends = starts + table.sizes[rows][order].astype(np.int64)
    found = [
        Range(
            shard=int(shards[first]),
            offset=int(starts[first]),
            size=int(ends[last - 1] - starts[first]),
            places=tuple(order[first:last].tolist()),
        )
        for first, last in _groups(shards, starts, ends, config)
    ]
    return sorted(found, key=lambda each: min(each.places))


def _groups(
    shards: NDArray[np.int32], starts: NDArray[np.int64], ends: NDArray[np.int64], config: ReadConfig
) -> Iterator[tuple[int, int]]:
    """Slices of neighbours that one range holds."""
    first = 0
    begin, previous = starts.tolist(), ends.tolist()
    apart = np.flatnonzero((np.diff(shards) != 0) | (starts[1:] - ends[:-1] > config.gap_bytes))
    breaks = set((apart + 1).tolist())
    for index in range(1, len(begin)):
        if index in breaks or previous[index] - begin[first] > config.range_bytes:
            yield first, index
            first = index
    yield first, len(begin)


def parse_size(text: str) -> int:
    """Bytes of a size such as `800GB`, `800G` or `1.5TB` (powers of ten).

    Example:
        >>> parse_size("1.5GB")
        1500000000

    Raises:
        UsageError: It is no size.
    """
    match = SIZE.fullmatch(text)
    unit = match[2].upper() if match else "?"
    if match is None or unit.removesuffix("B") not in UNITS:
        raise UsageError(f"found size {text!r}, expected one such as 800GB or 1.5TB")
    return int(float(match[1]) * UNITS[unit.removesuffix("B")])
