"""Packs in the making: decoding threads write straight into the arrays that the trainer gets.

Comes in: a `PackJob`, the bytes of its images, the memory for its patches. Goes out: `PackInProgress`, from which the
finished arrays are taken once all images are in. A damaged image is read once more, then replaced, or left out where no
other has its patch grid or where the order is not shuffled (an embedding must not see an image twice).
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radio_io.codecs.interface import Strips
from radio_io.loading.bad_images import Quarantine
from radio_io.loading.batch import LoaderConfig
from radio_io.loading.pack_images import (
    BadImageError,
    PackArrays,
    decode_strips,
    describe_pack,
    image_scale,
    put_image,
    without,
)
from radio_io.loading.plan import PackJob
from radio_io.loading.read_ahead import Encoded, ReadAhead
from radio_io.loading.table import ImageTable


@dataclass(frozen=True, kw_only=True, slots=True)
class FilledPack:
    """The arrays of a pack, the rows of the images that are in it, and the places in the job that stay empty."""

    arrays: PackArrays
    rows: tuple[int, ...]
    missing: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackInProgress:
    """A pack whose images are being decoded."""

    job: PackJob
    arrays: PackArrays
    images: Sequence[Future[int | None]]
    on_device: Any = None
    """The patches as a tensor on a GPU, where they were decoded there."""

    def finish(self) -> FilledPack:
        """The pack, once all its images are there.

        Raises:
            TrainingError: Too many images are damaged.
        """
        rows = [image.result() for image in self.images]
        missing = [place for place, row in enumerate(rows) if row is None]
        arrays = without(self.arrays, self.job, missing) if missing else self.arrays
        kept = tuple(row for row in rows if row is not None)
        return FilledPack(arrays=arrays, rows=kept, missing=tuple(missing))


class Assembler:
    """Decodes on the threads of a pool."""

    def __init__(
        self,
        table: ImageTable,
        config: LoaderConfig,
        reader: ReadAhead,
        quarantine: Quarantine,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._table, self._config, self._reader = table, config, reader
        self._quarantine, self._pool = quarantine, pool

    def start(self, job: PackJob, encoded: Sequence[Encoded], patches: NDArray[np.uint16]) -> PackInProgress:
        """Begin to fill `patches` ([tokens, pixels]) with the images of a job."""
        arrays = describe_pack(job, patches)
        images = [self._pool.submit(self._fill, job, arrays, place, each) for place, each in enumerate(encoded)]
        return PackInProgress(job=job, arrays=arrays, images=images)

    def _fill(self, job: PackJob, arrays: PackArrays, place: int, encoded: Encoded) -> int | None:
        """Put an image, or one that stands in for it, in its place; returns the row of the one it became."""
        row = int(job.rows[place])
        strips = None if row in self._quarantine else self._strips(row, encoded)
        used: int | None = row
        if strips is None and not self._reader.is_closed:
            used, strips = self._stand_in(job, row)
            self._quarantine.record(row, job.plan.state, used)
        if used is None or strips is None:
            return None
        scale = image_scale(self._table, used, self._config)
        put_image(arrays, job, place, strips, scale, self._config.patch_size)
        return used

    def _stand_in(self, job: PackJob, row: int) -> tuple[int | None, Strips | None]:
        if self._config.shuffle:
            for candidate in self._quarantine.stand_ins(row, job.plan.state):
                if candidate in self._quarantine:
                    continue
                strips = self._strips(candidate, self._reader.fetch_now(candidate))
                if strips is not None:
                    return candidate, strips
        return None, None

    def _strips(self, row: int, encoded: Encoded) -> Strips | None:
        step = self._config.patch_size
        try:
            return decode_strips(self._table, row, encoded, step)
        except BadImageError:
            if isinstance(encoded, OSError):
                return self._damaged(row, encoded.strerror or type(encoded).__name__)
        # The bytes were wrong: a fault on the way, or on the drive? Read past the cache to know.
        try:
            return decode_strips(self._table, row, self._reader.fetch_now(row), step)
        except BadImageError as error:
            return self._damaged(row, error.reason)

    def _damaged(self, row: int, reason: str) -> None:
        if not self._reader.is_closed:  # what a closed loader did not get may be well
            self._quarantine.add(row, reason)
