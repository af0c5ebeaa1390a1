"""A folder as a slow network drive shows it: a FUSE file system with a set latency and bandwidth.

Comes in: a folder, bandwidth, latency. Goes out: the same files below a mount point, read only. Each request waits for
the latency; all requests together share the bandwidth, as on one network link. The kernel keeps no pages (direct I/O),
so that each epoch reads anew. Refuses, with a `UsageError`, a machine without libfuse3 (package fuse3) or `mfusepy`.

Run as a process of its own, since its threads would compete with those that are measured.
"""

import argparse
import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radio_io.benchmarks.timing import cpu_seconds_of
from radio_io.errors import UsageError

MOUNT_TIMEOUT_S = 20.0
THREADS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Mounted:
    """Where the files are, and the process that carries them."""

    path: Path
    pid: int

    @property
    def cpu_s(self) -> float:
        """CPU seconds that the process has taken so far."""
        return cpu_seconds_of(self.pid)


@contextlib.contextmanager
def throttled(source: Path, mount: Path, *, mbit_per_s: float, latency_ms: float) -> Generator[Mounted, None, None]:
    """`source` through a slow link, at `mount`, while the block runs.

    Raises:
        UsageError: This machine cannot mount it.
    """
    if importlib.util.find_spec("mfusepy") is None or not Path("/dev/fuse").exists():
        raise UsageError("a throttled store needs FUSE: install the package fuse3, then: pip install mfusepy")
    mount.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "radio_io.benchmarks.throttled_folder", str(source), str(mount)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [*command, "--mbit", str(mbit_per_s), "--latency-ms", str(latency_ms)],
        env=environment,
        stderr=subprocess.PIPE,
    )
    try:
        _await_mount(mount, process)
        yield Mounted(path=mount, pid=process.pid)
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(mount)], check=False, capture_output=True)
        process.terminate()
        process.communicate(timeout=MOUNT_TIMEOUT_S)


def _await_mount(mount: Path, process: "subprocess.Popen[bytes]") -> None:
    end_s = time.monotonic() + MOUNT_TIMEOUT_S
    while not mount.is_mount():
        if process.poll() is not None or time.monotonic() > end_s:
            process.kill()
            said = process.communicate()[1].decode(errors="replace").strip().splitlines()
            raise UsageError(
                f"cannot mount a throttled store: {said[-1] if said else 'no answer'}; is fuse3 installed?"
            )
        time.sleep(0.02)


class Link:
    """A link whose bandwidth all requests share: each books its time on it, then waits until that is over."""

    def __init__(self, bytes_per_s: float, latency_s: float) -> None:
        self._bytes_per_s, self._latency_s = bytes_per_s, latency_s
        self._free_s = 0.0
        self._lock = threading.Lock()

    def carry(self, size: int) -> None:
        """Wait as long as `size` bytes take, after those that were asked for before."""
        now_s = time.monotonic()
        with self._lock:
            begin_s = max(self._free_s, now_s + self._latency_s)
            self._free_s = begin_s + size / self._bytes_per_s
            end_s = self._free_s
        time.sleep(max(0.0, end_s - time.monotonic()))


class ThrottledFolder:
    """What libfuse asks for, by the names that mfusepy knows."""

    use_ns = True

    def __init__(self, source: Path, link: Link) -> None:
        self._source, self._link = source, link

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        """What `stat` says; kernels cache it, so it costs nothing."""
        del fh
        status = self._real(path).stat()
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size")
        times = {name: getattr(status, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")}
        return {name: getattr(status, name) for name in names} | times

    def readdir(self, path: str, fh: int) -> list[str]:
        """The names in a folder."""
        del fh
        self._link.carry(0)
        return [".", "..", *(entry.name for entry in self._real(path).iterdir())]

    def open(self, path: str, fi: Any) -> int:  # noqa: ANN401 - a structure of libfuse
        """Open for reading, past the page cache."""
        self._link.carry(0)
        fi.fh = os.open(self._real(path), os.O_RDONLY)
        fi.direct_io = True
        return 0

    def read(self, path: str, size: int, offset: int, fi: Any) -> bytes:  # noqa: ANN401 - the same
        """Bytes, as slowly as the link carries them."""
        del path
        data = os.pread(fi.fh, size, offset)
        self._link.carry(len(data))
        return data

    def release(self, path: str, fi: Any) -> int:  # noqa: ANN401 - the same
        """Close."""
        del path
        os.close(fi.fh)
        return 0

    def _real(self, path: str) -> Path:
        return self._source / path.lstrip("/")


def main() -> None:
    """Mount until unmounted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("mount", type=Path)
    parser.add_argument("--mbit", type=float, default=1000.0, help="bandwidth in Mbit/s")
    parser.add_argument("--latency-ms", type=float, default=5.0, help="latency of each request")
    arguments = parser.parse_args()
    mfusepy: Any = importlib.import_module("mfusepy")
    link = Link(arguments.mbit * 1e6 / 8, arguments.latency_ms / 1e3)
    operations = type("Operations", (ThrottledFolder, mfusepy.Operations), {})(arguments.source.resolve(), link)
    mfusepy.FUSE(operations, str(arguments.mount), foreground=True, ro=True, raw_fi=True, max_threads=THREADS)


if __name__ == "__main__":
    main()
