"""The file that remembers how many patches of each image are no background.

Comes in: keys and checksums of images, counts. Goes out: the counts of those images whose checksum is still the same:
an image that was built anew counts as unknown, whatever index it is in. Refuses a folder that cannot be written, with a
`StorageError`. A damaged file is empty.

24 bytes an image, sorted by key, below the dataset's folder; another file for each patch size, resolution, scale and
threshold. It can be removed at any time: what is missing is counted again.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.checksum import crc32_of
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.table import ImageTable, Rows

FOLDER, SUFFIX = "background", ".counts"
MAGIC = b"radio background 1\n"
"""Another number for another rule or layout."""
ENTRY = np.dtype([("key", "S16"), ("crc32", "<u4"), ("count", "<i4")])
UNKNOWN, UNREADABLE = -1, 0
"""Counts of an image that was not looked at yet, and of one that could not be decoded."""
Counts = NDArray[np.int32]
Entries = NDArray[Any]


class BackgroundFile:
    """The counts of one patch size, resolution, scale and threshold."""

    def __init__(self, root: Path, config: LoaderConfig) -> None:
        name = f"p{config.patch_size}-r{1 << config.halvings}-{config.scale}-t{config.background_permille}{SUFFIX}"
        self.path = root / FOLDER / name
        self._entries = _read(self.path)
        self._fresh: list[Entries] = []

    def __len__(self) -> int:
        self._settle()
        return len(self._entries)

    def counts(self, table: ImageTable, rows: Rows) -> Counts:
        """[rows]: the counts of some images; `UNKNOWN` where there is none of an image with this checksum."""
        self._settle()
        found = np.full(len(rows), UNKNOWN, np.int32)
        if len(self._entries):
            keys = _keys(table, rows)
            places = np.minimum(np.searchsorted(self._entries["key"], keys), len(self._entries) - 1)
            entries = self._entries[places]
            same = (entries["key"] == keys) & (entries["crc32"] == table.crc32[rows])
            found[same] = entries["count"][same]
        return found

    def add(self, table: ImageTable, rows: Rows, counts: Counts) -> None:
        """Remember counts, in place of earlier ones of the same images."""
        fresh = np.zeros(len(rows), ENTRY)
        fresh["key"], fresh["crc32"], fresh["count"] = _keys(table, rows), table.crc32[rows], counts
        self._fresh.append(fresh)

    def save(self) -> None:
        """Write the file, which is there whole or not at all.

        Raises:
            StorageError: It cannot be written.
        """
        self._settle()
        _write(self.path, self._entries)

    def _settle(self) -> None:
        """Sort what was added among the rest: once for many images, since it takes as long as the whole file."""
        if self._fresh:
            both = np.concatenate([*reversed(self._fresh), self._entries])
            _, first = np.unique(both["key"], return_index=True)  # of equal keys the first, which is the latest
            self._entries, self._fresh = both[first], []


def forget_counts(root: Path, present: Collection[str]) -> None:
    """Take out of all files of a dataset every image but those with a key in `present`.

    Raises:
        StorageError: A file cannot be written.
    """
    kept = np.array(sorted(bytes.fromhex(key) for key in present), "S16")
    for path in sorted((root / FOLDER).glob(f"*{SUFFIX}")):
        entries = _read(path)
        _write(path, entries[np.isin(entries["key"], kept)])


def _keys(table: ImageTable, rows: Rows) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(table.keys[rows]).view("S16").ravel()


def _read(path: Path) -> Entries:
    try:
        content = path.read_bytes()
    except OSError:
        return np.zeros(0, ENTRY)
    start = len(MAGIC) + 4
    body = content[start:]
    whole = content.startswith(MAGIC) and len(body) % ENTRY.itemsize == 0
    if not whole or crc32_of(body) != int.from_bytes(content[len(MAGIC) : start], "little"):
        return np.zeros(0, ENTRY)
    return np.frombuffer(body, ENTRY)


def _write(path: Path, entries: Entries) -> None:
    atomic.make_folder(path.parent)
    content = entries.tobytes()
    atomic.write_file(path, MAGIC + crc32_of(content).to_bytes(4, "little") + content)
