"""The ways of reading images that the loader is compared with, and how fast this machine decodes at best.

Comes in: files or shards. Goes out: images and seconds. Refuses nothing: these are measured as their users run them.

- DICOM files one by one, as the thesis read them: pydicom with pylibjpeg, on threads.
- webdataset, and litdata where it is installed, with PNG of 16 bits in a torch DataLoader, on processes.
- The decoder alone on bytes in memory: what no loader can exceed.
"""

import importlib
import importlib.util
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radio_io.codecs.registry import get_codec
from radio_io.freed_memory import keep_freed_memory
from radio_io.layout import DatasetLayout
from radio_io.loading.pack_images import cut_strips, decode_strips
from radio_io.loading.store import LocalStore
from radio_io.loading.table import ImageTable
from radio_io.sharding.write import END_OF_ARCHIVE, tar_member

PNG_LEVEL = 6
PNG_SHARD_IMAGES = 40
LITDATA_CHUNK_BYTES = 64 << 20
LEAD_ITEMS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Images read in some seconds; as far as known `bytes_read` of the store, and the CPU that this process took.

    `link_cpu_s` is the CPU of a throttled store, which is a process on the same machine.
    """

    name: str
    images: int
    seconds: float
    bytes_read: int = 0
    cpu_s: float = 0.0
    link_cpu_s: float = 0.0

    @property
    def images_per_s(self) -> float:
        """Images a second."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU an image, which other processes disturb less than the clock."""
        return 1e3 * self.cpu_s / self.images if self.images else 0.0

    @property
    def mb_per_s(self) -> float:
        """Millions of bytes a second from the store."""
        return self.bytes_read / 1e6 / self.seconds if self.seconds else 0.0


def read_dicom_files(files: Sequence[Path], *, threads: int) -> Rate:
    """DICOM files one by one; a file that pydicom refuses costs its time and counts as none."""
    pydicom: Any = importlib.import_module("pydicom")

    def pixels(path: Path) -> int:
        try:
            return int(np.asarray(pydicom.dcmread(path).pixel_array).ndim == 2)
        except Exception:  # noqa: BLE001 - synthetic exports hold files that nobody can read
            return 0

    began_s = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        images = sum(pool.map(pixels, files))
    seconds = time.perf_counter() - began_s
    return Rate(name="DICOM one by one", images=images, seconds=seconds, bytes_read=_size(files))


def write_png_shards(root: Path, table: ImageTable, folder: Path, *, threads: int) -> list[Path]:
    """The images of a table as a webdataset of 16-bit PNG would hold them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    members: list[bytes] = []
    for row, data in enumerate(_png_images(root, table, threads=threads)):
        members.append(tar_member(f"{table.key(row)}.png", data))
        if len(members) == PNG_SHARD_IMAGES or row == len(table) - 1:
            paths.append(folder / f"{len(paths):06}.tar")
            paths[-1].write_bytes(b"".join([*members, END_OF_ARCHIVE]))
            members = []
    return paths


def write_litdata(root: Path, table: ImageTable, folder: Path, *, threads: int) -> None:
    """The images of a table as litdata would hold them: chunks of 16-bit PNG."""
    writers: Any = importlib.import_module("litdata.streaming.writer")
    folder.mkdir(parents=True, exist_ok=True)
    writer = writers.BinaryWriter(str(folder), chunk_bytes=LITDATA_CHUNK_BYTES)
    for row, data in enumerate(_png_images(root, table, threads=threads)):
        writer[row] = {"png": data}
    writer.done()
    writer.merge(num_workers=1)


def _png_images(root: Path, table: ImageTable, *, threads: int) -> Iterator[bytes]:
    """Each image as PNG of 16 bits, a few at a time."""
    encoded = encoded_images(root, table)
    codec = get_codec(table.codec)

    def png(row: int) -> bytes:
        return bytes(imagecodecs.png_encode(codec.decode(encoded[row]), level=PNG_LEVEL))

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(table), PNG_SHARD_IMAGES):
            yield from pool.map(png, range(start, min(start + PNG_SHARD_IMAGES, len(table))))


def read_webdataset(shards: Sequence[Path], *, workers: int) -> Rate:
    """Webdataset in a DataLoader; the time runs from the first image on, so that starting processes does not count."""
    wds: Any = importlib.import_module("webdataset")
    data: Any = importlib.import_module("torch.utils.data")
    dataset = wds.WebDataset([str(path) for path in shards], shardshuffle=False, empty_check=False).map(_decode_png)
    processes = min(workers, len(shards))
    loader = data.DataLoader(dataset, batch_size=None, num_workers=processes, multiprocessing_context="fork")
    return _from_first("webdataset + PNG16", loader, _size(shards))


def has_litdata() -> bool:
    """Whether litdata is installed: `make tools` does that."""
    return importlib.util.find_spec("litdata") is not None


def read_litdata(folder: Path, *, workers: int) -> Rate:
    """Litdata in a DataLoader, from the first image on."""
    lit: Any = importlib.import_module("litdata")
    data: Any = importlib.import_module("torch.utils.data")
    dataset = lit.StreamingDataset(str(folder), shuffle=False, transform=_decode_png)
    loader = data.DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context="fork")
    return _from_first("litdata + PNG16", loader, _size(folder.glob("*.bin")))


def _from_first(name: str, loader: Iterable[object], bytes_read: int) -> Rate:
    images, began_s = 0, time.perf_counter()
    for images, _ in enumerate(loader):
        if not images:
            began_s = time.perf_counter()
    return Rate(name=name, images=images, seconds=time.perf_counter() - began_s, bytes_read=bytes_read)


def decode_alone(root: Path, table: ImageTable, *, threads: int, rounds: int = 1) -> Rate:
    """The codec on bytes in memory, nothing else."""
    encoded, codec = encoded_images(root, table), get_codec(table.codec)
    return _rounds(f"decoder alone, {threads} threads", codec.decode, encoded, threads=threads, rounds=rounds)


def decode_and_cut(root: Path, table: ImageTable, *, patch: int, threads: int, rounds: int = 1) -> Rate:
    """What each image needs at least: its checksum, the codec, cutting into patches."""
    encoded, grids = encoded_images(root, table), table.grids(patch).tolist()

    def work(row: int) -> None:
        height, width = grids[row]
        out: NDArray[np.uint16] = np.empty((height * width, patch * patch), np.uint16)
        cut_strips(decode_strips(table, row, encoded[row], patch).parts, width, patch, out)

    name = f"check, decode, cut, {threads} threads"
    return _rounds(name, work, range(len(encoded)), threads=threads, rounds=rounds)


def _rounds(name: str, work: Callable[[Any], object], items: Sequence[Any], *, threads: int, rounds: int) -> Rate:
    """The same work for all items, after a few that do not count: memory is then there, as in the loader's."""
    keep_freed_memory()
    with ThreadPoolExecutor(threads) as pool:
        deque(pool.map(work, items[: LEAD_ITEMS * threads]), maxlen=0)
        began_s, cpu_s = time.perf_counter(), time.process_time()
        for _ in range(rounds):
            deque(pool.map(work, items), maxlen=0)
        seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return Rate(name=name, images=rounds * len(items), seconds=seconds, cpu_s=cpu_s)


def encoded_images(root: Path, table: ImageTable) -> list[bytes]:
    """The bytes of all images of a table."""
    store = LocalStore(DatasetLayout(root).root)
    found = [
        store.read(table.shard_ids[table.shards[row]], int(table.offsets[row]), int(table.sizes[row]))
        for row in range(len(table))
    ]
    store.close()
    return found


def _decode_png(sample: dict[str, Any]) -> NDArray[np.uint16]:
    return np.asarray(imagecodecs.png_decode(sample["png"]))


def _size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)
