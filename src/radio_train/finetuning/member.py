"""One training: a task, an encoder, a share of the labels, a seed.

Comes in: a `FinetuneConfig`, a `PreparedTask`, a `Member`. Goes out: the member's folder (see `member_files`) with
`predictions.parquet` of the validation and test images. A killed training goes on after its last finished epoch and
ends with the same numbers. Refuses a folder of other settings; stops at a loss that is not finite.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.errors import TrainingError
from radio_io.loading.order import OrderState
from radio_train.augment.pipeline import augment
from radio_train.config import OptimizerConfig
from radio_train.evaluation.metrics import balanced_accuracy, measure
from radio_train.evaluation.outcomes import Numbers, Outcomes
from radio_train.evaluation.predictions import Predictions, write_predictions
from radio_train.finetuning import member_files as files
from radio_train.finetuning.classifier import ImageSource, logits_of, predict_logits
from radio_train.finetuning.config import FinetuneConfig, Mode
from radio_train.finetuning.encoders import make_encoder, weights_digest
from radio_train.finetuning.linear import VectorStore, predict_linear, train_linear
from radio_train.finetuning.member_files import ClassifierFacts, EpochMetrics, Progress
from radio_train.finetuning.objective import balancing_weights, image_losses, output_count, probabilities
from radio_train.finetuning.splits import TEST, VAL, label_subset
from radio_train.finetuning.tasks import Task
from radio_train.model.heads import Classifier
from radio_train.optimizer import learning_rate

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedTask:
    """A task with the split of each image."""

    dataset: Path
    task: Task
    splits: NDArray[np.str_]

    def keys(self, chosen: NDArray[np.bool_]) -> tuple[str, ...]:
        """The keys of some images."""
        return tuple(self.task.keys[row] for row in np.flatnonzero(chosen))


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One training of a run: its folder, share of the labels, seed and rate."""

    folder: Path
    fraction: float
    seed: int
    rate: float


Report = Callable[[Member, EpochMetrics], None]


def train_member(
    config: FinetuneConfig, prepared: PreparedTask, member: Member, report: Report, store: VectorStore | None = None
) -> dict[str, Any]:
    """Train, or go on, or take the finished result; returns what `result.json` says.

    A probe takes vectors from the store, which others may have filled.

    Raises:
        TrainingError: See the module.
    """
    identity = _identity(config, prepared, member)
    finished = files.read_result(member.folder)
    if finished is not None:
        if finished["identity"] != identity:
            raise TrainingError(
                f"{member.folder} holds a training with other settings, weights or images; name another with --run"
            )
        return finished
    atomic.make_folder(member.folder)
    atomic.remove_leftovers(member.folder)
    training = _Training(config, prepared, member, identity, report)
    vectors = store or VectorStore()
    progress = training.probe(vectors) if config.mode is Mode.PROBE else training.run()
    return training.finish(progress, vectors)


class _Training:
    """The loop of one member, in the order of time."""

    def __init__(
        self, config: FinetuneConfig, prepared: PreparedTask, member: Member, identity: str, report: Report
    ) -> None:
        self.config, self.prepared, self.member, self.identity, self.report = config, prepared, member, identity, report
        self.task, self.training = prepared.task, config.training
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        encoder, sizes = make_encoder(config.init, config.preset, member.seed)
        frozen = config.mode is not Mode.FULL
        outputs = output_count(self.task)
        self.model = Classifier(encoder, sizes.hidden_size, outputs, pooling=config.pooling, frozen=frozen).to(device)
        self.source = ImageSource(dataset=prepared.dataset, sizes=sizes, training=self.training, device=device)
        self.row = {key: row for row, key in enumerate(self.task.keys)}
        self.used = label_subset(self.task, prepared.splits, member.fraction, member.seed)
        self.train_table = self.source.table(prepared.keys(self.used))
        self.val_table = self.source.table(prepared.keys(prepared.splits == VAL))
        classes = len(self.task.classes)
        weights = torch.ones(classes)
        if self.training.class_weights:
            weights = balancing_weights(self.task.targets[self.used], classes, self.task.kind)
        self.weights = weights.to(device)
        trained = [p for name, p in self.model.named_parameters() if p.requires_grad and not self._is_frozen(name)]
        self.trained = trained
        betas = (self.training.beta1, self.training.beta2)
        self.optimizer = torch.optim.AdamW(
            trained, lr=member.rate, betas=betas, weight_decay=self.training.weight_decay
        )

    def run(self) -> Progress:
        """All epochs from the last finished one on, until nothing gets better."""
        progress = files.load_last(self.member.folder, self.model, self.optimizer, self.identity)
        epoch = len(progress.epochs)
        if self._is_over(progress):
            return progress
        state = OrderState(seed=self.member.seed, epoch=epoch, step_images=self.training.step_images)
        loss, images = self._begin_epoch(epoch)
        for each in self.source.passes(self.train_table, state, shuffle=True):
            loss += self._backward(each.images, each.keys, each.epoch, each.step_images)
            images += len(each.images)
            if each.ends_step:
                self._update(each.epoch)
            if not each.ends_epoch:
                continue
            progress = self._end_epoch(progress, each.epoch, loss / max(1, images))
            if self._is_over(progress):
                break
            loss, images = self._begin_epoch(each.epoch + 1)
        return progress

    def probe(self, store: VectorStore) -> Progress:
        """The linear layer by logistic regression on vectors computed once."""
        keys = self.prepared.keys(self.used), self.prepared.keys(self.prepared.splits == VAL)
        best = train_linear(self.model, self.source, self.task, store, *keys)
        epoch = EpochMetrics(epoch=0, rate=0.0, loss=0.0, validation_loss=0.0, balanced_accuracy=best)
        self.report(self.member, epoch)
        files.save_classifier(self.member.folder, self.model, self._facts())
        return Progress(epochs=(epoch,), best=epoch, last_gain=0)

    def finish(self, progress: Progress, store: VectorStore) -> dict[str, Any]:
        """Predictions of the best weights, and the result."""
        model, _ = files.load_classifier(self.member.folder)
        model.to(self.source.device)
        held_out = self.prepared.keys(np.isin(self.prepared.splits, (VAL, TEST)))
        if self.config.mode is Mode.PROBE:
            found = predict_linear(model, self.source, store, held_out)
        else:
            found = predict_logits(model, self.source, self.source.table(held_out))
        predictions = predictions_of(self.prepared, found)
        write_predictions(self.member.folder / PREDICTIONS, predictions)
        test = measure(predictions.of_split(TEST).outcomes)
        assert progress.best is not None
        result = {
            "identity": self.identity,
            "fraction": self.member.fraction,
            "seed": self.member.seed,
            "rate": self.member.rate,
            "training_images": int(self.used.sum()),
            "epochs": len(progress.epochs),
            "best_epoch": progress.best.epoch,
            "validation_balanced_accuracy": progress.best.balanced_accuracy,
            "test": {name: _json_number(float(values[0])) for name, values in test.items()},
        }
        files.write_result(self.member.folder, result)
        (self.member.folder / files.LAST).unlink(missing_ok=True)
        return result

    def _begin_epoch(self, epoch: int) -> tuple[float, int]:
        self.model.train()
        optimizer = OptimizerConfig(base_rate=self.member.rate, min_rate=self.training.min_rate)
        warmup = min(self.training.warmup_epochs, self.training.epochs)
        rate = learning_rate(epoch, warmup_steps=warmup, total_steps=self.training.epochs, config=optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return 0.0, 0

    def _backward(self, images: list[torch.Tensor], keys: tuple[str, ...], epoch: int, step_images: int) -> float:
        """The sum of the images' losses; the gradient is their share of the step's mean."""
        if not images:
            return 0.0
        changed = [
            augment(image, self.config.augment, key, seed=self.member.seed, epoch=epoch)
            for image, key in zip(images, keys, strict=True)
        ]
        with self.source.autocast():
            logits = logits_of(self.model, changed, self.source.sizes)
        targets = torch.from_numpy(self.task.targets[[self.row[key] for key in keys]]).to(logits.device)
        losses = image_losses(logits, targets, self.task.kind, self.weights)
        (losses.sum() / step_images).backward()
        total = float(losses.detach().sum())
        if not math.isfinite(total):
            raise TrainingError(f"the loss of epoch {epoch} is {total}; a lower training.base_rate may help")
        return total

    def _update(self, epoch: int) -> None:
        del epoch
        if self.training.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(self.trained, self.training.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _end_epoch(self, progress: Progress, epoch: int, loss: float) -> Progress:
        """Validate, keep the best weights, save."""
        self.model.eval()
        predictions = predictions_of(self.prepared, predict_logits(self.model, self.source, self.val_table))
        outcomes = predictions.outcomes
        now = EpochMetrics(
            epoch=epoch,
            rate=self.optimizer.param_groups[0]["lr"],
            loss=loss,
            validation_loss=_log_loss(outcomes),
            balanced_accuracy=balanced_accuracy(outcomes),
        )
        best, last_gain = progress.best, progress.last_gain
        if best is None or now.balanced_accuracy > best.balanced_accuracy:
            last_gain = epoch
        # Equal accuracies are frequent with few validation images: the smaller loss then decides which weights stay.
        if best is None or _rank(now) > _rank(best):
            best = now
            files.save_classifier(self.member.folder, self.model, self._facts())
        progress = Progress(epochs=(*progress.epochs, now), best=best, last_gain=last_gain)
        files.save_last(self.member.folder, self.model, self.optimizer, progress, self.identity)
        self.report(self.member, now)
        return progress

    def _is_over(self, progress: Progress) -> bool:
        done = len(progress.epochs)
        since = done - 1 - max(progress.last_gain, min(self.training.warmup_epochs, self.training.epochs) - 1)
        return done >= self.training.epochs or since >= self.training.patience

    def _is_frozen(self, name: str) -> bool:
        return self.model.frozen and name.startswith("vit.")

    def _facts(self) -> ClassifierFacts:
        return ClassifierFacts(
            task=self.task.name,
            kind=self.task.kind,
            classes=self.task.classes,
            sizes=self.source.sizes,
            pooling=self.config.pooling,
            outputs=output_count(self.task),
            resolution=self.training.resolution,
            scale=self.training.scale,
        )


def predictions_of(prepared: PreparedTask, logits: dict[str, Numbers]) -> Predictions:
    """Logits by key as predictions, in the order of the task."""
    task = prepared.task
    rows = [row for row, key in enumerate(task.keys) if key in logits]
    stacked = torch.from_numpy(np.stack([logits[task.keys[row]] for row in rows]))
    scores = probabilities(stacked, task.kind).clamp(0, 1).numpy()
    outcomes = Outcomes(kind=task.kind, classes=task.classes, truth=task.targets[rows], scores=scores)
    return Predictions(
        task=task.name,
        keys=tuple(task.keys[row] for row in rows),
        patients=tuple(task.patients[row] for row in rows),
        splits=tuple(str(prepared.splits[row]) for row in rows),
        outcomes=outcomes,
    )


def _rank(metrics: EpochMetrics) -> tuple[float, float]:
    return metrics.balanced_accuracy, -metrics.validation_loss


def _log_loss(outcomes: Outcomes) -> float:
    scores = np.clip(outcomes.scores, 1e-12, 1)
    if outcomes.truth.ndim == 2:
        return float(-np.where(outcomes.truth == 1, np.log(scores), np.log(np.clip(1 - scores, 1e-12, 1))).mean())
    return float(-np.log(scores[np.arange(len(scores)), outcomes.truth]).mean())


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _identity(config: FinetuneConfig, prepared: PreparedTask, member: Member) -> str:
    """What decides the numbers; workers and budgets do not."""
    training = replace(config.training, workers=0, token_budget=1, max_bad=0, base_rate=member.rate)
    values = {
        "config": asdict(replace(config, training=training, init="")),
        "weights": weights_digest(config.init),
        "task": prepared.task.digest(),
        "splits": hashlib.sha256("\n".join(prepared.splits.tolist()).encode()).hexdigest(),
        "member": [member.fraction, member.seed, member.rate],
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
