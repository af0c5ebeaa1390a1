"""A dataset in an object store: its local part, and what moves between both.

Comes in: the URL of a dataset. Goes out: `RemoteDataset`, a folder to build in, a folder to read from. Refuses a
private folder that belongs to another URL, and files that are not those that `dataset.json` names.

Everything local works on a `DatasetLayout` as for any dataset; a file `store.json` in its root says where the shards
are that are not there. A build works in the folder `.staging` of the private folder; whatever only reads works in a
folder of the cache that holds `dataset.json` and the index.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from radio_io import atomic
from radio_io.dataset_file import read_dataset_file
from radio_io.errors import DatasetError, StorageError, UsageError
from radio_io.index.catalog import file_sha256
from radio_io.layout import (
    IDX_SUFFIX,
    RECORD_SUFFIX,
    SHARD_ID,
    STAGING_NAME,
    TAR_SUFFIX,
    DatasetLayout,
)
from radio_io.object_put import put_object
from radio_io.object_store import ObjectFacts, ObjectStore, is_url, open_object_store, require_no_secret

ORIGIN_NAME: Final = "store.json"
_LABELS: Final = re.compile(r"labels/[A-Za-z0-9_][A-Za-z0-9_.-]*\.parquet")
_BLOCK_BYTES: Final = 8 << 20
_TRIES: Final = 5
_TRY_AGAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class RemoteDataset:
    """The dataset below a URL."""

    url: str

    def __post_init__(self) -> None:
        require_no_secret(self.url)
        object.__setattr__(self, "url", self.url.rstrip("/"))
        if not is_url(self.url + "/") or "/" not in self.url.partition("://")[2]:
            raise UsageError(f"{self.url!r} names no dataset; expected a URL such as s3://bucket/shards")

    @property
    def store(self) -> ObjectStore:
        """The store that holds it."""
        return open_object_store(self.url)

    def names(self) -> dict[str, ObjectFacts]:
        """All its objects, by their name below the URL.

        Raises:
            StorageError: The store cannot be read.
        """
        with self._errors():
            try:
                return {facts.url[len(self.url) + 1 :]: facts for facts in self.store.below(self.url)}
            except FileNotFoundError:
                if self.store.is_s3:  # the bucket is missing; other stores say so of a folder that is still empty
                    raise
                return {}

    def fetch(self, name: str, path: Path) -> bool:
        """Copy an object into a file; False where there is none.

        Raises:
            StorageError: It cannot be read or written.
        """
        url = f"{self.url}/{name}"
        with self._errors():
            try:
                size = self.store.facts(url).size_bytes
            except FileNotFoundError:
                return False
            atomic.make_folder(path.parent)
            with atomic.staged(path) as temp, temp.open("xb") as file:
                for position in range(0, size, _BLOCK_BYTES):
                    file.write(self.read(name, position, min(_BLOCK_BYTES, size - position)))
            if path.stat().st_size != size:
                raise StorageError(f"{url} was replaced while it was read; run the command again")
        return True

    def read(self, name: str, position: int, count: int) -> bytes:
        """A range of an object. Raises `OSError`."""
        return self.store.read(f"{self.url}/{name}", position, count)

    def put(self, path: Path, name: str) -> None:
        """Write a file as an object, whole, checked.

        Raises:
            StorageError: The store refuses.
        """
        put_object(self.store, path, f"{self.url}/{name}")

    @contextlib.contextmanager
    def _errors(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            kind = error.strerror or type(error).__name__
            raise StorageError(
                f"cannot read {self.url}: {kind}; check the URL, the credentials of the environment and the network"
            ) from None


def origin_of(root: Path) -> RemoteDataset | None:
    """Where the shards of a local folder lie; None where they lie in it."""
    try:
        return RemoteDataset(str(json.loads((root / ORIGIN_NAME).read_bytes())["url"]))
    except (FileNotFoundError, NotADirectoryError):
        return None


def place_of(root: Path) -> str:
    """What a user knows a dataset by: its URL where its shards lie in a store, else its folder."""
    remote = origin_of(root)
    return str(root) if remote is None else remote.url


def staging_root(url: str, private: Path | None) -> Path:
    """The folder in which a dataset of this URL is built; nothing is made.

    Example:
        >>> staging_root("s3://bucket/shards/", None).as_posix()
        'shards.private/.staging'
    """
    name = RemoteDataset(url).url.rpartition("/")[2]
    return (private or Path(f"{name}.private")) / STAGING_NAME


def attach(url: str, layout: DatasetLayout) -> None:
    """Make the private folder and its staging folder ready; fetches `dataset.json` where there is one.

    Who calls it holds the dataset: files are replaced that others read.

    Raises:
        UsageError: The private folder belongs to another dataset.
        StorageError: The store or the disk fails.
    """
    remote = RemoteDataset(url)
    atomic.make_private_folder(layout.private)
    atomic.make_folder(layout.root, mode=0o700)
    require_attached(url, layout)
    atomic.write_file(layout.root / ORIGIN_NAME, json.dumps({"url": remote.url}).encode(), mode=0o600)
    if not remote.fetch(layout.dataset_json.name, layout.dataset_json):
        layout.dataset_json.unlink(missing_ok=True)


def require_attached(url: str, layout: DatasetLayout) -> None:
    """Refuse a private folder that belongs to another URL.

    Raises:
        UsageError: It does.
    """
    remote, known = RemoteDataset(url), origin_of(layout.root)
    if known is not None and known != remote:
        raise UsageError(
            f"{layout.private} is the private folder of {known.url}, not of {remote.url}; name another with --private"
        )


def sync_records(layout: DatasetLayout) -> None:
    """Make the local records those of the shards that are whole in the store; nothing happens for a local dataset.

    Raises:
        StorageError: The store or the disk fails.
    """
    remote = origin_of(layout.root)
    if remote is None:
        return
    found = remote.names()
    whole = {shard_id for shard_id in _shard_ids(found) if _is_whole(shard_id, found)}
    for path in layout.record_paths():
        if layout.shard_id_of(path) not in whole:
            path.unlink()
    _fetch_labels(remote, layout, found)
    for shard_id in sorted(whole):
        for path, suffix in ((layout.idx_path(shard_id), IDX_SUFFIX), (layout.record_path(shard_id), RECORD_SUFFIX)):
            name = shard_id + suffix
            if not path.exists() or path.stat().st_size != found[name].size_bytes:
                remote.fetch(name, path)


def _fetch_labels(remote: RemoteDataset, layout: DatasetLayout, found: dict[str, ObjectFacts]) -> None:
    """Make the local labels of training tasks those of the store; the index is made with them."""
    names = {name for name in found if _LABELS.fullmatch(name)}
    for path in layout.label_paths():
        if f"labels/{path.name}" not in names:
            path.unlink()
    for name in names:
        remote.fetch(name, layout.root / name)


def move_to_store(layout: DatasetLayout, shard_id: str) -> None:
    """Put a finished shard into the store, record last, and remove the local tar; a local dataset keeps it.

    Raises:
        StorageError: The store refuses; the local files stay.
    """
    remote = origin_of(layout.root)
    if remote is None:
        return
    paths = (layout.tar_path(shard_id), layout.idx_path(shard_id), layout.record_path(shard_id))
    for path in paths:
        remote.put(path, path.relative_to(layout.root).as_posix())
    paths[0].unlink()


def publish_to_store(layout: DatasetLayout, *paths: Path) -> None:
    """Put files of the root into the store, in this order; nothing happens for a local dataset.

    Raises:
        StorageError: The store refuses.
    """
    remote = origin_of(layout.root)
    for path in paths if remote is not None else ():
        assert remote is not None
        remote.put(path, path.relative_to(layout.root).as_posix())


def readable_root(url: str) -> Path:
    """A folder of the cache with `dataset.json` and the index of a dataset, fetched where they are not the newest.

    Raises:
        DatasetError: There is no dataset, or its index is not the one that `dataset.json` names.
        StorageError: The store or the disk fails.
    """
    remote = RemoteDataset(url)
    layout = DatasetLayout(cache_folder(remote.url))
    atomic.make_folder(layout.root, mode=0o700)
    atomic.write_file(layout.root / ORIGIN_NAME, json.dumps({"url": remote.url}).encode(), mode=0o600)
    fresh = layout.root / "fetched"
    for attempt in range(_TRIES):
        if not remote.fetch(layout.dataset_json.name, fresh / layout.dataset_json.name):
            raise DatasetError(
                f"no dataset in {remote.url}: dataset.json is missing; build one with: radio shard build"
            )
        wanted = read_dataset_file(fresh).index_sha256
        if wanted is None or (layout.index.exists() and file_sha256(layout.index) == wanted):
            break
        if remote.fetch(layout.index.name, fresh / layout.index.name):
            if file_sha256(fresh / layout.index.name) == wanted:
                (fresh / layout.index.name).replace(layout.index)
                break
            (fresh / layout.index.name).unlink()
        if attempt < _TRIES - 1:
            time.sleep(_TRY_AGAIN_S)  # a build may be publishing: index first, then dataset.json
    else:
        raise DatasetError(
            f"index.duckdb in {remote.url} is not the one that dataset.json names; run: radio index rebuild"
        )
    (fresh / layout.dataset_json.name).replace(layout.dataset_json)
    return layout.root


def mirror(url: str, purpose: str = "mirror") -> Path:
    """A folder of the cache with everything of a dataset but its tars; another one for each purpose.

    Raises:
        DatasetError: There is no dataset.
        StorageError: The store or the disk fails.
    """
    remote = RemoteDataset(url)
    layout = DatasetLayout(mirror_folder(url, purpose))
    atomic.make_folder(layout.root, mode=0o700)
    atomic.write_file(layout.root / ORIGIN_NAME, json.dumps({"url": remote.url}).encode(), mode=0o600)
    if not remote.fetch(layout.dataset_json.name, layout.dataset_json):
        raise DatasetError(f"no dataset in {remote.url}: dataset.json is missing; build one with: radio shard build")
    fetch_small_files(layout)
    return layout.root


def fetch_small_files(layout: DatasetLayout) -> None:
    """Make index, records, DALI indexes and labels those of the store, whatever state they are in.

    Raises:
        StorageError: The store or the disk fails.
    """
    remote = origin_of(layout.root)
    assert remote is not None, "the folder of a dataset in a store"
    if not remote.fetch(layout.index.name, layout.index):
        layout.index.unlink(missing_ok=True)
    found = remote.names()
    for path in (*layout.record_paths(), *layout.root.rglob(f"*{IDX_SUFFIX}")):
        path.unlink()
    _fetch_labels(remote, layout, found)
    for name in found:
        shard_id, dot, suffix = name.rpartition(".")
        if SHARD_ID.fullmatch(shard_id) and dot + suffix in (IDX_SUFFIX, RECORD_SUFFIX):
            remote.fetch(name, layout.root / name)


def mirror_folder(url: str, purpose: str) -> Path:
    """Where `mirror` puts it."""
    return cache_folder(RemoteDataset(url).url).with_suffix(f".{purpose}")


def cache_folder(url: str) -> Path:
    """The folder of the cache for a URL; the URL itself is not in its name."""
    base = os.environ.get("RADIO_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "radio" / hashlib.sha256(url.encode()).hexdigest()[:24]


def _shard_ids(names: dict[str, ObjectFacts]) -> set[str]:
    ids = (name.removesuffix(RECORD_SUFFIX) for name in names if name.endswith(RECORD_SUFFIX))
    return {shard_id for shard_id in ids if SHARD_ID.fullmatch(shard_id)}


def _is_whole(shard_id: str, found: dict[str, ObjectFacts]) -> bool:
    return all(shard_id + suffix in found for suffix in (TAR_SUFFIX, IDX_SUFFIX, RECORD_SUFFIX))
