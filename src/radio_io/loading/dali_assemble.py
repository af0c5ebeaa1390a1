"""Packs decoded by NVIDIA DALI: on its CPU threads, or on the GPU without a way back over the host.

Comes in: what `Assembler` takes; the memory for patches as a tensor of the decoding device. Goes out: the same packs,
bit by bit. Order, checks and stand-ins stay ours: an image that DALI refuses takes the CPU path, which knows
what to do.
Refuses a codec that DALI does not know, and a missing package, with a `UsageError`.

DALI must only see bytes whose checksum is right: one sample that does not decode invalidates its whole pipeline, which
is then built anew.
"""

import importlib
import os
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from radio_io.codecs.htj2k import HTJ2K
from radio_io.errors import RadioError, UsageError
from radio_io.loading.assemble import Assembler, PackInProgress
from radio_io.loading.batch import Decoder, LoaderConfig
from radio_io.loading.pack_images import PackArrays, check_bytes, cut_into, describe_pack, image_scale
from radio_io.loading.plan import PackJob
from radio_io.loading.read_ahead import Encoded
from radio_io.loading.table import ImageTable

MAX_BATCH = 64
"""Images that DALI decodes at once; a pack of 24,576 tokens rarely has more than 32 radiographs."""


class DaliPipeline:
    """JPEG 2000 files in, images out; built anew after a sample that does not decode."""

    def __init__(self, decoder: Decoder, *, threads: int, device_id: int | None) -> None:
        try:
            self._dali: Any = importlib.import_module("nvidia.dali")
            self._fn: Any = importlib.import_module("nvidia.dali.fn")
        except ImportError:
            raise UsageError("decoder dali needs a package that is not installed: pip install 'radio[dali]'") from None
        self._device = "mixed" if decoder is Decoder.DALI_GPU else "cpu"
        self._threads, self._device_id = threads, device_id if self._device == "mixed" else None
        self._pipeline: Any = None

    def decode(self, files: Sequence[bytes]) -> list[Any] | None:
        """The images, valid until the next call: arrays of NumPy or tensors on the GPU, uint16; None if one fails."""
        if self._pipeline is None:
            self._pipeline = self._build()
        try:
            self._pipeline.feed_input("files", [np.frombuffer(file, np.uint8) for file in files])
            (images,) = self._pipeline.run()
        except RuntimeError:  # what DALI raises for a sample that does not decode
            self._pipeline = None
            return None
        if self._device == "cpu":
            return [np.asarray(images.at(number)) for number in range(len(files))]
        return [torch.from_dlpack(images[number]) for number in range(len(files))]

    def _build(self) -> Any:  # noqa: ANN401 - DALI has no types
        types = self._dali.types
        pipeline = self._dali.Pipeline(
            batch_size=MAX_BATCH, num_threads=self._threads, device_id=self._device_id, prefetch_queue_depth=1
        )
        with pipeline:
            files = self._fn.external_source(name="files", dtype=types.UINT8, ndim=1)
            # The default output type and dtype would silently drop to 8 bits.
            images = self._fn.decoders.image(files, device=self._device, output_type=types.ANY_DATA, dtype=types.UINT16)
            pipeline.set_outputs(images)
        pipeline.build()
        return pipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """An image whose bytes are right, as a file that DALI decodes."""

    place: int
    file: bytes


class DaliAssembler(Assembler):
    """An `Assembler` that lets DALI decode."""

    def __init__(self, table: ImageTable, config: LoaderConfig, *parts: Any) -> None:
        super().__init__(table, config, *parts)
        if table.codec != HTJ2K.name:
            raise UsageError(f"decoder {config.decoder} reads codec htj2k only, the dataset has {table.codec}")
        device_id = torch.cuda.current_device() if config.decoder is Decoder.DALI_GPU else None
        threads = config.workers or len(os.sched_getaffinity(0))
        self._dali = DaliPipeline(config.decoder, threads=threads, device_id=device_id)

    def start(self, job: PackJob, encoded: Sequence[Encoded], patches: NDArray[np.uint16]) -> PackInProgress:
        """The images of a job in `patches` ([tokens, pixels]), in the memory of the host."""
        arrays = describe_pack(job, patches)
        images = self._decode(job, encoded, arrays, None)
        return PackInProgress(job=job, arrays=arrays, images=images)

    def start_on_device(self, job: PackJob, encoded: Sequence[Encoded], device: torch.device) -> PackInProgress:
        """The same with the patches on a GPU; damaged images alone pass through the host."""
        host = np.zeros((job.tokens, self._config.patch_size**2), np.uint16)
        arrays = describe_pack(job, host)
        on_device = torch.zeros(host.shape, dtype=torch.int16, device=device)
        images = self._decode(job, encoded, arrays, on_device)
        return PackInProgress(job=job, arrays=arrays, images=images, on_device=on_device)

    def _decode(
        self, job: PackJob, encoded: Sequence[Encoded], arrays: PackArrays, on_device: torch.Tensor | None
    ) -> list[Future[int | None]]:
        found: dict[int, Future[int | None]] = {}
        checked = self._pool.map(self._file, [job] * len(encoded), range(len(encoded)), encoded)
        ready = [each for each in checked if each is not None]
        for start in range(0, len(ready), MAX_BATCH):
            batch = ready[start : start + MAX_BATCH]
            decoded = self._dali.decode([each.file for each in batch])
            if decoded is None:
                continue
            done = [
                (each.place, self._pool.submit(self._put, job, arrays, each.place, pixels, on_device))
                for each, pixels in zip(batch, decoded, strict=True)
                if tuple(pixels.shape[:2]) == self._table.shape(int(job.rows[each.place]))
            ]
            for _, future in done:
                future.result()  # DALI's memory is used again by its next run
            found |= dict(done)
        for place, each in enumerate(encoded):
            if place not in found:
                found[place] = self._pool.submit(self._by_cpu, job, arrays, place, each, on_device)
        return [found[place] for place in range(len(encoded))]

    def _file(self, job: PackJob, place: int, encoded: Encoded) -> _Ready | None:
        row = int(job.rows[place])
        if row in self._quarantine:
            return None
        halvings = self._table.halvings
        try:
            data = check_bytes(self._table, row, encoded)
            return _Ready(place=place, file=HTJ2K.reduced_image(data, halvings) if halvings else data)
        except RadioError:
            return None

    def _put(
        self,
        job: PackJob,
        arrays: PackArrays,
        place: int,
        pixels: Any,  # noqa: ANN401 - an array or a tensor
        on_device: torch.Tensor | None,
    ) -> int | None:
        row = int(job.rows[place])
        height, width = job.grids[place].tolist()
        rows = slice(int(job.starts[place]), int(job.starts[place + 1]))
        arrays.scale[place] = image_scale(self._table, row, self._config)
        if on_device is None:
            cut_into(pixels[..., 0], (height, width), self._config.patch_size, arrays.patches[rows])
        else:
            image = pixels.view(torch.int16)[..., 0]
            on_device[rows] = patches_on_device(image, (height, width), self._config.patch_size)
        return row

    def _by_cpu(
        self,
        job: PackJob,
        arrays: PackArrays,
        place: int,
        encoded: Encoded,
        on_device: torch.Tensor | None,
    ) -> int | None:
        row = self._fill(job, arrays, place, encoded)
        if on_device is not None and row is not None:
            rows = slice(int(job.starts[place]), int(job.starts[place + 1]))
            on_device[rows] = torch.from_numpy(arrays.patches[rows].view(np.int16)).to(on_device.device)
        return row


def without_on_device(patches: torch.Tensor, job: PackJob, missing: Sequence[int]) -> torch.Tensor:
    """The patches without the images at these places: the others move up."""
    kept = [patches[job.starts[n] : job.starts[n + 1]] for n in range(len(job.rows)) if n not in missing]
    used = sum(len(each) for each in kept)
    return torch.cat([*kept, patches.new_zeros((len(patches) - used, patches.shape[1]))])


def patches_on_device(image: torch.Tensor, grid: tuple[int, int], patch: int) -> torch.Tensor:
    """[grid rows * columns, patch ** 2] of an image [rows, columns], padded with 0 at the bottom and right."""
    missing = (0, grid[1] * patch - image.shape[1], 0, grid[0] * patch - image.shape[0])
    padded = torch.nn.functional.pad(image, missing)
    cut = padded.reshape(grid[0], patch, grid[1], patch).transpose(1, 2)
    return cut.reshape(grid[0] * grid[1], patch * patch)
