"""Packs as torch tensors, made in the background while the trainer works.

Comes in: a dataset folder, an `ImageTable`, a `LoaderConfig`, `OrderState`, rank. Goes out: `Pack`s of tensors, epoch
after epoch. Damaged images are replaced, counted and listed; past `max_bad` the run stops with a `TrainingError`.

One thread plans packs, some read ahead, one a core decodes straight into the tensors (the codecs let go of Python's
lock); a bounded queue holds the packs in the making. `close` ends them all.
"""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from radio_io.errors import UsageError
from radio_io.freed_memory import keep_freed_memory
from radio_io.loading.assemble import Assembler, PackInProgress
from radio_io.loading.bad_images import BadImage, Quarantine
from radio_io.loading.batch import BatchPolicy, Decoder, LoaderConfig, Pack
from radio_io.loading.cache import cache_of
from radio_io.loading.dali_assemble import DaliAssembler, without_on_device
from radio_io.loading.memory import PackMemory
from radio_io.loading.order import OrderState, steps_per_epoch
from radio_io.loading.packing import visible_patches
from radio_io.loading.plan import PackJob, StepPlan, pack_jobs, pack_slots, plan_step
from radio_io.loading.read_ahead import Fetched, ReadAhead, ReadCounts
from radio_io.loading.reading import ReadConfig
from radio_io.loading.store import ShardStore, open_store
from radio_io.loading.table import ImageTable

__all__ = ["PackLoader", "StepPlan", "TensorPack", "plan_step", "visible_patches"]

TensorPack = Pack[torch.Tensor]
LEAST_READ_AHEAD = 16 << 20


class PackLoader:
    """All packs of one rank from a state on, without end; iterate, then `close` (or use it as a context)."""

    def __init__(
        self,
        root: Path,
        table: ImageTable,
        config: LoaderConfig,
        state: OrderState,
        *,
        rank: int = 0,
        world_size: int = 1,
        store: ShardStore | None = None,
    ) -> None:
        """`store` takes the place of the one that the configuration names; `close` closes it."""
        if table.kept is not None and not (config.policy is BatchPolicy.PACKED and config.decoder is Decoder.THREADS):
            raise UsageError("background is dropped with policy packed and decoder threads only")
        self._table, self._config, self._start = table, config, state
        self._rank, self._world_size = rank, world_size
        self.max_images = pack_slots(config)
        self._quarantine = Quarantine(
            table, max_bad=config.max_bad, patch_size=config.patch_size, file=config.quarantine
        )
        self.cache = cache_of(root, table, config.reading)
        self._store = store or open_store(root, config.reading.store, pause_s=config.reading.retry_pause_s)
        self._reader = ReadAhead(table, self._store, self._reading(), self.cache)
        self._queue: queue.Queue[PackInProgress | BaseException] = queue.Queue(maxsize=config.prefetch_packs)
        self._blocks = PackMemory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="radio-packs", daemon=True)
        self._started = False

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch, the shorter last one included."""
        return steps_per_epoch(len(self._table), self._start.step_images)

    @property
    def num_images(self) -> int:
        """Images of an epoch over all ranks."""
        return len(self._table)

    @property
    def bad_images(self) -> list[BadImage]:
        """The damaged images that were met, once for each step that wanted them."""
        return self._quarantine.images

    @property
    def counts(self) -> ReadCounts:
        """What was read so far."""
        return self._reader.counts

    def __iter__(self) -> Iterator[TensorPack]:
        """Packs, each with the time that the consumer waited for it.

        Raises:
            TrainingError: Too many images are damaged.
        """
        if not self._started:
            self._started = True
            self._thread.start()
        while True:
            began_s = time.perf_counter()
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            pack = self._pack(item)
            yield replace(pack, wait_s=time.perf_counter() - began_s)

    def state_after(self, pack: TensorPack) -> OrderState:
        """The state to save once the step of `pack` is done."""
        return self._start.after(pack.epoch, pack.step, len(self._table))

    def close(self) -> None:
        """End all threads. Harmless when repeated."""
        self._stop.set()
        self._reader.close()
        while self._started and self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._queue.get_nowait()
            self._thread.join(timeout=0.05)
        self._store.close()
        if self.cache is not None:
            self.cache.close()

    def __repr__(self) -> str:
        return (
            f"<PackLoader: {self.num_images:,} images, {self.steps_per_epoch:,} steps an epoch of "
            f"{self._start.step_images:,} images, rank {self._rank} of {self._world_size}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reading(self) -> ReadConfig:
        """Two steps of this rank are all that it can use: a window that is read, one that is consumed."""
        reading = self._config.reading
        images = min(2 * self._start.step_images // self._world_size + 1, 2 * len(self._table))
        wanted = int(images * float(self._table.sizes.mean()) * 1.2)
        return replace(reading, read_ahead_bytes=min(reading.read_ahead_bytes, max(wanted, LEAST_READ_AHEAD)))

    def _produce(self) -> None:
        keep_freed_memory()
        workers = self._config.workers or len(os.sched_getaffinity(0))
        jobs = pack_jobs(self._table, self._start, self._config, rank=self._rank, world_size=self._world_size)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="radio-decode")
        try:
            assembler = self._assembler(pool)
            for fetched in self._reader.run((job, job.rows) for job in jobs):
                if not self._put(self._start_pack(assembler, fetched)):
                    return
        except BaseException as error:  # noqa: BLE001 - reaches the consumer, whatever it is
            self._put(error)
        finally:
            pool.shutdown(cancel_futures=self._stop.is_set())

    def _assembler(self, pool: ThreadPoolExecutor) -> Assembler:
        parts = self._table, self._config, self._reader, self._quarantine, pool
        return Assembler(*parts) if self._config.decoder is Decoder.THREADS else DaliAssembler(*parts)

    def _start_pack(self, assembler: Assembler, fetched: Fetched[PackJob]) -> PackInProgress:
        job, encoded = fetched.group, fetched.encoded
        if isinstance(assembler, DaliAssembler) and self._config.decoder is Decoder.DALI_GPU:
            return assembler.start_on_device(job, encoded, torch.device("cuda", torch.cuda.current_device()))
        return assembler.start(job, encoded, self._memory(job.tokens))

    def _put(self, item: PackInProgress | BaseException) -> bool:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

    def _memory(self, tokens: int) -> NDArray[np.uint16]:
        """[tokens, pixels] for a pack's patches, pinned where there is a GPU."""
        pixels = self._config.patch_size**2
        if torch.cuda.is_available():
            return torch.empty((tokens, pixels), dtype=torch.uint16, pin_memory=True).numpy()
        return self._blocks.take(tokens, pixels)

    def _pack(self, item: PackInProgress) -> TensorPack:
        filled, job = item.finish(), item.job
        arrays, patches = filled.arrays, torch.from_numpy(filled.arrays.patches)
        if item.on_device is not None:
            patches = item.on_device.view(torch.uint16)
            if filled.missing:
                patches = without_on_device(item.on_device, job, filled.missing).view(torch.uint16)
        return Pack(
            patches=patches,
            positions=_tensor(arrays.positions),
            grids=_tensor(arrays.grids),
            offsets=_tensor(arrays.offsets),
            scale=_tensor(arrays.scale),
            keys=tuple(self._table.key(row) for row in filled.rows),
            num_images=len(filled.rows),
            epoch=job.plan.state.epoch,
            step=job.plan.state.step,
            pack_index=job.index,
            packs_in_step=job.packs_in_step,
            step_images=len(job.plan.rows),
            step_tokens=job.plan.tokens,
            step_masked=job.plan.masked,
            is_last_of_step=job.index == job.packs_in_step - 1,
            step_dropped=job.plan.dropped,
        )


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if torch.cuda.is_available() else tensor
