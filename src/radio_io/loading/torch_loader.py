"""Packs as torch tensors, made in the background while the trainer works.

Comes in: a dataset folder, an `ImageTable`, a `LoaderConfig`, `OrderState`, rank. Goes out: `Pack`s of tensors, epoch
after epoch. Damaged images are left out, counted and listed; past `max_bad` the run stops with a `TrainingError`.

One thread plans and assembles packs, a few more read and decode (the codecs let go of Python's lock); a bounded queue
holds what is ready. `close` ends them all.
"""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from radio_io.errors import TrainingError
from radio_io.loading.batch import BatchPolicy, LoaderConfig, Pack, ScaleMode
from radio_io.loading.order import OrderState, orders, steps_per_epoch
from radio_io.loading.pack_images import BadImageError, assemble, read_image
from radio_io.loading.packing import PlannedPack, bin_step, pack_step, share_packs
from radio_io.loading.table import ImageTable, Rows

TensorPack = Pack[torch.Tensor]
TYPICAL_LEAST_TOKENS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlan:
    """The packs of a step over all ranks, with the totals that make losses exact."""

    state: OrderState
    rows: Rows
    packs: tuple[PlannedPack, ...]
    tokens: int
    masked: int


def plan_step(
    table: ImageTable, rows: Rows, state: OrderState, config: LoaderConfig, *, max_images: int, world_size: int = 1
) -> StepPlan:
    """How the images of a step are packed; the same on every rank.

    Raises:
        UsageError: An image is larger than the token budget.
    """
    grids = table.grids(config.patch_size)[rows]
    patches = grids[:, 0].astype(np.int64) * grids[:, 1]
    if config.policy is BatchPolicy.BINS:
        packs = bin_step(grids, table.bin_grids(config.patch_size)[rows], config.token_budget)
        for pack in packs:
            if pack.grid is not None:
                patches[pack.images] = pack.grid[0] * pack.grid[1]
    else:
        packs = pack_step(patches + 1, config.token_budget, max_images)
    masked = int((patches - visible_patches(patches, config.mask_ratio)).sum())
    shared = tuple(share_packs(packs, world_size))
    return StepPlan(state=state, rows=rows, packs=shared, tokens=int(patches.sum()) + len(rows), masked=masked)


def visible_patches(patches: Any, mask_ratio: float) -> Any:  # noqa: ANN401 - a number or an array of numbers
    """How many of an image's patches stay visible: `floor(n * (1 - mask_ratio))`, as ViTMAE does.

    Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022.
    """
    visible = np.floor(np.asarray(patches) * (1 - mask_ratio) + 1e-9).astype(np.int64)
    return int(visible) if np.ndim(patches) == 0 else visible


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
    ) -> None:
        self._root, self._table, self._config, self._start = root, table, config, state
        self._rank, self._world_size = rank, world_size
        self.max_images = config.max_images or max(1, config.token_budget // TYPICAL_LEAST_TOKENS)
        self.bad_images: list[BadImageError] = []
        self._queue: queue.Queue[TensorPack | BaseException] = queue.Queue(maxsize=config.prefetch_packs)
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
            yield replace(item, wait_s=time.perf_counter() - began_s)

    def state_after(self, pack: TensorPack) -> OrderState:
        """The state to save once the step of `pack` is done."""
        return self._start.after(pack.epoch, pack.step, len(self._table))

    def close(self) -> None:
        """End all threads. Harmless when repeated."""
        self._stop.set()
        while self._started and self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._queue.get_nowait()
            self._thread.join(timeout=0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _produce(self) -> None:
        workers = self._config.workers or len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(workers, thread_name_prefix="radio-decode") as pool:
            try:
                for state, rows in orders(self._table, self._start, shuffle=self._config.shuffle):
                    plan = plan_step(
                        self._table,
                        rows,
                        state,
                        self._config,
                        max_images=self.max_images,
                        world_size=self._world_size,
                    )
                    for pack in self._packs(plan, pool):
                        if not self._put(pack):
                            return
            except BaseException as error:  # noqa: BLE001 - reaches the consumer, whatever it is
                self._put(error)

    def _put(self, item: TensorPack | BaseException) -> bool:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

    def _packs(self, plan: StepPlan, pool: ThreadPoolExecutor) -> Iterator[TensorPack]:
        own = plan.packs[self._rank :: self._world_size]
        for index, planned in enumerate(own):
            rows = plan.rows[planned.images].tolist()
            images = list(pool.map(self._read, rows, [planned.grid] * len(rows)))
            kept = [(row, image) for row, image in zip(rows, images, strict=True) if image is not None]
            slots = (
                self.max_images
                if planned.grid is None
                else max(1, planned.tokens // (planned.grid[0] * planned.grid[1]))
            )
            arrays = assemble(
                [image for _, image in kept], tokens=planned.tokens, max_images=slots, patch=self._config.patch_size
            )
            yield Pack(
                patches=self._tensor(arrays.patches),
                positions=self._tensor(arrays.positions),
                grids=self._tensor(arrays.grids),
                offsets=self._tensor(arrays.offsets),
                scale=self._tensor(arrays.scale),
                keys=tuple(self._table.key(row) for row, _ in kept),
                num_images=len(kept),
                epoch=plan.state.epoch,
                step=plan.state.step,
                pack_index=index,
                packs_in_step=len(own),
                step_images=len(plan.rows),
                step_tokens=plan.tokens,
                step_masked=plan.masked,
                is_last_of_step=index == len(own) - 1,
            )

    def _read(self, row: int, grid: tuple[int, int] | None) -> Any:  # noqa: ANN401 - see assemble
        try:
            pixels = read_image(self._root, self._table, row)
        except BadImageError as error:
            self.bad_images.append(error)
            if len(self.bad_images) > self._config.max_bad:
                raise TrainingError(
                    f"{len(self.bad_images)} images could not be read, at most {self._config.max_bad} are tolerated; "
                    f"the last: {error}. Run: radio shard verify"
                ) from None
            return None
        patch = self._config.patch_size
        own = grid or (-(-pixels.shape[0] // patch), -(-pixels.shape[1] // patch))
        return pixels, own, self._scale(row)

    def _scale(self, row: int) -> tuple[float, float]:
        if self._config.scale is ScaleMode.BITS:
            return 0.0, float((1 << int(self._table.bits[row])) - 1)
        low, high = float(self._table.low[row]), float(self._table.high[row])
        return (low, high) if high > low else (low, low + 1)

    @staticmethod
    def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if torch.cuda.is_available() else tensor
