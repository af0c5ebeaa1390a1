"""Pre-training: from shards to a masked autoencoder.

Comes in: a `PretrainConfig`, dataset, run folder, selection. Goes out: the run folder (config.json, metrics.jsonl,
checkpoints, reconstructions, summary.json) and a `PretrainSummary`. Refuses a run folder that is in use, and to resume
with another dataset, selection or model; stops at a loss that is not finite.

Losses of packs are shares of their step's loss, so gradients simply add up over the packs of a step.
"""

import dataclasses
import json
import math
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, TrainingError
from radio_io.loading.order import OrderState, steps_per_epoch
from radio_io.loading.table import ImageTable
from radio_io.loading.torch_loader import PackLoader
from radio_train.checkpoint import TrainState, checkpoints, load_checkpoint, save_checkpoint
from radio_train.config import PretrainConfig
from radio_train.model.mae import MaskedAutoencoder
from radio_train.model.masking import mask_pack
from radio_train.optimizer import learning_rate, make_optimizer
from radio_train.reconstruct import reconstruction_sheet
from radio_train.run_folder import QUARANTINE_NAME, Selection, load_table, loader_config, prepare_run
from radio_train.run_log import RunLog, StepMetrics

VALIDATION_SEED = 0x7A11


@dataclass(kw_only=True, slots=True)
class PretrainSummary:
    """What came of a run."""

    run: str
    steps: int
    epochs: float
    images: int
    first_loss: float | None
    last_loss: float | None
    validation_loss: float | None
    images_per_s: float
    data_wait: float
    bad_images: int
    elapsed_s: float
    stopped_early: bool


@dataclass(kw_only=True, slots=True)
class _Totals:
    """Sums over one step."""

    loss: float = 0.0
    images: int = 0
    wait_s: float = 0.0
    started_s: float = field(default_factory=time.perf_counter)


def run_pretrain(
    config: PretrainConfig,
    dataset: Path,
    run: Path,
    *,
    selection: Selection | None = None,
    resume: bool = False,
    report: Callable[[StepMetrics], None] = lambda metrics: None,
) -> PretrainSummary:
    """Train until the epochs or `run.max_steps` are over, or a signal asks to stop.

    Raises:
        TrainingError, DatasetError, ConfigError: See the module.
    """
    chosen = selection or Selection()
    facts = read_dataset_file(dataset)
    table = load_table(config, dataset, "train", chosen)
    prepare_run(config, run, dataset, chosen, resume=resume)
    torch.manual_seed(config.run.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = MaskedAutoencoder(config.model).to(device)
    optimizer = make_optimizer(model, config.optimizer)
    start = TrainState(
        global_step=0,
        order=OrderState(seed=config.run.seed, step_images=config.data.step_images),
        dataset_id=facts.dataset_id,
        selection=table.digest(),
    )
    if resume:
        start = _resume(run, model, optimizer, start)
    trainer = _Trainer(config, dataset, run, table, chosen, model, optimizer, device, report)
    return trainer.train(start)


def _resume(run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, fresh: TrainState) -> TrainState:
    state = load_checkpoint(checkpoints(run)[-1], model, optimizer)
    for name, found, wanted in (
        ("dataset", state.dataset_id, fresh.dataset_id),
        ("selected images", state.selection, fresh.selection),
        ("seed", state.order.seed, fresh.order.seed),
    ):
        if found != wanted:
            raise TrainingError(f"cannot resume: {name} was {found} in the checkpoint, is {wanted} now")
    return state


class _Trainer:
    """The loop, in the order of time."""

    def __init__(
        self,
        config: PretrainConfig,
        dataset: Path,
        run: Path,
        table: ImageTable,
        selection: Selection,
        model: MaskedAutoencoder,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        report: Callable[[StepMetrics], None],
    ) -> None:
        self.config, self.dataset, self.run, self.table, self.selection = config, dataset, run, table, selection
        self.model, self.optimizer, self.device, self.report = model, optimizer, device, report
        self.forward = torch.compile(model, fullgraph=True, dynamic=False) if config.run.compile else model
        self.steps_an_epoch = steps_per_epoch(len(table), config.data.step_images)
        self.total_steps = config.run.max_steps or config.run.epochs * self.steps_an_epoch
        self.stop_requested = False

    def train(self, state: TrainState) -> PretrainSummary:
        """All steps from `state` on."""
        started_s = time.perf_counter()
        log = RunLog(self.run, first_step=state.global_step)
        restore = self._catch_signals()
        validation: float | None = None
        loading = loader_config(self.config, quarantine=self.run / QUARANTINE_NAME)
        loader = PackLoader(self.dataset, self.table, loading, state.order)
        totals = _Totals()
        step = state.global_step
        try:
            for pack in loader:
                if step >= self.total_steps:
                    break
                totals.loss += self._backward(pack.epoch, pack, totals)
                if not pack.is_last_of_step:
                    continue
                rate, norm = self._update(step, totals.loss, pack.epoch, pack.step)
                metrics = self._metrics(step, pack, totals, rate, norm)
                log.write(metrics)
                self.report(metrics)
                step += 1
                state = dataclasses.replace(state, global_step=step, order=loader.state_after(pack))
                if state.order.epoch != pack.epoch:
                    validation = self._end_epoch(log, pack.epoch)
                done = self.stop_requested or step >= self.total_steps
                if done or step % self.config.run.save_every_steps == 0:
                    self._save(state)
                if done:
                    break
                totals = _Totals()  # here, so that a step does not count validation and saving
        finally:
            loader.close()
            restore()
            log.close()
        if validation is None:
            validation = self.validation_loss()
        return self._summary(log, state, validation, len(loader.bad_images), time.perf_counter() - started_s)

    def _backward(self, epoch: int, pack: Any, totals: _Totals) -> float:  # noqa: ANN401 - a pack of tensors
        totals.wait_s += pack.wait_s
        totals.images += pack.num_images
        if not pack.num_images:
            return 0.0
        masked = mask_pack(pack, self.config.model, seed=self.config.run.seed, epoch=epoch).to(self.device)
        with self._autocast():
            loss = self.forward(masked)
        loss.backward()
        return float(loss.detach())

    def _update(self, step: int, loss: float, epoch: int, epoch_step: int) -> tuple[float, float]:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of step {step} is {loss}; look at its images with: radio replay {self.run} --step {step} "
                f"(epoch {epoch}, step {epoch_step} in it); a lower optimizer.base_rate or run.precision=fp32 may help"
            )
        optimizer = self.config.optimizer
        warmup = min(round(self.config.run.warmup_epochs * self.steps_an_epoch), self.total_steps)
        rate = learning_rate(step, warmup_steps=warmup, total_steps=self.total_steps, config=optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        bound = optimizer.clip_norm if optimizer.clip_norm > 0 else math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), bound)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return rate, float(norm)

    def _metrics(self, step: int, pack: Any, totals: _Totals, rate: float, norm: float) -> StepMetrics:  # noqa: ANN401
        seconds = time.perf_counter() - totals.started_s
        return StepMetrics(
            step=step,
            epoch=pack.epoch,
            epoch_step=pack.step,
            total_steps=self.total_steps,
            loss=totals.loss,
            lr=rate,
            grad_norm=norm,
            images=totals.images,
            tokens=pack.step_tokens,
            seconds=seconds,
            images_per_s=totals.images / seconds,
            tokens_per_s=pack.step_tokens / seconds,
            data_wait=min(1.0, totals.wait_s / seconds),
        )

    def _end_epoch(self, log: RunLog, epoch: int) -> float | None:
        loss = self.validation_loss()
        if loss is not None:
            log.write_validation(epoch, loss)
        sheet = self.run / "reconstructions" / f"epoch-{epoch:04}.png"
        reconstruction_sheet(self.model, self.config, self.dataset, self.selection, sheet, images=4)
        return loss

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        """Mean loss over validation images under masks that never change; None where there is no such image."""
        try:
            table = load_table(self.config, self.dataset, "val", self.selection)
        except DatasetError:
            return None
        images = min(len(table), self.config.run.validation_images)
        order = OrderState(seed=0, step_images=images)
        total = 0.0
        self.model.eval()
        with PackLoader(self.dataset, table, loader_config(self.config, shuffle=False), order) as loader:
            for pack in loader:
                masked = mask_pack(pack, self.config.model, seed=VALIDATION_SEED, epoch=0).to(self.device)
                with self._autocast():
                    total += float(self.model(masked)) if pack.num_images else 0.0
                if pack.is_last_of_step:
                    break
        self.model.train()
        return total

    def _autocast(self) -> torch.autocast:
        enabled = self.config.run.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _save(self, state: TrainState) -> None:
        save_checkpoint(self.run, self.model, self.optimizer, state, keep=self.config.run.keep_checkpoints)

    def _catch_signals(self) -> Callable[[], None]:
        """SIGTERM, SIGINT and SIGUSR1 (preemption under SLURM) end the run after the step, with a checkpoint."""

        def request(number: int, frame: FrameType | None) -> None:
            del number, frame
            self.stop_requested = True

        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        try:
            previous = {number: signal.signal(number, request) for number in signals}
        except ValueError:  # not the main thread
            return lambda: None

        def restore() -> None:
            for number, handler in previous.items():
                signal.signal(number, handler)

        return restore

    def _summary(
        self, log: RunLog, state: TrainState, validation: float | None, bad_images: int, elapsed_s: float
    ) -> PretrainSummary:
        summary = PretrainSummary(
            run=str(self.run),
            steps=state.global_step,
            epochs=state.global_step / self.steps_an_epoch,
            images=log.images,
            first_loss=log.first_loss,
            last_loss=log.last_loss,
            validation_loss=validation,
            images_per_s=log.images / log.seconds if log.seconds else 0.0,
            data_wait=log.wait_s / log.seconds if log.seconds else 0.0,
            bad_images=bad_images,
            elapsed_s=elapsed_s,
            stopped_early=state.global_step < self.total_steps,
        )
        text = json.dumps(asdict(summary), indent=2) + "\n"
        (self.run / "summary.json").write_text(text, encoding="utf-8")
        return summary
