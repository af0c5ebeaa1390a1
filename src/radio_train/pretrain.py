"""Pre-training: from shards to a masked autoencoder.

Comes in: a `PretrainConfig`, dataset, run folder, selection; the ranks that `torchrun` started. Goes out: the run
folder (config.json, metrics.jsonl, checkpoints, reconstructions, tensorboard, summary.json) and a `PretrainSummary`.
Refuses a run folder that is in use, and to resume with another dataset, selection or model.
"""

import json
import os
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from radio_io import atomic
from radio_io.dataset_file import read_dataset_file
from radio_io.loading.order import OrderState
from radio_io.progress import Progress
from radio_train.background import prepare_background
from radio_train.checkpoint import TrainState, checkpoints, load_checkpoint, read_tensors
from radio_train.config import PretrainConfig
from radio_train.distributed import Ranks, joined_ranks
from radio_train.ema import AveragedWeights
from radio_train.import_weights import initialize, load_weights
from radio_train.model.mae import MaskedAutoencoder
from radio_train.optimizer import make_optimizer
from radio_train.reconstruct import reconstruction_sheet
from radio_train.resume import order_to_resume, require_same
from radio_train.run_folder import Selection, load_table, prepare_run
from radio_train.run_log import RunLog, RunSums, StepMetrics, dropped_share
from radio_train.sharded import is_sharded, shard_model
from radio_train.tensorboard import EventFile
from radio_train.trainer import Outcome, Trainer, TrainJob
from radio_train.watch import WaitAdvisor, Watch

SHEET_IMAGES = 4


@dataclass(kw_only=True, slots=True)
class PretrainSummary:
    """What came of a run; `dropped` is the share of tokens that dropping background saved."""

    run: str
    steps: int
    epochs: float
    images: int
    first_loss: float | None
    last_loss: float | None
    validation_loss: float | None
    images_per_s: float
    data_wait: float
    mfu: float
    dropped: float
    ranks: int
    bad_images: int
    elapsed_s: float
    stopped_early: bool


def run_pretrain(
    config: PretrainConfig,
    dataset: Path,
    run: Path,
    *,
    selection: Selection | None = None,
    resume: bool = False,
    allow: Collection[str] = (),
    init: Path | None = None,
    report: Callable[[StepMetrics], None] = lambda metrics: None,
    note: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> PretrainSummary:
    """Train until the epochs or `run.max_steps` are over, or a signal asks to stop.

    Args:
        config: All settings.
        dataset: The dataset's folder.
        run: The run's folder.
        selection: Which images; None takes all.
        resume: Go on from the last checkpoint; where there is none yet, begin.
        allow: Kinds of differences to the checkpoint that are accepted (see `radio_train.resume`).
        init: Weights to begin with: a run, an export, a file.
        report: Gets the metrics of each step.
        note: Gets remarks.
        progress: Shows how background is counted, at the first use of `data.drop_background`.

    Returns:
        The summary; losses and rates are those of the log, which the first rank alone has.

    Raises:
        TrainingError, DatasetError, ConfigError: See the module.
    """
    chosen = selection or Selection()
    facts = read_dataset_file(dataset)
    with joined_ranks() as ranks:
        table = load_table(config, dataset, "train", chosen)
        start = TrainState(
            global_step=0,
            order=OrderState(seed=config.run.seed, step_images=config.data.step_images),
            dataset_id=facts.dataset_id,
            dataset_format=facts.format_version,
            selection=table.digest(),
            config=asdict(config),
        )
        going_on = checkpoints(run)[-1] if resume and checkpoints(run) else None
        if going_on is not None:  # before anything in the folder changes
            start = order_to_resume(require_same(going_on, start, allow), start, len(table))
        table = prepare_background(config, dataset, chosen, table, ranks, progress=progress, note=note)
        if ranks.is_first:
            prepare_run(config, run, dataset, chosen, resume=resume)
        ranks.wait()
        torch.manual_seed(config.run.seed)
        model = MaskedAutoencoder(config.model)
        if init is not None and going_on is None:
            note(_imported(init, model))
        model = model.to(ranks.device)
        ranks.copy_from_first(model.state_dict().values())
        if is_sharded(config, ranks):
            shard_model(model, ranks)
        optimizer = make_optimizer(model, config.optimizer)
        averages = AveragedWeights(model, config.run.ema) if config.run.ema else None
        if going_on is not None:
            load_checkpoint(going_on, model, optimizer)
            if averages is not None:
                averages.load(read_tensors(going_on))
        watch = _watch(ranks, config, dataset, run, chosen, start, report, note)
        job = TrainJob(
            config=config,
            dataset=dataset,
            run=run,
            selection=chosen,
            table=table,
            ranks=ranks,
            model=model,
            optimizer=optimizer,
            averages=averages,
            watch=watch,
        )
        trainer = Trainer(job)
        try:
            outcome = trainer.train(start)
        finally:
            watch.close()
        summary = _summary(run, watch.log, trainer, outcome)
        if ranks.is_first:
            atomic.write_file(run / "summary.json", (json.dumps(asdict(summary), indent=2) + "\n").encode())
        return summary


def _imported(init: Path, model: MaskedAutoencoder) -> str:
    report = initialize(model, load_weights(init))
    adapted = f", adapted: {', '.join(report.adapted)}" if report.adapted else ""
    fresh = f", new: {len(report.untouched)}" if report.untouched else ""
    return f"began with {len(report.loaded)} tensors of {init}{adapted}{fresh}"


def _watch(
    ranks: Ranks,
    config: PretrainConfig,
    dataset: Path,
    run: Path,
    selection: Selection,
    start: TrainState,
    report: Callable[[StepMetrics], None],
    note: Callable[[str], None],
) -> Watch:
    if not ranks.is_first:
        return Watch()

    def write_sheet(path: Path, model: MaskedAutoencoder) -> None:
        reconstruction_sheet(model, config, dataset, selection, path, images=SHEET_IMAGES)

    return Watch(
        log=RunLog(run, first_step=start.global_step, first_epoch=start.order.epoch),
        events=EventFile(run / "tensorboard", first_step=start.global_step),
        write_sheet=write_sheet,
        sheets=run / "reconstructions",
        report=report,
        note=note,
        advisor=WaitAdvisor(config.data.workers or len(os.sched_getaffinity(0))),
    )


def _summary(run: Path, log: RunLog | None, trainer: Trainer, outcome: Outcome) -> PretrainSummary:
    steps = outcome.state.global_step
    sums = log.sums if log is not None else RunSums()
    seconds = sums.seconds or 1.0
    return PretrainSummary(
        run=str(run),
        steps=steps,
        epochs=steps / trainer.steps_an_epoch,
        images=sums.images,
        first_loss=sums.first_loss,
        last_loss=sums.last_loss,
        validation_loss=outcome.validation_loss,
        images_per_s=sums.images / seconds,
        data_wait=sums.wait_s / seconds,
        mfu=sums.busy_s / seconds,
        dropped=dropped_share(sums.tokens, sums.dropped),
        ranks=trainer.ranks.world_size,
        bad_images=outcome.bad_images,
        elapsed_s=outcome.elapsed_s,
        stopped_early=steps < trainer.total_steps,
    )
