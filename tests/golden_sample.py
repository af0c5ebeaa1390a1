"""Makes the golden datasets of `shards/sample`, one a codec: `python tests/golden_sample.py FOLDER`.

Comes in: four bundled radiographs and a key that is public on purpose. Goes out: a dataset a codec with splits, bins,
labels and index, and beside each a file of what was read from it when it was made. Refuses to replace a dataset that
is there: a golden dataset of a released version never changes.
"""

import csv
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pydicom

from radio_io.config import BuildConfig
from radio_io.dataset import open_dataset
from radio_io.labels.identifiers import IdColumn
from radio_io.labels.import_labels import import_labels
from radio_io.layout import FORMAT_VERSION, DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import build_dataset

SAMPLE = Path(__file__).resolve().parents[1] / "shards" / "sample"
SOURCES = Path(__file__).parent / "data" / "dicom"
PUBLIC_KEY = bytes(range(32))
"""Protects nothing: it is written here, and the radiographs are public."""
IMAGES = {
    "htj2k": (
        "cervical_spine_uncompressed",
        "chest_jpeg_baseline.dcm",
        "dog_thorax_uncompressed.dcm",
        "lower_leg_j2k.dcm",
    ),
    "fast": ("cervical_spine_uncompressed", "chest_jpeg_baseline.dcm", "dog_thorax_uncompressed.dcm"),
}
SPECIES = {"dog_thorax_uncompressed.dcm": "dog"}


def sample_name(codec: str, version: int = FORMAT_VERSION) -> str:
    """The folder of the golden dataset of a format version and codec."""
    return f"v{version}-{codec}"


def write_sample(root: Path, codec: str, *, workers: int = 1) -> None:
    """Build the golden dataset of `codec` as the folder `root`."""
    layout = DatasetLayout(root)
    layout.private.mkdir(mode=0o700, parents=True)
    layout.key_file.write_bytes(PUBLIC_KEY)
    layout.key_file.chmod(0o600)
    config = BuildConfig(
        dataset=root,
        sources=tuple(str(SOURCES / name) for name in IMAGES[codec]),
        bins=Bins.parse("256,1152,1920"),
        codec=codec,
        workers=workers,
    )
    build_dataset(config, NoProgress())
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "species.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["SOPInstanceUID", "species"])
            for name in IMAGES[codec]:
                writer.writerow([instance_uid(SOURCES / name), SPECIES.get(name, "human")])
        import_labels(root, [table], id_column=IdColumn.SOP_INSTANCE_UID, label_column="species", task="species")


def instance_uid(path: Path) -> str:
    """SOPInstanceUID of a public file."""
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def image_facts(root: Path) -> dict[str, dict[str, object]]:
    """What is known of each image, by key, with the SHA-256 of its pixels as little-endian 16-bit numbers by row."""
    data = open_dataset(root)
    return {
        key: {
            "sha256": hashlib.sha256(data[key].pixels.astype("<u2").tobytes()).hexdigest(),
            **{name: data[key].metadata[name] for name in ("split", "region", "rows", "columns", "pixel_hash")},
        }
        for key in data
    }


def main(target: Path) -> None:
    """Write every golden dataset of this format version into `target`."""
    for codec in IMAGES:
        name = sample_name(codec)
        if (target / name).exists():
            sys.exit(f"{target / name} is there: a golden dataset stays as it is; give another folder")
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / name
            write_sample(built, codec)
            target.mkdir(parents=True, exist_ok=True)
            facts = json.dumps(image_facts(built), indent=2, sort_keys=True) + "\n"
            (target / f"{name}.json").write_text(facts, encoding="utf-8")
            shutil.copytree(built, target / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE)
