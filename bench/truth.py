"""Regions, sides, views and polarity of a synthetic export against its ground truth: precision and recall.

    python bench/truth.py --images 2000 --scale 0.15

Prints what the text mapping finds, and how well `polarity_suspect` finds images whose header lies about polarity.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import radio_io
from radio_io.config import BuildConfig
from radio_io.executors import default_workers
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset
from radio_io.synth import write_export

UNNAMED = ("Unknown", "U", None)  # U: unpaired, which the truth leaves empty
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def rates(pairs: Iterable[tuple[str | None, str | None]]) -> tuple[float, float, int]:
    """Precision of what was named, recall of what has a name, and the number of images."""
    found = list(pairs)
    named = [(ours, truth) for ours, truth in found if ours]
    right = sum(ours == truth for ours, truth in named)
    known = sum(bool(truth) for _, truth in found)
    return right / max(len(named), 1), right / max(known, 1), len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--scale", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        export, root = Path(folder) / "export", Path(folder) / "shards"
        write_export(
            export,
            images=options.images,
            seed=options.seed,
            scale=options.scale,
            labels=True,
            workers=default_workers(),
            progress=NoProgress(),
        )
        build_dataset(BuildConfig(dataset=root, sources=(str(export),), workers=default_workers()), NoProgress())
        pseudonyms = Pseudonymizer.from_file(DatasetLayout(root).key_file, root)
        with (Path(folder) / "export_ground_truth.csv").open(newline="", encoding="utf-8") as file:
            truth = {pseudonyms.instance(row["SOPInstanceUID"], ""): row for row in csv.DictReader(file)}
        columns = "instance_key, region, laterality, view_position, polarity_suspect"
        rows = radio_io.open_dataset(root).query(columns=columns).to_pylist()
    print(f"{len(rows)} images of {options.images}, seed {options.seed}, scale {options.scale}")
    print(f"{'':12}{'precision':>10}{'recall':>8}")
    for column, name in (("region", "region"), ("laterality", "laterality"), ("view_position", "view_position")):
        pairs = [
            (None if row[column] in UNNAMED else row[column], truth[row["instance_key"]][name] or None) for row in rows
        ]
        precision, recall, _ = rates(pairs)
        print(f"{column:12}{precision:10.4f}{recall:8.4f}")
    print(f"\n{'polarity_suspect':18}{'precision':>10}{'recall':>8}{'false alarms':>14}")
    lies = [truth[row["instance_key"]]["looks_inverted"] == "1" for row in rows]
    for threshold in THRESHOLDS:
        alarms = [row["polarity_suspect"] >= threshold for row in rows]
        hits = sum(alarm and lie for alarm, lie in zip(alarms, lies, strict=True))
        precision, recall = hits / max(sum(alarms), 1), hits / max(sum(lies), 1)
        print(f">= {threshold:<15}{precision:10.3f}{recall:8.3f}{sum(alarms) - hits:10} of {len(rows) - sum(lies)}")
    if not rows:
        sys.exit(1)


if __name__ == "__main__":
    main()
