"""Reads the file that comes next while the current one is decoded: a slow drive and a core work at the same time.

Comes in: paths in the order in which they will be taken. Goes out: the bytes of each. Refuses what reading refuses, at
the moment when the file is taken. One file beside the current one is in memory.
"""

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from radio_io.dicom.parse import read_bytes


class FilesAhead:
    """The bytes of files, one after another. The order may be left: what was not read ahead is read when asked for."""

    __slots__ = ("_archives", "_next", "_paths", "_pending", "_pool")

    def __init__(self, pool: ThreadPoolExecutor, paths: Sequence[str], archives: Path | None) -> None:
        self._pool, self._paths, self._archives = pool, tuple(dict.fromkeys(paths)), archives
        self._next = {path: number + 1 for number, path in enumerate(self._paths)}
        self._pending: tuple[str, Future[bytes]] | None = None

    def take(self, path: str) -> bytes:
        """The bytes of the file; the one after it is read from now on.

        Raises:
            ImageRejectedError: As `read_bytes`.
        """
        pending, self._pending = self._pending, None
        try:
            return pending[1].result() if pending and pending[0] == path else read_bytes(path, self._archives)
        finally:
            self._begin(self._next.get(path, len(self._paths)))

    def _begin(self, number: int) -> None:
        if number < len(self._paths):
            path = self._paths[number]
            self._pending = (path, self._pool.submit(read_bytes, path, self._archives))


@contextmanager
def files_ahead(paths: Sequence[str], archives: Path | None) -> Generator[FilesAhead, None, None]:
    """`FilesAhead` for the block; a read that is under way at its end is not waited for."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="file-ahead")
    try:
        yield FilesAhead(pool, paths, archives)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
