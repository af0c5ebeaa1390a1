"""Small datasets that are built, copied, damaged and mended: sixty images in a dozen shards."""

import shutil
import tarfile
from pathlib import Path

import duckdb

from radio_io.config import BuildConfig
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import build_dataset
from radio_io.sharding.verify import verify_dataset
from unit.dicom.make_dicom import dataset_of, file_of, picture

OLD, NEW = Bins.parse("112x96,128x128"), Bins.parse("100x96,104x96,128x128")
KEY = bytes(range(32))


def write_source(folder: Path, numbers) -> None:
    """Two images a patient, in five heights."""
    folder.mkdir(parents=True)
    for number in numbers:
        dataset = dataset_of(
            picture(96 + 4 * (number % 5), 80 + 3 * (number % 4), seed=number),
            bits=12,
            PatientID=f"P{number // 2}",
            StudyInstanceUID=f"1.2.{number}",
            SOPInstanceUID=f"1.3.{number}",
        )
        (folder / f"{number:03}").write_bytes(file_of(dataset))
    (folder / "text").write_text("no image")


def build(root: Path, source: Path, bins: Bins = OLD, **settings):
    layout = DatasetLayout(root)
    if not layout.key_file.exists():
        layout.private.mkdir(mode=0o700, parents=True)
        layout.key_file.write_bytes(settings.pop("key", KEY))
        layout.key_file.chmod(0o600)
    config = BuildConfig(
        dataset=root,
        sources=(str(source),),
        bins=bins,
        shard_size_bytes=60_000,
        min_shard_images=3,
        workers=0,
        **settings,
    )
    return build_dataset(config, NoProgress())


def copy_of(whole: Path, root: Path) -> Path:
    shutil.copytree(whole, root)
    shutil.copytree(DatasetLayout(whole).private, DatasetLayout(root).private)
    return root


def rows(root, sql):
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def members(root):
    """Every member of every tar by its name."""
    found = {}
    for path in sorted(root.glob("*/*/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert member.name not in found
                found[member.name] = file.read() if file else b""
    return found


def files_of(root):
    """Every file of a dataset but the index, in which DuckDB leaves marks of its own."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.name not in ("index.duckdb", "dataset.json")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def faults(root):
    return verify_dataset(root, NoProgress(), workers=0).faults
