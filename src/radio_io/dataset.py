"""A built dataset in Python: query it, read single images.

Comes in: a dataset folder. Goes out: `Dataset` and `Image`. Refuses folders without an index, unknown keys, and bytes
that are not those that were written.

Example:
    >>> import radio_io
    >>> data = radio_io.open_dataset("shards")  # doctest: +SKIP
    >>> data.keys("region = 'Knee' AND rows > 2000")[:2]  # doctest: +SKIP
    ['04b6…', '1f20…']
    >>> image = data["04b6…"]  # doctest: +SKIP
    >>> image.pixels.shape, image.metadata["region"]  # doctest: +SKIP
    ((2140, 1690), 'Knee')
    >>> [image.key for image in data.images("split = 'val'")]  # doctest: +SKIP
    ['1f20…', '77b0…']
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radio_io.checksum import crc32_of
from radio_io.codecs.registry import get_codec
from radio_io.dataset_file import DatasetFile, read_dataset_file
from radio_io.errors import DatasetError, QueryError
from radio_io.index.catalog import open_index
from radio_io.index.query import select_rows
from radio_io.index.schema import IMAGES, unknown_column
from radio_io.layout import DatasetLayout
from radio_io.loading.store import open_store
from radio_io.object_store import is_url
from radio_io.remote_dataset import readable_root

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Image:
    """One radiograph of a dataset.

    `pixels` is `[rows, columns]` uint16, 0 is air; `metadata` is its row of the table `images`.
    """

    key: str
    pixels: NDArray[np.uint16]
    metadata: dict[str, Any]

    def stored_values(self) -> NDArray[np.int32]:
        """The stored values of the DICOM file, `[rows, columns]`, exactly.

        Raises:
            DatasetError: A Modality LUT, a VOI LUT or a window was applied: those do not come back.
        """
        facts = self.metadata
        if facts["modality_lut"] or facts["voi_applied"] is not None:
            raise DatasetError("stored values do not come back through a Modality LUT, a VOI LUT or a window")
        values = self.pixels.astype(np.int32)
        if facts["inverted"]:
            values = (1 << facts["render_bits"]) - 1 - values
        return values + facts["render_offset"]

    def __repr__(self) -> str:
        rows, columns = self.pixels.shape
        return f"<Image {self.key}: {rows} x {columns}, {self.metadata['region']}, {self.metadata['split']}>"


class Dataset:
    """The images of a dataset folder by key, read only; made by `open_dataset`."""

    def __init__(self, root: Path, facts: DatasetFile) -> None:
        self._layout = DatasetLayout(root)
        self._facts = facts
        self._store = open_store(root)

    @property
    def root(self) -> Path:
        """The dataset folder."""
        return self._layout.root

    @property
    def codec(self) -> str:
        """How images are encoded: htj2k or fast."""
        return self._facts.codec

    def __len__(self) -> int:
        return self._facts.num_images

    def __repr__(self) -> str:
        return (
            f"<Dataset {str(self.root)!r}: {len(self):,} images in {self._facts.num_shards:,} shards, {self.codec}, "
            f"bins {self._facts.bins}>"
        )

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._row(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __getitem__(self, key: str) -> Image:
        """Read one image.

        Raises:
            KeyError: There is no such key.
            DatasetError: Its bytes are not those that were written.
        """
        row = self._row(key)
        if row is None:
            raise KeyError(key)
        return Image(key=key, pixels=self._pixels(row), metadata=row)

    def keys(self, where: str | None = None) -> list[str]:
        """The keys of the images for which an SQL predicate holds (None: of all), in the order of the shards.

        Raises:
            QueryError: The predicate is refused.
        """
        with open_index(self.root) as connection:
            return [key for (key,) in select_rows(connection, where, ("key",))]

    def images(self, where: str | None = None) -> Iterator[Image]:
        """The images for which an SQL predicate holds, one after the other, in the order of the shards.

        Raises:
            QueryError: The predicate is refused.
            DatasetError: The bytes of an image are not those that were written.
        """
        with open_index(self.root) as connection:
            for row in select_rows(connection, where, IMAGES.names):
                metadata = dict(zip(IMAGES.names, row, strict=True))
                yield Image(key=metadata["key"], pixels=self._pixels(metadata), metadata=metadata)

    def query(self, where: str | None = None, columns: str | None = None) -> "pa.Table":
        """The rows of images for which an SQL predicate holds, as an Arrow table (`.to_pandas()` where wanted).

        Args:
            where: such as `"region = 'Knee' AND rows > 2000"`; None takes all.
            columns: comma-separated; None takes all.

        Raises:
            QueryError: The predicate is refused, or a column is unknown.
        """
        import pyarrow as pa

        from radio_io.index.records import ARROW_TYPES

        types = {column.name: ARROW_TYPES[column.sql_type] for column in IMAGES.columns}
        names = IMAGES.names if columns is None else tuple(name.strip() for name in columns.split(","))
        for name in names:
            if name not in types:
                raise QueryError(unknown_column(name))
        with open_index(self.root) as connection:
            rows = list(select_rows(connection, where, names))
        arrays = [pa.array([row[i] for row in rows], types[name]) for i, name in enumerate(names)]
        return pa.table(dict(zip(names, arrays, strict=True)))

    def labels(self, task: str) -> dict[str, str]:
        """The labels of a task by key, such as `{"04b6…": "present"}`; `radio labels import` brings them in.

        Raises:
            DatasetError: There is no such task; the message names those there are.
        """
        from radio_io.labels.store import load_labels

        return load_labels(self.root, task)

    def _row(self, key: str) -> dict[str, Any] | None:
        if len(key) != 32 or not set(key) <= set("0123456789abcdef"):
            return None
        with open_index(self.root) as connection:
            rows = list(select_rows(connection, f"key = '{key}'", IMAGES.names))
        return dict(zip(IMAGES.names, rows[0], strict=True)) if rows else None

    def _pixels(self, row: dict[str, Any]) -> NDArray[np.uint16]:
        try:
            encoded = self._store.read(row["shard_id"], row["image_offset"], row["image_size"])
        except OSError as error:
            raise DatasetError(f"cannot read shard {row['shard_id']} ({type(error).__name__})") from None
        if crc32_of(encoded) != row["image_crc32"]:
            raise DatasetError(
                f"image {row['key']} of shard {row['shard_id']} is damaged: its CRC-32 is not that of the index; "
                "run: radio shard verify"
            )
        return get_codec(row["codec"]).decode(encoded)


def open_dataset(root: str | Path = "shards") -> Dataset:
    """The dataset in a folder, or below a URL (`s3://bucket/shards`).

    Raises:
        DatasetError: There is none, it is damaged, or of a format version that this radio does not know.
    """
    folder = readable_root(str(root)) if is_url(str(root)) else Path(root)
    return Dataset(folder, read_dataset_file(folder))
