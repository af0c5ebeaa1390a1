"""Takes objects of a dataset out of its store, with all that a store may keep of them.

Comes in: the staging folder of a dataset, names below its URL. Goes out: nothing; afterwards the store has neither the
objects nor older versions of them nor parts of uploads. Refuses what the store refuses: nobody may be told that
something is gone that is not.
"""

import contextlib
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from radio_io import atomic
from radio_io.errors import StorageError
from radio_io.layout import DatasetLayout
from radio_io.object_store import ObjectStore
from radio_io.remote_dataset import RemoteDataset, cache_folder, mirror_folder, origin_of


def remove_from_store(layout: DatasetLayout, *paths: Path) -> None:
    """Remove the objects of these files of the root, in this order; nothing happens for a local dataset.

    Raises:
        StorageError: The store refuses.
    """
    remote = origin_of(layout.root)
    if remote is None:
        return
    store = remote.store
    for path in paths:
        url = f"{remote.url}/{path.relative_to(layout.root).as_posix()}"
        with _errors(remote), contextlib.suppress(FileNotFoundError):
            store.call(lambda url=url: store.files.rm_file(store.path_of(url)))


def purge_history(layout: DatasetLayout, prefixes: list[str]) -> None:
    """Remove older versions of objects whose names begin so, and all uploads that were never completed.

    A bucket that keeps versions gives back whatever was removed or replaced; stores without versions have none. Who
    calls it holds the dataset: an upload under way would be ended.

    Raises:
        StorageError: The store refuses, or still has some afterwards.
    """
    remote = origin_of(layout.root)
    if remote is None or not remote.store.is_s3:
        return
    store = remote.store
    bucket, _, root = store.path_of(remote.url).partition("/")
    with _errors(remote):
        for upload in list(_pending_uploads(store, {"Bucket": bucket, "Prefix": f"{root}/"})):
            with contextlib.suppress(FileNotFoundError):
                _call(store, "abort_multipart_upload", Bucket=bucket, **upload)
    for prefix in prefixes:
        place = {"Bucket": bucket, "Prefix": f"{root}/{prefix}"}
        with _errors(remote):
            for version in list(_older_versions(store, place)):
                _call(store, "delete_object", Bucket=bucket, **version)
            if any(_older_versions(store, place)):
                raise StorageError(f"{remote.url} keeps older versions of {prefix}; end its retention, then run again")


def remove_cached_copies(layout: DatasetLayout) -> None:
    """Remove what this machine's cache has of the dataset; whoever needs it fetches it again.

    Raises:
        StorageError: The disk refuses.
    """
    remote = origin_of(layout.root)
    if remote is None:
        return
    for folder in (cache_folder(remote.url), *(mirror_folder(remote.url, name) for name in ("mirror", "source"))):
        with atomic.storage_errors(folder), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _pending_uploads(store: ObjectStore, place: dict[str, str]) -> Iterator[dict[str, str]]:
    more: dict[str, str] = {}
    while True:
        page = _call(store, "list_multipart_uploads", **place, **more)
        for entry in page.get("Uploads") or ():
            yield {"Key": str(entry["Key"]), "UploadId": str(entry["UploadId"])}
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _older_versions(store: ObjectStore, place: dict[str, str]) -> Iterator[dict[str, str]]:
    """Key and id of every version, and of every mark of a removal, that is not the newest of its object."""
    more: dict[str, str] = {}
    while True:
        page = _call(store, "list_object_versions", **place, **more)
        for entry in (*(page.get("Versions") or ()), *(page.get("DeleteMarkers") or ())):
            if not entry["IsLatest"]:
                yield {"Key": str(entry["Key"]), "VersionId": str(entry["VersionId"])}
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}


def _call(store: ObjectStore, name: str, **request: str) -> dict[str, Any]:
    answer: dict[str, Any] = store.call(lambda: store.files.call_s3(name, **request))
    return answer


@contextlib.contextmanager
def _errors(remote: RemoteDataset) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot remove from {remote.url}: {error.strerror or type(error).__name__}; check the store and the "
            "rights to remove objects, to list versions and to remove versions there, then run the same command again"
        ) from None
