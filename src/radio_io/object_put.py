"""A local file into an object store, in one piece and checked, or not at all.

Comes in: a file and a URL. Goes out: the object, compared with the file after it was written. Refuses what the store
refuses (`StorageError`); then there is no part of the object, and no pending upload.
"""

import contextlib
import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any, Final

from radio_io.errors import StorageError
from radio_io.object_store import ObjectStore

PART_BYTES: Final = 64 << 20
"""S3 takes 10,000 parts of at least 5 MiB: enough for 640 GB."""
_BLOCK_BYTES: Final = 8 << 20


def put_object(store: ObjectStore, path: Path, url: str) -> None:
    """Write a file as the object `url`, replacing one that is there.

    Raises:
        StorageError: The store refuses, or holds other bytes afterwards.
    """
    try:
        if store.is_s3:
            _put_s3(store, path, url)
        else:
            store.call(lambda: store.files.put_file(str(path), store.path_of(url)))
            _require_equal(store, path, url)
    except OSError as error:
        advice = "check the store and the rights to write there, then run the same command again to go on"
        raise StorageError(f"cannot write {url}: {error.strerror or type(error).__name__}; {advice}") from None


def _put_s3(store: ObjectStore, path: Path, url: str) -> None:
    bucket, _, key = store.path_of(url).partition("/")
    place = {"Bucket": bucket, "Key": key}
    if path.stat().st_size <= PART_BYTES:
        body = path.read_bytes()
        digest = _md5(body)
        store.call(lambda: store.files.call_s3("put_object", **place, Body=body, ContentMD5=b64encode(digest).decode()))
        expected = digest.hex()
    else:
        _abort_pending(store, place)
        try:
            expected = _put_parts(store, path, place)
        finally:
            # An answer that was lost on the way may have left a second upload.
            with contextlib.suppress(OSError):
                _abort_pending(store, place)
    if store.facts(url).tag.strip('"') != expected:
        _require_equal(store, path, url)  # encrypted stores have tags of another kind


def _put_parts(store: ObjectStore, path: Path, place: dict[str, str]) -> str:
    """Upload in parts; returns the tag of the whole object."""
    upload = store.call(lambda: store.files.call_s3("create_multipart_upload", **place))["UploadId"]
    parts: list[dict[str, Any]] = []
    digests = b""
    with path.open("rb") as file:
        while body := file.read(PART_BYTES):
            digest = _md5(body)
            request = {"UploadId": upload, "PartNumber": len(parts) + 1, "ContentMD5": b64encode(digest).decode()}
            answer = store.call(
                lambda request=request, body=body: store.files.call_s3("upload_part", **place, **request, Body=body)
            )
            parts.append({"ETag": answer["ETag"], "PartNumber": request["PartNumber"]})
            digests += digest
    with contextlib.suppress(FileNotFoundError):  # a second try after an answer that was lost: it is complete
        store.call(
            lambda: store.files.call_s3(
                "complete_multipart_upload", **place, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        )
    return f"{_md5(digests).hex()}-{len(parts)}"


def _abort_pending(store: ObjectStore, place: dict[str, str]) -> None:
    """End the uploads of this object that were begun and never completed, as by a process that was killed."""
    listed = store.call(
        lambda: store.files.call_s3("list_multipart_uploads", Bucket=place["Bucket"], Prefix=place["Key"])
    )
    for upload in listed.get("Uploads") or ():
        if upload["Key"] == place["Key"]:
            with contextlib.suppress(FileNotFoundError):
                store.call(
                    lambda upload=upload: store.files.call_s3(
                        "abort_multipart_upload", **place, UploadId=upload["UploadId"]
                    )
                )


def _require_equal(store: ObjectStore, path: Path, url: str) -> None:
    """Read the object back; another one is removed.

    Raises:
        StorageError: It is not the file.
    """
    size = path.stat().st_size
    digest = hashlib.sha256()
    for position in range(0, size, _BLOCK_BYTES):
        digest.update(store.read(url, position, min(_BLOCK_BYTES, size - position)))
    with path.open("rb") as file:
        same = hashlib.file_digest(file, "sha256").digest() == digest.digest()
    if not same or store.facts(url).size_bytes != size:
        store.call(lambda: store.files.rm_file(store.path_of(url)))
        raise StorageError(f"{url} reads back differently from what was written; it was removed: run the command again")


def _md5(data: bytes) -> bytes:
    """What S3 calls the tag of an object that it does not encrypt."""
    return hashlib.md5(data, usedforsecurity=False).digest()
