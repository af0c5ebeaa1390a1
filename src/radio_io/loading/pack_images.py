"""From encoded images to a pack: read, check, decode, cut into patches.

Comes in: an `ImageTable`, rows of it and a planned shape. Goes out: the arrays of a `Pack`. A damaged image is left out
of the order by the caller, which hears of it as a `BadImageError`.
"""

import errno
import os
import random
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_io.codecs.htj2k import HTJ2K
from radio_io.codecs.registry import get_codec
from radio_io.errors import RadioError
from radio_io.layout import DatasetLayout
from radio_io.loading.table import ImageTable

TRANSIENT = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN)
ATTEMPTS = 4


class BadImageError(RadioError):
    """An image whose bytes are damaged or cannot be read; `shard_id` and `reason` say where and why."""

    def __init__(self, shard_id: str, key: str, reason: str) -> None:
        super().__init__(shard_id, key, reason)
        self.shard_id, self.key, self.reason = shard_id, key, reason

    def __str__(self) -> str:
        return f"image {self.key} in shard {self.shard_id}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackArrays:
    """The arrays of a `Pack`, see there."""

    patches: NDArray[np.uint16]
    positions: NDArray[np.int32]
    grids: NDArray[np.int32]
    offsets: NDArray[np.int32]
    scale: NDArray[np.float32]


def read_image(root: Path, table: ImageTable, row: int) -> NDArray[np.uint16]:
    """The pixels of a row of the table, [rows, columns] uint16, at the table's resolution.

    Raises:
        BadImageError: The bytes cannot be read, do not have their checksum, or do not decode to the image's size.
    """
    shard_id, key = table.shard_ids[table.shards[row]], table.key(row)
    try:
        data = _read(DatasetLayout(root).tar_path(shard_id), int(table.offsets[row]), int(table.sizes[row]))
    except OSError as error:
        raise BadImageError(shard_id, key, error.strerror or type(error).__name__) from None
    if len(data) != table.sizes[row]:
        raise BadImageError(shard_id, key, f"{len(data)} bytes, {table.sizes[row]} expected")
    if table.has_crc32 and zlib.crc32(data) != table.crc32[row]:
        raise BadImageError(shard_id, key, "its CRC-32 is not that of the index")
    try:
        pixels = HTJ2K.decode_reduced(data, table.halvings) if table.halvings else get_codec(table.codec).decode(data)
    except RadioError as error:
        raise BadImageError(shard_id, key, str(error)) from None
    if pixels.shape != table.shape(row):
        raise BadImageError(shard_id, key, f"decodes to {pixels.shape}, the index says {table.shape(row)}")
    return pixels


def to_patches(pixels: NDArray[np.uint16], grid: tuple[int, int], patch: int) -> NDArray[np.uint16]:
    """[grid rows * grid columns, patch ** 2]: the image padded with 0 at the bottom and right, cut row by row."""
    padded = np.zeros((grid[0] * patch, grid[1] * patch), np.uint16)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    cut = padded.reshape(grid[0], patch, grid[1], patch).transpose(0, 2, 1, 3)
    return cut.reshape(grid[0] * grid[1], patch * patch)


def assemble(
    images: Sequence[tuple[NDArray[np.uint16], tuple[int, int], tuple[float, float]]],
    *,
    tokens: int,
    max_images: int,
    patch: int,
) -> PackArrays:
    """The arrays of a pack from (pixels, grid in patches, (low, high)) of each image."""
    arrays = PackArrays(
        patches=np.zeros((tokens, patch * patch), np.uint16),
        positions=np.zeros((tokens, 2), np.int32),
        grids=np.zeros((max_images, 2), np.int32),
        offsets=np.zeros(max_images + 1, np.int32),
        scale=np.tile(np.array([0, 1], np.float32), (max_images, 1)),
    )
    start = 0
    for number, (pixels, grid, scale) in enumerate(images):
        end = start + grid[0] * grid[1]
        arrays.patches[start:end] = to_patches(pixels, grid, patch)
        arrays.positions[start:end, 0] = np.repeat(np.arange(grid[0]), grid[1])
        arrays.positions[start:end, 1] = np.tile(np.arange(grid[1]), grid[0])
        arrays.grids[number], arrays.scale[number] = grid, scale
        arrays.offsets[number + 1 :] = end
        start = end
    return arrays


def _read(path: Path, offset: int, size: int) -> bytes:
    """Bytes of a file, opened anew after a fault that network drives recover from."""
    for attempt in range(ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in TRANSIENT or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.1 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries, no secret
    raise AssertionError
