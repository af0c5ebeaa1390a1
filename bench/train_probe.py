"""Does pre-training learn anything? A whole experiment on the CPU, on synthetic radiographs.

Makes an export and shards, pre-trains `tiny` for at most some minutes, embeds all images with the trained and with
random weights, and fits the same linear probe of the body region on both: on patients of the train split, tested on
others. The strength of its regularisation is chosen among patients of the train split, for each side anew. Random
weights are drawn several times, and embed the images at full resolution, too, so that they have their best chance.
Then the same with the labels of few training patients, drawn several times and alike for all weights; here the strength
is the best for the training patients that were not drawn.

    python bench/train_probe.py --out probe --images 2000 --minutes 18
    python bench/train_probe.py --out probe --steps 3000                  # where the machine is shared with others
"""

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radio_io.config import BuildConfig
from radio_io.index.catalog import open_index
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset
from radio_io.synth import write_export
from radio_train.config import load_config
from radio_train.embed import EmbedConfig, embed
from radio_train.export import ExportFormat, export_model
from radio_train.import_weights import describe_model
from radio_train.model.mae import MaskedAutoencoder
from radio_train.pretrain import run_pretrain

CALIBRATION_STEPS = 12
STRENGTHS = (0.1, 1.0, 10.0)
POOLINGS = ("cls", "mean")
RANDOM_SEEDS = (1, 2, 3)
RESAMPLES = 1_000
LABEL_FRACTIONS = (0.01, 0.1)
LABEL_DRAWS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """What is known of each image with a known region: [n] each, in the order of the keys."""

    keys: tuple[str, ...]
    regions: np.ndarray
    patients: np.ndarray
    is_train: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Balanced accuracy of the images of other patients, and what was predicted for them.

    `within` is that of patients of the train split left out in turn, `few_labels` that of the images of other patients
    with each of `LABEL_FRACTIONS`, the mean over the draws.
    """

    name: str
    pooling: str
    strength: float
    within: float
    accuracy: float
    predicted: np.ndarray
    few_labels: tuple[float, ...]


def main() -> None:
    """Parse the arguments and run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("probe"), help="folder for everything")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--scale", type=float, default=0.12, help="size of the images, 1 is that of real ones")
    parser.add_argument("--minutes", type=float, default=18.0, help="of pre-training at most")
    parser.add_argument("--steps", type=int, default=0, help="of pre-training instead; 0: by --minutes")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as radio train pretrain --set")
    arguments = parser.parse_args()
    dataset = make_dataset(arguments.out, arguments.images, arguments.scale)
    run = arguments.out / "run"
    seconds = train(dataset, run, arguments.minutes * 60, arguments.steps, arguments.settings)
    images = images_of(dataset)
    show_run(run, seconds)
    show_scores(images, list(probe(dataset, run, images, arguments.out)))


def make_dataset(out: Path, images: int, scale: float) -> Path:
    """The shards, made once."""
    dataset = out / "shards"
    if not (dataset / "dataset.json").exists():
        if not (out / "export").exists():
            write_export(out / "export", images=images, seed=11, scale=scale, workers=0, progress=NoProgress())
        build_dataset(BuildConfig(dataset=dataset, sources=(str(out / "export"),), workers=2), NoProgress())
    return dataset


def train(dataset: Path, run: Path, seconds: float, steps: int, settings: list[str]) -> float:
    """Pre-train for about this long, or so many steps; returns how long it took."""
    began_s = time.perf_counter()
    if (run / "summary.json").exists():
        return float(json.loads((run / "summary.json").read_text())["elapsed_s"])
    if not steps:
        times: list[float] = []
        trial = load_config("tiny", assignments=[*settings, f"run.max_steps={CALIBRATION_STEPS}"])
        run_pretrain(trial, dataset, run.with_name("trial"), report=lambda each: times.append(each.seconds))
        steps = int(seconds * 0.92 / float(np.mean(times[2:])))  # the rest goes to validation and sheets
    config = load_config("tiny", assignments=[*settings, f"run.max_steps={steps}"])

    def report(metrics) -> None:  # noqa: ANN001
        if metrics.step % 50 == 0:
            print(
                f"step {metrics.step}/{steps} loss {metrics.loss:.5f} {metrics.images_per_s:.1f} images/s", flush=True
            )

    run_pretrain(config, dataset, run, report=report)
    return time.perf_counter() - began_s


def images_of(dataset: Path) -> Images:
    """The images whose region is known."""
    with open_index(dataset) as index:
        rows = index.execute(
            "SELECT key, region, patient_key, split FROM images WHERE region <> 'Unknown' ORDER BY key"
        ).fetchall()
    keys, regions, patients, splits = zip(*rows, strict=True)
    return Images(
        keys=tuple(str(key).replace("-", "") for key in keys),
        regions=np.array(regions),
        patients=np.array([str(patient) for patient in patients]),
        is_train=np.array(splits) == "train",
    )


def probe(dataset: Path, run: Path, images: Images, out: Path) -> Iterable[Score]:
    """The scores of the trained weights, then of random ones by resolution and seed."""
    trained = json.loads((run / "config.json").read_text())["data"]["resolution"]
    yield from scores_of(f"trained, {trained}", run, dataset, images, out / "trained.parquet", trained)
    for resolution in dict.fromkeys(("1", trained)):
        for seed in RANDOM_SEEDS:
            weights = out / f"random-{seed}"
            if not weights.exists():
                torch.manual_seed(seed)
                export_model(MaskedAutoencoder(describe_model(run)), weights, ExportFormat.SAFETENSORS)
            vectors = out / f"random-{seed}-{resolution.replace('/', '-')}.parquet"
            yield from scores_of(f"random, {resolution}", weights, dataset, images, vectors, resolution)


def scores_of(
    name: str, weights: Path, dataset: Path, images: Images, vectors: Path, resolution: str
) -> Iterable[Score]:
    """A score a pooling."""
    if not vectors.exists():
        embed(weights, dataset, vectors, EmbedConfig(precision=32, token_budget=6_144, resolution=resolution))
    rows = {row["key"]: row for row in pq.read_table(vectors).to_pylist()}
    fitted, patients = images.is_train, images.patients[images.is_train]
    for pooling in POOLINGS:
        values = np.array([rows[key][pooling] for key in images.keys])
        x, y = values[fitted], images.regions[fitted]
        within = {each: accuracy_within(x, y, patients, each) for each in STRENGTHS}
        strength = max(within, key=within.__getitem__)
        predicted = linear(strength).fit(x, y).predict(values[~fitted])
        accuracy = balanced_accuracy(images.regions[~fitted], predicted)
        yield Score(
            name=name,
            pooling=pooling,
            strength=strength,
            within=within[strength],
            accuracy=accuracy,
            predicted=predicted,
            few_labels=tuple(accuracy_of_few(images, values, fraction) for fraction in LABEL_FRACTIONS),
        )


def accuracy_within(x: np.ndarray, y: np.ndarray, patients: np.ndarray, strength: float) -> float:
    """Balanced accuracy of a strength of regularisation on patients left out in turn."""
    predicted = np.empty_like(y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # regions of fewer images than parts
        for fit, rest in StratifiedGroupKFold(5, shuffle=True, random_state=0).split(x, y, patients):
            predicted[rest] = linear(strength).fit(x[fit], y[fit]).predict(x[rest])
    return balanced_accuracy(y, predicted)


def accuracy_of_few(images: Images, values: np.ndarray, fraction: float) -> float:
    """Balanced accuracy of the images of other patients with the labels of some training patients only.

    The patients that are drawn depend on the fraction and the draw alone. A region that they lack is never found.
    """
    scores = np.zeros((len(STRENGTHS), LABEL_DRAWS, 2))
    rest = ~images.is_train
    for draw in range(LABEL_DRAWS):
        chosen = draw_patients(images, fraction, draw)
        for row, strength in enumerate(STRENGTHS):
            fitted = linear(strength).fit(values[chosen], images.regions[chosen])
            for column, tested in enumerate((images.is_train & ~chosen, rest)):
                predicted = fitted.predict(values[tested])
                scores[row, draw, column] = balanced_accuracy(images.regions[tested], predicted)
    means = scores.mean(axis=1)
    return float(means[means[:, 0].argmax(), 1])


def draw_patients(images: Images, fraction: float, draw: int) -> np.ndarray:
    """The images of a share of the training patients, [n] bool; drawn again where all are of one region."""
    patients = np.unique(images.patients[images.is_train])
    rng = np.random.default_rng([round(1_000 * fraction), draw])
    while True:
        drawn = rng.choice(patients, max(1, round(fraction * len(patients))), replace=False)
        chosen = images.is_train & np.isin(images.patients, drawn)
        if len(np.unique(images.regions[chosen])) > 1:
            return chosen


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean over the regions that there are of the share found."""
    return float(np.mean([(predicted[truth == region] == region).mean() for region in np.unique(truth)]))


def linear(strength: float):
    """The probe."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=3_000, class_weight="balanced"))


def show_run(run: Path, seconds: float) -> None:
    """Print what training took, and its curve."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    print(
        f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}"
    )
    print(f"{summary['steps']} steps, {summary['epochs']:.1f} epochs, {seconds / 60:.1f} minutes")
    print(f"{summary['images_per_s']:.1f} images/s, data wait {summary['data_wait']:.1%}, MFU {summary['mfu']:.1%}")
    print("step  loss (mean of the tenth that ends there)")
    tenth = max(1, len(lines) // 10)
    for end in range(tenth, len(lines) + 1, tenth):
        print(f"{end:5}  {np.mean([line['loss'] for line in lines[end - tenth : end]]):.5f}")


def show_scores(images: Images, scores: list[Score]) -> None:
    """Print the table, and the best of each side with an interval over patients."""
    shares = " ".join(f"{fraction:>7.0%}" for fraction in LABEL_FRACTIONS)
    print("balanced accuracy of the region, other patients (weights, resolution, pooling: mean of the draws), with the")
    print("labels of all training patients, of few, and of training patients left out in turn")
    print(f"{'':20}    100% {shares}  within")
    means: dict[tuple[str, str], float] = {}
    for name, pooling in dict.fromkeys((score.name, score.pooling) for score in scores):
        found = [score for score in scores if (score.name, score.pooling) == (name, pooling)]
        means[name, pooling] = float(np.mean([score.accuracy for score in found]))
        strengths = ", ".join(f"{score.strength:g}" for score in found)
        few = " ".join(f"{share:7.1%}" for share in np.mean([score.few_labels for score in found], axis=0))
        within = float(np.mean([score.within for score in found]))
        print(f"{name:14} {pooling:5} {means[name, pooling]:7.1%} {few} {within:7.1%}  C {strengths}")
    best = {
        side: max((key for key in means if key[0].startswith(side)), key=means.get) for side in ("trained", "random")
    }
    low, high = interval(images, scores, best["trained"], best["random"])
    gain = means[best["trained"]] - means[best["random"]]
    print(f"best of each side: {100 * gain:+.1f} points, 95 % over patients {100 * low:+.1f} to {100 * high:+.1f}")


def interval(images: Images, scores: list[Score], one: tuple[str, str], other: tuple[str, str]) -> tuple[float, float]:
    """Of the difference of two rows of the table, by resampling the patients of the test images."""
    truth, patients = images.regions[~images.is_train], images.patients[~images.is_train]
    rows = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    rng = np.random.default_rng(0)
    differences: list[float] = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([rows[index] for index in rng.integers(0, len(rows), len(rows))])
        means = [
            np.mean(
                [
                    balanced_accuracy(truth[chosen], score.predicted[chosen])
                    for score in scores
                    if (score.name, score.pooling) == side
                ]
            )
            for side in (one, other)
        ]
        differences.append(float(means[0] - means[1]))
    low, high = np.quantile(differences, (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    main()
