"""Objects below an fsspec URL, past the faults that a network and a busy store recover from.

Comes in: a URL (`s3://bucket/prefix`). Goes out: `ObjectStore`: listing by pages, facts, ranges. Refuses URLs that
carry credentials, protocols whose package is missing, and what stays unreadable after `ATTEMPTS`.

Credentials and the endpoint come from where the protocol's own package looks for them (for S3: the AWS_* variables, the
files in ~/.aws, the role of the machine); nothing here reads, keeps or shows them. Errors name the kind of failure.
"""

import datetime
import errno
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

from radio_io.errors import UsageError

# With answers that are given up after 15 s this stays below the time limit of a file.
ATTEMPTS: Final = 6
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
PAGE_OBJECTS: Final = 1000
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SECRETS: Final = ("signature", "credential", "token", "secret", "password", "key")
_PERMANENT: Final = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)
# Tries are counted here: s3fs and botocore have loops of their own inside, which would multiply the time.
_S3_OPTIONS: Final[dict[str, Any]] = {"config_kwargs": {"retries": {"total_max_attempts": 1, "mode": "standard"}}}
_OPTIONS: Final = {"s3": _S3_OPTIONS, "s3a": _S3_OPTIONS}
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectFacts:
    """An object; `tag` changes with its content where the store tells (its ETag)."""

    url: str
    size_bytes: int
    modified_ns: int
    tag: str


def is_url(text: str) -> bool:
    """Whether text is a URL and no path.

    Example:
        >>> is_url("s3://bucket/export"), is_url("/mnt/export")
        (True, False)
    """
    return _URL.match(text) is not None


def require_no_secret(url: str) -> None:
    """Refuse a URL that carries credentials: it would be kept in tables and shown in messages.

    Raises:
        UsageError: It does; the message does not repeat it.

    Example:
        >>> require_no_secret("s3://bucket/export")
    """
    parts = urlsplit(url)
    named = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if "@" in parts.netloc or any(word in name.lower() for name in named for word in _SECRETS):
        raise UsageError(
            f"a {parts.scheme}:// URL carries a user name, password or signature; give them by the environment instead "
            "(for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; see docs/storage.md)"
        )


def open_object_store(url: str) -> "ObjectStore":
    """The store behind a URL, one for each process, URL scheme and thread.

    Raises:
        UsageError: The URL carries credentials, or its protocol is unknown or its package is missing.
    """
    require_no_secret(url)
    return _store(url.partition("://")[0].lower())


@lru_cache(maxsize=16)
def _store(scheme: str) -> "ObjectStore":
    return ObjectStore(scheme)


class ObjectStore:
    """The objects of one protocol, by their URLs. Safe to call from several threads; not across a fork."""

    def __init__(self, scheme: str) -> None:
        try:
            import fsspec

            # Listings are never kept: they would fill the memory, and hide what changes.
            self.files: Any = fsspec.filesystem(scheme, use_listings_cache=False, **_OPTIONS.get(scheme, {}))
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"cannot open {scheme}:// URLs ({type(error).__name__}); for s3:// install: pip install 'radio[s3]'"
            ) from None
        self.scheme = scheme
        self.is_s3 = hasattr(self.files, "call_s3")
        if self.is_s3:
            self.files.retries = 1

    def path_of(self, url: str) -> str:
        """The path of a URL within the protocol: `bucket/key`."""
        return str(self.files._strip_protocol(url))

    def facts(self, url: str) -> ObjectFacts:
        """Size and version of an object.

        Raises:
            OSError: FileNotFoundError, PermissionError, or EREMOTEIO after all attempts.
        """
        info = self.call(lambda: self.files.info(self.path_of(url)))
        if info.get("type") == "directory":
            raise FileNotFoundError(errno.ENOENT, "no such object")
        return _facts(url, info)

    def read(self, url: str, start: int, count: int) -> bytes:
        """The bytes of a range, fewer at the end of the object.

        Raises:
            OSError: As `facts`.
        """
        if count <= 0:
            return b""
        return bytes(self.call(lambda: self.files.cat_file(self.path_of(url), start=start, end=start + count)))

    def below(self, url: str) -> Iterator[ObjectFacts]:
        """The objects below a URL as a folder, page by page, sorted within each folder.

        Raises:
            OSError: As `facts`.
        """
        root = self.path_of(url).rstrip("/")
        yield from self._pages(root) if self.is_s3 else self._folder(root)

    def call(self, ask: Callable[[], Answer]) -> Answer:
        """What a request gives, asked again after faults that may pass, each time after a longer pause.

        Raises:
            OSError: As `facts`.
        """
        kind = ""
        for attempt in range(ATTEMPTS):
            try:
                return ask()
            except _PERMANENT:
                raise
            except Exception as error:  # noqa: BLE001 - each fsspec backend has errors of its own
                kind = type(error).__name__
            if attempt < ATTEMPTS - 1:
                pause_s = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
                time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries, no secret
        raise OSError(errno.EREMOTEIO, f"the object store answered {kind}, {ATTEMPTS} times")

    def _pages(self, root: str) -> Iterator[ObjectFacts]:
        bucket, _, prefix = root.partition("/")
        more: dict[str, Any] = {}
        while True:
            request = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", "MaxKeys": PAGE_OBJECTS} | more
            page = self.call(lambda request=request: self.files.call_s3("list_objects_v2", **request))
            for entry in page.get("Contents", ()):
                if not str(entry["Key"]).endswith("/"):
                    info = {"size": entry["Size"], "LastModified": entry["LastModified"], "ETag": entry.get("ETag")}
                    yield _facts(f"{self.scheme}://{bucket}/{entry['Key']}", info)
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _folder(self, root: str) -> Iterator[ObjectFacts]:
        entries = self.call(lambda: self.files.ls(root, detail=True))
        for info in sorted(entries, key=lambda info: str(info["name"])):
            name = str(info["name"])
            if name.rstrip("/") == root:
                continue
            if info.get("type") == "directory":
                yield from self._folder(name.rstrip("/"))
            else:
                yield _facts(str(self.files.unstrip_protocol(name)), info)


def _facts(url: str, info: dict[str, Any]) -> ObjectFacts:
    changed = info.get("LastModified") or info.get("mtime") or info.get("updated") or info.get("created") or 0
    if isinstance(changed, datetime.datetime):
        changed = changed.timestamp()
    seconds = float(changed) if isinstance(changed, int | float) else 0.0
    tag = str(info.get("ETag") or info.get("etag") or info.get("md5Hash") or "")
    return ObjectFacts(
        url=url, size_bytes=int(info["size"] or 0), modified_ns=round(seconds * 1000) * 1_000_000, tag=tag
    )
