"""What a folder says about itself in `radio.toml`, so that short commands work in it.

Comes in: the current folder and the environment. Goes out: `Project`. Refused: unknown keys, values of another type.

Example of a `radio.toml`:

    sources = ["/mnt/pacs/export"]
    dataset = "shards"

    [shard]
    bins = "1152,...,3072"
    workers = 8
"""

import difflib
import os
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from radio_io.errors import ConfigError, UsageError
from radio_io.object_store import is_url

FILE_NAME = "radio.toml"
SHARD_KEYS: dict[str, type] = {
    "bins": str,
    "codec": str,
    "shard_size": str,
    "min_shard_images": int,
    "modalities": str,
    "workers": int,
    "render": str,
    "dates": str,
    "frames": str,
    "executor": str,
    "regions": str,
    "text": str,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """The settings of a working folder; empty where it has no `radio.toml`."""

    sources: tuple[str, ...] = ()
    dataset: str | None = None
    shard: dict[str, str | int] = field(default_factory=dict[str, str | int])


def load_project(folder: Path | None = None) -> Project:
    """Settings from `radio.toml` in `folder` (default: the current one).

    Raises:
        ConfigError: The file is not TOML, or has an unknown key or a value of another type.
    """
    path = (folder or Path.cwd()) / FILE_NAME
    if not path.exists():
        return Project()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE_NAME}: not readable as TOML ({error}); correct the file") from None
    _refuse_unknown(table, ("sources", "dataset", "shard"), where=FILE_NAME)
    sources = table.get("sources", [])
    if isinstance(sources, str):
        sources = [sources]
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in cast("list[object]", sources)):
        raise ConfigError(f"{FILE_NAME}: sources must be a list of paths, for example sources = ['/mnt/pacs/export']")
    dataset = table.get("dataset")
    if dataset is not None and not isinstance(dataset, str):
        raise ConfigError(f"{FILE_NAME}: dataset must be a path, found {dataset!r}")
    return Project(
        sources=tuple(cast("list[str]", sources)), dataset=dataset, shard=_shard_table(table.get("shard", {}))
    )


def _shard_table(table: object) -> dict[str, str | int]:
    if not isinstance(table, dict):
        raise ConfigError(f"{FILE_NAME}: [shard] must be a table")
    settings = cast("dict[str, object]", table)
    _refuse_unknown(settings, tuple(SHARD_KEYS), where=f"{FILE_NAME} [shard]")
    for name, value in settings.items():
        if not isinstance(value, SHARD_KEYS[name]) or isinstance(value, bool):
            raise ConfigError(f"{FILE_NAME} [shard]: {name} must be a {SHARD_KEYS[name].__name__}, found {value!r}")
    return cast("dict[str, str | int]", settings)


def _refuse_unknown(table: dict[str, object], known: tuple[str, ...], *, where: str) -> None:
    for name in table:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {name!r}{hint}")


def dataset_place(option: str | Path | None) -> str:
    """The dataset's folder or URL: `--dataset`, else RADIO_DATASET, else `radio.toml`, else `shards`."""
    return str(option if option is not None else os.environ.get("RADIO_DATASET") or load_project().dataset or "shards")


def dataset_root(option: str | Path | None) -> Path:
    """The dataset folder, for what works on folders only.

    Raises:
        UsageError: It is a URL.
    """
    place = dataset_place(option)
    if is_url(place):
        raise UsageError(
            "this command works on a dataset folder and not on a URL; copy the dataset to a disk first (URLs work with "
            "shard build, verify, info, ls, rebin and merge, forget, labels, query, rejects, index rebuild, and train)"
        )
    return Path(place)


def changeable_dataset(option: str | Path | None, private: Path | None, *, as_it_is: bool = False) -> Path:
    """A folder to change the dataset in, or to repair it `as_it_is`: its own, or one of the private folder of a URL.

    Raises:
        UsageError: The private folder of a URL is not here, or one is named for a folder.
    """
    from radio_io.sharding.places import working_root

    return working_root(dataset_place(option), private, as_it_is=as_it_is)


def readable_dataset(option: str | Path | None) -> Path:
    """A folder to read from: the dataset's own, or one of the cache with its index where it lies at a URL."""
    place = dataset_place(option)
    if not is_url(place):
        return Path(place)
    from radio_io.remote_dataset import readable_root

    return readable_root(place)


def verifiable_dataset(option: str | Path | None) -> Path:
    """A folder with everything but the tars: the dataset's own, or a copy in the cache where it lies at a URL."""
    place = dataset_place(option)
    if not is_url(place):
        return Path(place)
    from radio_io.remote_dataset import mirror

    return mirror(place)


def source_paths(arguments: list[str] | None, listed: Path | None = None) -> tuple[str, ...]:
    """The sources named on the command line and in the file `listed`, else those of `radio.toml`.

    Raises:
        UsageError: None of them names one, or the list cannot be read.
    """
    named = (*(arguments or ()), *(_listed_paths(listed) if listed is not None else ()))
    sources = named or load_project().sources
    if not sources:
        raise UsageError(
            "no source: name files or folders (radio shard build /mnt/pacs/export) or put sources = ['...'] "
            f"into {FILE_NAME} in this folder"
        )
    return sources


def _listed_paths(path: Path) -> list[str]:
    """One path a line, or separated by NUL as `find -print0` writes them; names need not be UTF-8."""
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise UsageError(f"--from {path}: cannot be read ({type(error).__name__})") from None
    lines = content.split(b"\0" if b"\0" in content else b"\n")
    paths = [os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip()]
    if not paths:
        raise UsageError(f"--from {path}: names no path; write one a line")
    return paths
