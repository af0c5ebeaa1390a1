"""The images of a split as NumPy columns, and how they are read from the index.

Comes in: a dataset folder with `index.duckdb`, a split, and a selection (a predicate or keys). Goes out: `ImageTable`,
in the order of the shards: 49 bytes an image, so 32 MB for 650,000 images and 4.9 GB for 100 million (in every
process that loads; the order of an epoch takes 8 more bytes an image while it lasts, 24 while it is made). Refuses a
split or selection without images and a resolution that the codec cannot give.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radio_io.codecs.registry import get_codec
from radio_io.errors import DatasetError, UsageError
from radio_io.index.catalog import open_index
from radio_io.index.gate import checked_predicate

Rows: TypeAlias = NDArray[np.int64]
"""Row numbers of an `ImageTable`."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ImageTable:
    """One row an image, sorted by shard and by place in it.

    Attributes:
        keys: [n, 16] uint8, the bytes of the hexadecimal keys.
        shards: [n] int32, position in `shard_ids`.
        offsets: [n] int64, first byte of the encoded image in its shard.
        sizes: [n] uint32, bytes to read: the whole image, or its front for a lower resolution.
        crc32: [n] uint32, of the whole encoded image.
        rows: [n] uint16, pixels, at full resolution.
        columns: [n] uint16.
        bin_heights: [n] uint16, pixels, of the image's bin.
        bin_widths: [n] uint16.
        bits: [n] uint8, pixels are below `2 ** bits`.
        low: [n] uint16, 0.5th percentile of the pixels.
        high: [n] uint16, 99.5th percentile.
        full_size_bytes: Bytes of all these images at full resolution.
        halvings: How often each side is halved when an image is read.
        has_crc32: Whether `crc32` is that of the bytes to read, which are the whole image then.
        shard_ids: `train/h1536w2304/000012`, sorted.
        codec: Name of the codec of all these images.
        kept: [n] int32, patches of each image that are no background; None where all patches are kept.
    """

    keys: NDArray[np.uint8]
    shards: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.uint32]
    crc32: NDArray[np.uint32]
    rows: NDArray[np.uint16]
    columns: NDArray[np.uint16]
    bin_heights: NDArray[np.uint16]
    bin_widths: NDArray[np.uint16]
    bits: NDArray[np.uint8]
    low: NDArray[np.uint16]
    high: NDArray[np.uint16]
    full_size_bytes: int
    halvings: int
    has_crc32: bool
    shard_ids: tuple[str, ...]
    codec: str
    kept: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.shards)

    def __repr__(self) -> str:
        return f"<ImageTable: {len(self):,} images in {len(self.shard_ids):,} shards, {self.codec}>"

    def key(self, row: int) -> str:
        """The key of a row, 32 hexadecimal digits."""
        return self.keys[row].tobytes().hex()

    def shape(self, row: int) -> tuple[int, int]:
        """Rows and columns of the image as it is decoded, the resolution considered."""
        factor = 1 << self.halvings
        return -(-int(self.rows[row]) // factor), -(-int(self.columns[row]) // factor)

    def grids(self, patch_size: int) -> NDArray[np.int32]:
        """[n, 2]: patch rows and patch columns of each image, the resolution considered."""
        return self._in_patches(self.rows, self.columns, patch_size)

    def grids_of(self, rows: Rows, patch_size: int) -> NDArray[np.int32]:
        """[images, 2]: the same of some rows."""
        return self._in_patches(self.rows[rows], self.columns[rows], patch_size)

    def patches_of(self, rows: Rows, patch_size: int) -> NDArray[np.int64]:
        """[images]: how many patches of some rows go into packs."""
        if self.kept is not None:
            return self.kept[rows].astype(np.int64)
        return self.grids_of(rows, patch_size).astype(np.int64).prod(axis=1)

    def bin_grids(self, patch_size: int) -> NDArray[np.int32]:
        """[n, 2]: patch rows and patch columns of each image's bin, the resolution considered."""
        return self._in_patches(self.bin_heights, self.bin_widths, patch_size)

    def bin_grids_of(self, rows: Rows, patch_size: int) -> NDArray[np.int32]:
        """[images, 2]: patch rows and patch columns of the bins of some rows."""
        return self._in_patches(self.bin_heights[rows], self.bin_widths[rows], patch_size)

    def rows_of_grid(self, height: int, width: int, patch_size: int) -> Rows:
        """All rows whose images have this patch grid."""
        side = patch_size << self.halvings
        tall = (self.rows > (height - 1) * side) & (self.rows <= height * side)
        return np.flatnonzero(tall & (self.columns > (width - 1) * side) & (self.columns <= width * side))

    def part(self, rows: Sequence[int]) -> "ImageTable":
        """Some rows, in their order."""
        chosen = np.asarray(rows, np.int64)
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        taken = {name: value[chosen] for name, value in columns.items() if isinstance(value, np.ndarray)}
        share = len(chosen) / max(1, len(self))
        return replace(self, **taken, full_size_bytes=int(self.full_size_bytes * share))

    def digest(self) -> str:
        """What identifies this selection: equal digests have the same steps for the same state."""
        digest = hashlib.sha256(b"radio-selection-v1")
        for column in (self.keys, self.shards, self.offsets, self.rows, self.columns):
            digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()[:16]

    def _in_patches(
        self, heights: NDArray[np.uint16], widths: NDArray[np.uint16], patch_size: int
    ) -> NDArray[np.int32]:
        factor = 1 << self.halvings
        pixels = -(-np.stack([heights, widths], axis=1).astype(np.int32) // factor)
        return -(-pixels // patch_size)


def load_image_table(
    root: Path, split: str | None, *, where: str | None = None, keys: Collection[str] | None = None, halvings: int = 0
) -> ImageTable:
    """The images of a split (None: of all), or of these those that a predicate or a list of keys selects.

    Raises:
        DatasetError: No image is selected, or the selection mixes codecs.
        QueryError: The predicate is refused.
        UsageError: The codec cannot give the asked resolution.
    """
    conditions = ["split = ?"] if split else ["true"]
    with open_index(root) as connection:
        if where:
            conditions.append(f"({checked_predicate(connection, where)})")
        columns = connection.execute(
            "SELECT key, shard_id, image_offset, image_size, image_crc32, rows, columns, bin_height, bin_width, "  # noqa: S608
            "render_bits, percentile_0_5, percentile_99_5, codec, coalesce(level_sizes[?], 0) AS front "
            f"FROM images WHERE {' AND '.join(conditions)} ORDER BY shard_id, image_offset",
            [halvings + 1, *([split] if split else [])],
        ).fetchnumpy()
    if keys is not None:
        wanted = np.isin(columns["key"].astype(str), np.array(sorted(keys), dtype=str))
        columns = {name: values[wanted] for name, values in columns.items()}
    if not len(columns["key"]):
        chosen = f" that {where!r} selects" if where else ""
        raise DatasetError(f"no image in split {split or 'any'}{chosen}; widen the selection or build more shards")
    return _table(columns, halvings)


def _table(columns: dict[str, NDArray[Any]], halvings: int) -> ImageTable:
    codecs = set(columns["codec"].tolist())
    if len(codecs) != 1:
        raise DatasetError(f"found codecs {', '.join(sorted(codecs))}, expected one; select images of one codec")
    codec = codecs.pop()
    if halvings and (columns["front"] == 0).any():
        raise UsageError(f"codec {get_codec(codec).name} stores one resolution; train at full resolution")
    shard_ids, shards = np.unique(columns["shard_id"].astype(str), return_inverse=True)
    keys = np.frombuffer(bytes.fromhex("".join(columns["key"].tolist())), np.uint8).reshape(-1, 16)
    sizes = columns["front"] if halvings else columns["image_size"]
    return ImageTable(
        keys=keys,
        shards=shards.astype(np.int32),
        offsets=columns["image_offset"].astype(np.int64),
        sizes=sizes.astype(np.uint32),
        crc32=columns["image_crc32"].astype(np.uint32),
        rows=columns["rows"].astype(np.uint16),
        columns=columns["columns"].astype(np.uint16),
        bin_heights=columns["bin_height"].astype(np.uint16),
        bin_widths=columns["bin_width"].astype(np.uint16),
        bits=columns["render_bits"].astype(np.uint8),
        low=columns["percentile_0_5"].astype(np.uint16),
        high=columns["percentile_99_5"].astype(np.uint16),
        full_size_bytes=int(columns["image_size"].sum()),
        halvings=halvings,
        has_crc32=halvings == 0,
        shard_ids=tuple(str(shard_id) for shard_id in shard_ids),
        codec=codec,
    )
