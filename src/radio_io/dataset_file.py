"""`dataset.json`: what a dataset is, and what it was built with.

Comes in: a configuration and a key id. Goes out: the file, which carries a checksum of itself and of the index, and
back again. Refuses other format versions, a damaged file, and a build with other settings than the dataset's.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from radio_io import atomic
from radio_io.config import BuildConfig
from radio_io.dicom.render import RECIPE_VERSION
from radio_io.errors import DatasetError, KeyFileError
from radio_io.layout import FORMAT_VERSION, DatasetLayout

# What must not change between builds into one dataset, and how a message calls it.
FIXED = ("bins", "codec", "render", "dates", "splits", "seed", "text", "recipe_version")
BUILD, REBIN, MERGE = "build", "rebin", "merge"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFile:
    """The content of `dataset.json`; `index_sha256` and the counts are of the last published index.

    `origin` says how the shards were made: built from DICOM, or copied from other datasets by rebin or merge.
    """

    format_version: int
    dataset_id: str
    recipe_version: int
    bins: str
    codec: str
    render: str
    dates: str
    splits: dict[str, float]
    seed: int
    key_id: str
    num_images: int = 0
    num_shards: int = 0
    index_sha256: str | None = None
    text: str = "off"
    origin: str = BUILD


def describe_dataset(config: BuildConfig, key_id: str) -> DatasetFile:
    """What `dataset.json` says before the first image; the id follows from the settings and the key."""
    settings: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "recipe_version": RECIPE_VERSION,
        "bins": str(config.bins),
        "codec": config.codec,
        "render": config.render.value,
        "dates": config.dates.value,
        "splits": asdict(config.splits),
        "seed": config.seed,
        "text": config.text.value,
        "key_id": key_id,
    }
    return DatasetFile(**settings, dataset_id=_dataset_id(settings))


def recover_dataset_file(layout: DatasetLayout) -> tuple[DatasetFile, bool]:
    """What `dataset.json` says, and whether it is whole; a damaged one counts where its settings have the hash in it.

    Where that is not so, the copy in the private folder says it.

    Raises:
        DatasetError: Neither can be used.
    """
    try:
        return read_dataset_file(layout.root), True
    except DatasetError as error:
        refused = error
    for path in (layout.dataset_json_copy, layout.dataset_json):
        try:
            values = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
            values.pop("checksum", None)
            content = DatasetFile(**values)
        except (OSError, ValueError, TypeError, AttributeError):
            continue
        settings = {name: getattr(content, name) for name in ("format_version", *FIXED, "key_id")}
        counts = (content.num_images, content.num_shards)
        sound = content.origin in (BUILD, REBIN, MERGE) and all(type(count) is int for count in counts)
        if content.format_version == FORMAT_VERSION and sound and content.dataset_id == _dataset_id(settings):
            return content, False
    raise refused


def derived_dataset(content: DatasetFile, bins: str, origin: str) -> DatasetFile:
    """What `dataset.json` says of a dataset of the same images in other shards, before the first of them."""
    settings: dict[str, Any] = {name: getattr(content, name) for name in ("format_version", *FIXED, "key_id")}
    settings["bins"] = bins
    return DatasetFile(**settings, dataset_id=_dataset_id(settings), origin=origin)


def write_dataset_file(layout: DatasetLayout, content: DatasetFile) -> None:
    """Write `dataset.json`, and a copy into the private folder where there is one.

    Raises:
        StorageError: It cannot be written.
    """
    values = asdict(content)
    values["checksum"] = _checksum(values)
    data = (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()
    atomic.write_file(layout.dataset_json, data)
    if layout.private.exists():
        atomic.write_file(layout.dataset_json_copy, data, mode=0o600)


def read_dataset_file(root: Path) -> DatasetFile:
    """Read `dataset.json`.

    Raises:
        DatasetError: It is missing, damaged or of another format version.
    """
    path = DatasetLayout(root).dataset_json
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DatasetError(f"no dataset in {root}: {path.name} is missing; build one with: radio shard build") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path} ({type(error).__name__}); restore it, or build again") from None
    try:
        values = cast("dict[str, Any]", json.loads(text))
        version = values["format_version"]
        checksum = values.pop("checksum")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path) from None
    if version != FORMAT_VERSION:
        raise DatasetError(f"{path} has format version {version}, this radio reads {FORMAT_VERSION}; update radio")
    canonical = json.dumps({**values, "checksum": checksum}, indent=2, sort_keys=True) + "\n"
    if checksum != _checksum(values) or canonical != text:
        raise _damaged(path)
    return DatasetFile(**values)


def require_built(found: DatasetFile) -> None:
    """Refuse to scan or build into a dataset whose shards were copied from others: it has no plan of its own.

    Raises:
        DatasetError: It is such a dataset.
    """
    if found.origin != BUILD:
        raise DatasetError(
            f"this dataset was made by `radio shard {found.origin}`, so no files can be added to it; build them into "
            "the dataset that it was made from and repeat the command, or build them into a new dataset with the same "
            "key and bins and unite both with: radio shard merge"
        )


def require_same(found: DatasetFile, wanted: DatasetFile) -> None:
    """Refuse to build into a dataset that was built with other settings or another key.

    Raises:
        KeyFileError: The key is another.
        DatasetError: A setting differs; the message names each. Or its shards were copied from other datasets.
    """
    require_built(found)
    if found.key_id != wanted.key_id:
        raise KeyFileError(
            f"the dataset was built with key {found.key_id}, the key here is {wanted.key_id}: pseudonyms would differ; "
            "restore the dataset's key, or choose another --dataset"
        )
    differences = [
        f"{name} is {getattr(found, name)}, asked for {getattr(wanted, name)}"
        for name in FIXED
        if getattr(found, name) != getattr(wanted, name)
    ]
    if differences:
        raise DatasetError(
            f"the dataset was built with other settings: {'; '.join(differences)}; "
            "use its settings, or choose another --dataset"
        )


def _dataset_id(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _checksum(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path) -> DatasetError:
    return DatasetError(f"{path} is damaged: its checksum does not match; restore it, or delete it and build again")
