"""From options of the command line and of `radio.toml` to a `BuildConfig`: the first wins, then the second."""

from pathlib import Path
from typing import Any

from radio_cli.console import parse_size
from radio_cli.project import dataset_place, load_project, source_paths
from radio_io.config import BuildConfig, TaskShare
from radio_io.errors import UsageError
from radio_io.executors import default_workers
from radio_io.object_store import is_url
from radio_io.remote_dataset import staging_root
from radio_io.sharding.bins import Bins


def make_config(
    sources: list[str] | None,
    dataset: str | None,
    *,
    private: Path | None = None,
    listed: Path | None = None,
    regions: Path | None = None,
    allow_burned_in: bool = False,
    **options: str | float | None,
) -> BuildConfig:
    """The configuration of a scan or build.

    Raises:
        UsageError: No source is named, or an option cannot be meant.
    """
    given = load_project().shard | {name: value for name, value in options.items() if value is not None}
    values: dict[str, Any] = {
        name: given[name] for name in ("codec", "render", "dates", "frames", "text", "executor") if name in given
    }
    if "bins" in given:
        values["bins"] = Bins.parse(str(given["bins"]))
    if "shard_size" in given:
        values["shard_size_bytes"] = parse_size(str(given["shard_size"]))
    if "min_shard_images" in given:
        values["min_shard_images"] = int(given["min_shard_images"])
    if "modalities" in given:
        names = frozenset(name.strip().upper() for name in str(given["modalities"]).split(",") if name.strip())
        values["modalities"] = None if "ALL" in names else names
    if "file_timeout" in given:
        values["file_timeout_s"] = float(given["file_timeout"])
    if "task" in given:
        values["task"] = TaskShare.parse(str(given["task"]))
    root, url = place_to_build(dataset_place(dataset), private)
    regions_file = regions or (Path(str(given["regions"])) if "regions" in given else None)
    return BuildConfig(
        dataset=root,
        dataset_url=url,
        sources=source_paths(sources, listed),
        workers=int(given.get("workers") or default_workers()),
        regions_file=regions_file,
        allow_burned_in=allow_burned_in,
        **values,
    )


def place_to_build(place: str, private: Path | None) -> tuple[Path, str | None]:
    """The folder to build in, and the URL that the dataset goes to from there.

    Raises:
        UsageError: A private folder is named for a dataset in a folder.
    """
    if is_url(place):
        return staging_root(place, private), place
    if private is not None:
        raise UsageError("--private is for datasets at a URL; that of a folder lies beside it")
    return Path(place), None
