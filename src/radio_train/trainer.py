"""The training loop, in the order of time.

Comes in: a `TrainJob` (what to train on what, with which ranks) and a state to go on from. Goes out: checkpoints,
metrics, sheets in the run folder, and the state at the end. Stops at a loss that is not finite.

Losses of packs are shares of their step's loss, so gradients simply add up over the packs of a step and over the ranks.
Where damaged images were left out, the sum is scaled to what the mean over the others would be.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from radio_io.errors import TrainingError
from radio_io.loading.batch import BatchPolicy
from radio_io.loading.order import steps_per_epoch
from radio_io.loading.table import ImageTable
from radio_io.loading.torch_loader import PackLoader, TensorPack
from radio_train.checkpoint import CheckpointWriter, TrainState, lowest_validation_loss, training_tensors
from radio_train.compilation import CompiledModel
from radio_train.config import PretrainConfig
from radio_train.device_speed import peak_flops
from radio_train.distributed import GradientBuffer, Ranks, whole_tensors
from radio_train.ema import AveragedWeights
from radio_train.model.flops import pretraining_flops
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack, patch_counts
from radio_train.optimizer import learning_rate
from radio_train.precision import autocast, on_device
from radio_train.run_folder import QUARANTINE_NAME, Selection, loader_config
from radio_train.run_log import StepMetrics
from radio_train.sharded import ShardedGradients, is_sharded, whole_copy
from radio_train.stop_signals import StopSignals
from radio_train.validation import loss_units, loss_units_of_step, validation_loss
from radio_train.watch import Watch

DIGEST_MODULUS = 1 << 53
"""Sums of keys stay exact in float64 below it."""


@dataclass(kw_only=True, slots=True)
class TrainJob:
    """What is trained, on what, and who watches."""

    config: PretrainConfig
    dataset: Path
    run: Path
    selection: Selection
    table: ImageTable
    ranks: Ranks
    model: MaskedAutoencoder
    optimizer: torch.optim.Optimizer
    averages: AveragedWeights | None
    watch: Watch


@dataclass(kw_only=True, slots=True)
class _Sums:
    """What one rank adds up over a step; the loss stays on the device, so that nothing waits for it."""

    loss: Tensor
    started_s: float
    images: int = 0
    units: int = 0
    flops: int = 0
    keys: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Where training ended."""

    state: TrainState
    validation_loss: float | None
    bad_images: int
    elapsed_s: float


class Trainer:
    """All steps of a run from a state on."""

    def __init__(self, job: TrainJob) -> None:
        self.job, self.config, self.ranks, self.model = job, job.config, job.ranks, job.model
        self.device = job.ranks.device
        policy = BatchPolicy(self.config.data.policy)
        self.forward: Callable[..., Tensor] = self.model
        if self.config.run.compile:
            self.forward = CompiledModel(self.model, policy, self.device, small_packs=self.config.data.small_packs)
        self.sharded = is_sharded(self.config, self.ranks)
        self.gradients = (ShardedGradients if self.sharded else GradientBuffer)(self.model, self.ranks)
        self.steps_an_epoch = steps_per_epoch(len(job.table), self.config.data.step_images)
        self.total_steps = self.config.run.max_steps or self.config.run.epochs * self.steps_an_epoch
        self.longest = longest_image(job.table, self.config)
        self.peak_flops = peak_flops(self.device, self.config.run.precision) * self.ranks.world_size
        self.writer = CheckpointWriter(job.run, keep=self.config.run.keep_checkpoints)
        self._working: torch.cuda.Event | None = None

    def train(self, state: TrainState) -> Outcome:
        """Train until the steps are over or a signal asks to stop."""
        job, started_s = self.job, time.perf_counter()
        loader = PackLoader(
            job.dataset,
            job.table,
            loader_config(self.config, quarantine=job.run / QUARANTINE_NAME),
            state.order,
            rank=self.ranks.rank,
            world_size=self.ranks.world_size,
        )
        try:
            with StopSignals() as signals, loader:
                state, validation = self._steps(loader, state, signals)
        finally:
            self.writer.wait()
        if validation is None:
            validation = self._validate()
        bad_images = int(self.ranks.total([len(loader.bad_images)])[0])
        elapsed_s = time.perf_counter() - started_s
        return Outcome(state=state, validation_loss=validation, bad_images=bad_images, elapsed_s=elapsed_s)

    def _steps(self, loader: PackLoader, state: TrainState, signals: StopSignals) -> tuple[TrainState, float | None]:
        validation: float | None = None
        if state.global_step >= self.total_steps:
            return state, validation
        sums = self._new_sums()
        for pack in loader:
            self._backward(pack, sums)
            if not pack.is_last_of_step:
                continue
            metrics, stop = self._end_step(state.global_step, pack, sums, signals.requested)
            self.job.watch.step(metrics)
            order = loader.state_after(pack)
            state = dataclasses.replace(
                state, global_step=state.global_step + 1, order=order, validation_loss=None, ranks=self.ranks.world_size
            )
            done = stop or state.global_step >= self.total_steps
            best = False
            if order.epoch != pack.epoch:
                validation = self._validate()
                self._require_finite(validation or 0.0, "validation loss after the update", metrics.step, pack)
                state = dataclasses.replace(state, validation_loss=validation)
                best = self._end_epoch(pack.epoch, validation)
            if done or best or state.global_step % self.config.run.save_every_steps == 0:
                self._save(state)
            if done:
                break
            sums = self._new_sums()  # here, so that a step does not count validation and saving
        return state, validation

    def _new_sums(self) -> _Sums:
        return _Sums(loss=torch.zeros((), dtype=torch.float64, device=self.device), started_s=time.perf_counter())

    def _backward(self, pack: TensorPack, sums: _Sums) -> None:
        sums.wait_s += self._wait_s(pack)
        if not pack.num_images and not self.sharded:  # only keeps the ranks in step; sharded ones meet in the model
            return
        masked = mask_pack(
            on_device(pack, self.device),
            self.config.model,
            seed=self.config.run.seed,
            epoch=pack.epoch,
            longest=self.longest,
            trim=self.device.type == "cpu" and not self.config.run.compile,  # elsewhere memory likes equal shapes
        )
        with autocast(self.config, self.device):
            loss = self.forward(masked)
        loss.backward()
        sums.loss += loss.detach()
        sums.images += pack.num_images
        sums.units += loss_units(pack, self.config)
        sums.keys = (sums.keys + sum(int(key[:12], 16) for key in pack.keys)) % DIGEST_MODULUS
        sums.flops += sum(pretraining_flops(self.config.model, patches) for patches in patch_counts(pack))
        if self.device.type == "cuda":
            self._working = torch.cuda.Event()
            self._working.record()

    def _wait_s(self, pack: TensorPack) -> float:
        """How long the device had nothing to do: on CUDA not while it still works on the pack before."""
        if self._working is not None and not self._working.query():
            self._working.synchronize()  # one pack ahead of the device is enough; this is no wait for data
            return 0.0
        return pack.wait_s

    def _end_step(self, step: int, pack: TensorPack, sums: _Sums, stop: bool) -> tuple[StepMetrics, bool]:
        """Exchange sums and gradients, and update; all ranks get the same metrics, and whether any is to stop."""
        values = [float(sums.loss), sums.images, sums.units, sums.flops, sums.wait_s, stop]
        loss, images, units, flops, wait_s, stops = self.ranks.total(values)
        keys = sum(int(row[0]) for row in self.ranks.gather([sums.keys])) % DIGEST_MODULUS
        factor = loss_units_of_step(pack, self.config) / units if units else 1.0
        loss *= factor
        self._require_finite(loss, "loss", step, pack)
        self.gradients.reduce(factor)
        norm = self.gradients.clip(self.config.optimizer.clip_norm)
        self._require_finite(norm, "gradient's norm", step, pack)  # before it reaches the weights and a checkpoint
        rate = self._update(step)
        seconds = time.perf_counter() - sums.started_s
        metrics = StepMetrics(
            step=step,
            epoch=pack.epoch,
            epoch_step=pack.step,
            total_steps=self.total_steps,
            loss=loss,
            lr=rate,
            grad_norm=norm,
            images=int(images),
            tokens=pack.step_tokens,
            dropped=pack.step_dropped,
            seconds=seconds,
            images_per_s=images / seconds,
            tokens_per_s=pack.step_tokens / seconds,
            data_wait=min(1.0, wait_s / self.ranks.world_size / seconds),
            mfu=flops / seconds / self.peak_flops,
            ranks=self.ranks.world_size,
            images_digest=f"{keys:014x}",
        )
        return metrics, stops > 0

    def _require_finite(self, value: float, name: str, step: int, pack: TensorPack) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"the {name} of step {step} is {value}; look at its images with: radio replay {self.job.run} --step "
                f"{step} (epoch {pack.epoch}, step {pack.step} in it); a lower optimizer.base_rate or "
                "run.precision=fp32 may help"
            )

    def _update(self, step: int) -> float:
        optimizer = self.config.optimizer
        warmup = min(round(self.config.run.warmup_epochs * self.steps_an_epoch), self.total_steps)
        rate = learning_rate(step, warmup_steps=warmup, total_steps=self.total_steps, config=optimizer)
        for group in self.job.optimizer.param_groups:
            group["lr"] = rate
        self.job.optimizer.step()
        self.gradients.clear()
        if self.job.averages is not None:
            self.job.averages.update(step)
        return rate

    def _validate(self) -> float | None:
        job = self.job
        with self._averaged():
            return validation_loss(self.model, self.config, job.dataset, job.selection, self.ranks)

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        """The model with its averaged weights, where there are some."""
        return self.job.averages.in_place() if self.job.averages is not None else contextlib.nullcontext()

    def _end_epoch(self, epoch: int, validation: float | None) -> bool:
        """Show the epoch, and say whether its validation loss is the best so far (the same on all ranks)."""
        best = False
        with self._averaged():
            shown = whole_copy(self.model, self.ranks) if self.sharded else self.model
            if self.ranks.is_first and shown is not None:
                self.job.watch.epoch(epoch, validation, shown)
        if self.ranks.is_first:
            self.writer.wait()
            before = lowest_validation_loss(self.job.run)
            best = validation is not None and (before is None or validation < before)
        return self.ranks.total([best])[0] > 0

    def _save(self, state: TrainState) -> None:
        tensors = training_tensors(self.model, self.job.optimizer)
        if self.job.averages is not None:
            tensors |= self.job.averages.tensors()
        tensors = whole_tensors(tensors, keep=self.ranks.is_first)
        if self.ranks.is_first:
            self.writer.save(state, tensors)


def longest_image(table: ImageTable, config: PretrainConfig) -> int:
    """The tokens of the largest image, its CLS token included: a constant of the compiled graph.

    In bins that of the largest bin.
    """
    patch = config.model.patch_size
    every = np.arange(len(table))
    if config.data.policy == BatchPolicy.BINS:
        return int(table.bin_grids_of(every, patch).astype(np.int64).prod(axis=1).max()) + 1
    return int(table.patches_of(every, patch).max()) + 1
