"""Counting, once, how many patches of each image are no background, so that packs can be planned without them.

Comes in: a dataset, an `ImageTable`, a `LoaderConfig`. Goes out: the table with how many patches an image keeps.
Refuses a dataset's folder that cannot be written, with a `StorageError`.

Images are read and decoded as for training, cache and retries included, in the order of the shards. What was counted is
saved every minute, so an interrupted pass goes on. An image that does not decode keeps all its patches: if it is still
damaged in training, its stand-in has as many.
"""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_io.loading.background import kept_count, patch_spans
from radio_io.loading.background_file import UNREADABLE, BackgroundFile, Counts
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.cache import cache_of
from radio_io.loading.pack_images import BadImageError, decode_image, image_scale
from radio_io.loading.read_ahead import Encoded, ReadAhead
from radio_io.loading.store import open_store
from radio_io.loading.table import ImageTable, Rows
from radio_io.progress import Progress

SAVE_EVERY_S = 60.0
AT_ONCE = 64
"""Images whose bytes are waited for together."""


def uncounted(root: Path, table: ImageTable, config: LoaderConfig, rows: Rows) -> Rows:
    """Those of `rows` that were not looked at yet."""
    return rows[BackgroundFile(root, config).counts(table, rows) < UNREADABLE]


def with_kept(root: Path, table: ImageTable, config: LoaderConfig, rows: Rows) -> ImageTable:
    """The table with the counts that are known of `rows`; all other images keep all patches."""
    return _with_counts(table, config, rows, BackgroundFile(root, config).counts(table, rows))


def with_kept_now(root: Path, table: ImageTable, config: LoaderConfig, rows: Rows) -> ImageTable:
    """The same for a few images, counted where need be and not saved."""
    file = BackgroundFile(root, config)
    missing = rows[file.counts(table, rows) <= UNREADABLE]
    for some, counts in _counted(root, table, missing, config):
        file.add(table, some, counts)
    return _with_counts(table, config, rows, file.counts(table, rows))


def count_background(root: Path, table: ImageTable, config: LoaderConfig, rows: Rows, progress: Progress) -> int:
    """Count what is not known yet of `rows`, and say how many images that were.

    Raises:
        StorageError: The dataset's folder cannot be written.
    """
    file = BackgroundFile(root, config)
    missing = rows[file.counts(table, rows) <= UNREADABLE]
    if not len(missing):
        return 0
    file.save()  # where it cannot be written, better now than after an hour
    progress.start("background", total=len(missing), unit="images")
    saved_s = time.monotonic()
    try:
        for some, counts in _counted(root, table, missing, config):
            file.add(table, some, counts)
            progress.advance(len(some), size_bytes=int(table.sizes[some].sum()))
            if time.monotonic() - saved_s > SAVE_EVERY_S:
                file.save()
                saved_s = time.monotonic()
    finally:
        file.save()
        progress.finish()
    return len(missing)


def _with_counts(table: ImageTable, config: LoaderConfig, rows: Rows, counts: Counts) -> ImageTable:
    kept = table.grids(config.patch_size).prod(axis=1, dtype=np.int32)
    kept[rows] = np.where(counts > 0, np.minimum(counts, kept[rows]), kept[rows])
    return replace(table, kept=kept)


def _counted(root: Path, table: ImageTable, rows: Rows, config: LoaderConfig) -> Iterator[tuple[Rows, Counts]]:
    """Some of `rows`, and how many patches are kept of each; `UNREADABLE` of one that does not decode."""
    if not len(rows):
        return
    cache = cache_of(root, table, config.reading)
    store = open_store(root, config.reading.store, pause_s=config.reading.retry_pause_s)
    reader = ReadAhead(table, store, config.reading, cache)

    def count(row: int, encoded: Encoded) -> int:
        try:
            pixels = _decoded(table, row, encoded, reader)
        except BadImageError:
            return UNREADABLE
        scale = image_scale(table, row, config)
        return kept_count(patch_spans(pixels, scale, config.patch_size), scale, config.background_permille)

    groups = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    try:
        with ThreadPoolExecutor(config.workers or len(os.sched_getaffinity(0))) as pool:
            for fetched in reader.run((group, group) for group in groups):
                found = pool.map(count, fetched.group.tolist(), fetched.encoded)
                yield fetched.group, np.fromiter(found, np.int32, len(fetched.group))
    finally:
        reader.close()
        store.close()
        if cache is not None:
            cache.close()


def _decoded(table: ImageTable, row: int, encoded: Encoded, reader: ReadAhead) -> NDArray[np.uint16]:
    try:
        return decode_image(table, row, encoded)
    except BadImageError:
        if isinstance(encoded, OSError):
            raise
        return decode_image(table, row, reader.fetch_now(row))  # past the cache
