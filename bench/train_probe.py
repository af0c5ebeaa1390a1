"""Does pre-training learn anything? A whole experiment on the CPU, on synthetic radiographs.

Makes an export and shards, pre-trains `tiny` for at most some minutes, embeds all images with the trained and with
random weights, and fits the same linear probe of the body region on both: on patients of the train split, tested on
others.

    python bench/train_probe.py --out probe --images 2000 --minutes 18
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
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
from radio_train.model.mae import MaskedAutoencoder
from radio_train.pretrain import run_pretrain

CALIBRATION_STEPS = 12


def main() -> None:
    """Parse the arguments and run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("probe"), help="folder for everything")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--scale", type=float, default=0.12, help="size of the images, 1 is that of real ones")
    parser.add_argument("--minutes", type=float, default=18.0, help="of pre-training at most")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as radio train pretrain --set")
    arguments = parser.parse_args()
    dataset = make_dataset(arguments.out, arguments.images, arguments.scale)
    run = arguments.out / "run"
    seconds = train(dataset, run, arguments.minutes * 60, arguments.settings)
    scores = probe(dataset, run, arguments.out)
    show(run, seconds, scores)


def make_dataset(out: Path, images: int, scale: float) -> Path:
    """The shards, made once."""
    dataset = out / "shards"
    if not (dataset / "dataset.json").exists():
        if not (out / "export").exists():
            write_export(out / "export", images=images, seed=11, scale=scale, workers=0, progress=NoProgress())
        build_dataset(BuildConfig(dataset=dataset, sources=(str(out / "export"),), workers=2), NoProgress())
    return dataset


def train(dataset: Path, run: Path, seconds: float, settings: list[str]) -> float:
    """Pre-train for about this long; returns how long it took."""
    began_s = time.perf_counter()
    if (run / "summary.json").exists():
        return float(json.loads((run / "summary.json").read_text())["elapsed_s"])
    times: list[float] = []
    trial = load_config("tiny", assignments=[*settings, f"run.max_steps={CALIBRATION_STEPS}"])
    run_pretrain(trial, dataset, run.with_name("trial"), report=lambda each: times.append(each.seconds))
    step_s = float(np.mean(times[2:]))
    steps = int(seconds * 0.92 / step_s)  # the rest goes to validation and sheets
    config = load_config("tiny", assignments=[*settings, f"run.max_steps={steps}"])

    def report(metrics) -> None:  # noqa: ANN001
        if metrics.step % 50 == 0:
            print(
                f"step {metrics.step}/{steps} loss {metrics.loss:.5f} {metrics.images_per_s:.1f} images/s", flush=True
            )

    run_pretrain(config, dataset, run, report=report)
    return time.perf_counter() - began_s


def probe(dataset: Path, run: Path, out: Path) -> dict[str, dict[str, float]]:
    """Balanced accuracy of the region, by weights and pooling."""
    config = load_config("tiny")
    torch.manual_seed(1)
    if not (out / "random").exists():
        export_model(MaskedAutoencoder(config.model), out / "random", ExportFormat.SAFETENSORS)
    regions = regions_of(dataset)
    scores: dict[str, dict[str, float]] = {}
    for name, weights in (("trained", run), ("random", out / "random")):
        vectors = out / f"{name}.parquet"
        if not vectors.exists():
            embed(weights, dataset, vectors, EmbedConfig(precision=32, token_budget=6_144))
        rows = [row for row in pq.read_table(vectors).to_pylist() if row["key"] in regions]
        labels = np.array([regions[row["key"]][0] for row in rows])
        fitted = np.array([regions[row["key"]][1] == "train" for row in rows])
        scores[name] = {}
        for pooling in ("cls", "mean"):
            x = np.array([row[pooling] for row in rows])
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3_000, class_weight="balanced"))
            model.fit(x[fitted], labels[fitted])
            found = model.predict(x[~fitted])
            scores[name][pooling] = float(balanced_accuracy_score(labels[~fitted], found))
    return scores


def regions_of(dataset: Path) -> dict[str, tuple[str, str]]:
    """Region and split of each image, by key, without those whose region is not known."""
    with open_index(dataset) as index:
        rows = index.execute("SELECT key, region, split FROM images WHERE region <> 'Unknown'").fetchall()
    return {str(key).replace("-", ""): (region, split) for key, region, split in rows}


def show(run: Path, seconds: float, scores: dict[str, dict[str, float]]) -> None:
    """Print the table and the curve."""
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
    print("balanced accuracy of the region, other patients")
    for pooling in ("cls", "mean"):
        trained, random = scores["trained"][pooling], scores["random"][pooling]
        print(f"{pooling:5} trained {trained:.1%}  random {random:.1%}  {100 * (trained - random):+.1f} points")
    best = max(scores["trained"].values()) - max(scores["random"].values())
    print(f"best pooling of each: {100 * best:+.1f} points")


if __name__ == "__main__":
    main()
