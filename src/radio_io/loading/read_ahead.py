"""Encoded images, fetched before they are needed, in large requests, within a bounded memory.

Comes in: groups of rows in the order of their use (a group is a pack), a store, perhaps a cache. Goes out: each group
with the bytes of its images, or the `OSError` that kept them away. Never waits longer than `timeout_s` for a request.

Groups are fetched in windows of up to half the memory, so that one window is read while the other is used; within a
window, neighbouring images of a shard become one request. The first windows are small, for a quick start.

The threads are daemons of our own: one that a dead network drive never answers must not keep the process from ending.
"""

import errno
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from radio_io.loading.cache import ImageCache
from radio_io.loading.reading import Range, ReadConfig, plan_ranges
from radio_io.loading.store import ShardStore
from radio_io.loading.table import ImageTable, Rows

GroupT = TypeVar("GroupT")
Encoded: TypeAlias = bytes | OSError
POLL_S = 0.5
CACHED_AT_ONCE = 8
MAX_WINDOW = 64
"""Groups of a window at most, however small: about a step, since nothing can be gained by reading further ahead."""
URGENT, AHEAD = 0, 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched(Generic[GroupT]):
    """A group, and the bytes of each of its images."""

    group: GroupT
    encoded: tuple[Encoded, ...]


@dataclass(kw_only=True, slots=True)
class ReadCounts:
    """What was read so far: requests and bytes from the store, images from the cache, requests given up."""

    requests: int = 0
    store_bytes: int = 0
    cached_images: int = 0
    given_up: int = 0


class _Task:
    """Rows in, a result a row out: one range, or each row by itself. `began_s`: since when a thread works on it."""

    def __init__(self, rows: list[int], wanted: Range | None, *, past_cache: bool = False) -> None:
        self.rows, self.wanted, self.past_cache = rows, wanted, past_cache
        self.began_s: float | None = None
        self.result: Future[list[Encoded]] = Future()


class ReadAhead:
    """The reading threads; `run` may be called once."""

    def __init__(self, table: ImageTable, store: ShardStore, config: ReadConfig, cache: ImageCache | None) -> None:
        self._table, self._store, self._config, self._cache = table, store, config, cache
        self._tasks: queue.PriorityQueue[tuple[int, int, _Task | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False
        self.counts = ReadCounts()

    def run(self, groups: Iterable[tuple[GroupT, Rows]]) -> Iterator[Fetched[GroupT]]:
        """Each group with its bytes, in order. `groups` may be endless: it is drawn from as memory allows."""
        for _ in range(self._config.streams):
            self._start_thread()
        source = iter(groups)
        waiting: deque[tuple[GroupT, list[tuple[_Task, int]], int]] = deque()
        used, window_groups = 0, 1
        half = self._config.read_ahead_bytes // 2
        exhausted = False
        while True:
            while not exhausted and ((used <= half and len(waiting) <= MAX_WINDOW) or not waiting):
                window = list(self._draw(source, self._config.read_ahead_bytes - used, half, window_groups))
                exhausted = not window
                used += sum(size for _, _, size in window)
                waiting.extend(self._submit(window))
                window_groups = min(2 * window_groups, MAX_WINDOW)
            if not waiting:
                return
            group, parts, size = waiting.popleft()
            encoded = tuple(self._wait(task, place) for task, place in parts)
            if self._closed:
                return
            yield Fetched(group=group, encoded=encoded)
            used -= size

    def close(self) -> None:
        """End the threads; one that the storage does not answer is left behind."""
        self._closed = True
        for _ in self._threads:
            self._put(URGENT, None)
        end_s = time.monotonic() + 2.0
        for thread in self._threads:
            thread.join(timeout=max(0.0, end_s - time.monotonic()))

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will be read."""
        return self._closed

    def fetch_now(self, row: int) -> Encoded:
        """The bytes of one image, before all that is read ahead and not from the cache."""
        task = _Task([row], None, past_cache=True)
        self._put(URGENT, task)
        return self._wait(task, 0)

    def _draw(
        self, source: Iterator[tuple[GroupT, Rows]], free: int, half: int, most: int
    ) -> Iterator[tuple[GroupT, Rows, int]]:
        """The groups of the next window: at most `most`, within half the memory and what is free; at least one."""
        taken = 0
        for group, rows in itertools.islice(source, most):
            size = int(self._table.sizes[rows].sum())
            yield group, rows, size
            taken += size
            if taken + size > min(free, half):  # the next one is likely as large
                return

    def _submit(self, window: list[tuple[GroupT, Rows, int]]) -> Iterator[tuple[GroupT, list[tuple[_Task, int]], int]]:
        if not window:
            return
        rows = np.concatenate([each for _, each, _ in window]).astype(np.int64)
        parts: list[tuple[_Task, int] | None] = [None] * len(rows)
        for task, places in self._plan(rows):
            for number, place in enumerate(places):
                parts[place] = task, number
            self._put(AHEAD, task)
        start = 0
        for group, own, size in window:
            yield group, [part for part in parts[start : start + len(own)] if part is not None], size
            start += len(own)

    def _plan(self, rows: Rows) -> Iterator[tuple[_Task, list[int]]]:
        cache = self._cache
        cached = np.array([cache is not None and cache.holds(row) for row in rows.tolist()], np.bool_)
        there = np.flatnonzero(cached).tolist()
        for start in range(0, len(there), CACHED_AT_ONCE):
            places = there[start : start + CACHED_AT_ONCE]
            yield _Task(rows[places].tolist(), None), places
        missing = np.flatnonzero(~cached)
        for wanted in plan_ranges(self._table, rows[missing], self._config):
            places = missing[list(wanted.places)].tolist()
            yield _Task(rows[places].tolist(), wanted), places

    def _wait(self, task: _Task, number: int) -> Encoded:
        while not self._closed:
            try:
                return task.result.result(timeout=POLL_S)[number]
            except TimeoutError:
                began_s = task.began_s
                if began_s is not None and time.monotonic() - began_s > self._config.timeout_s:
                    self._give_up(task)
        return OSError(errno.ECANCELED, "the loader was closed")

    def _give_up(self, task: _Task) -> None:
        message = f"no answer from the storage in {self._config.timeout_s:g} s"
        with self._lock:
            if task.result.done():
                return
            task.result.set_result([OSError(errno.ETIMEDOUT, message)] * len(task.rows))
            self.counts.given_up += 1
        self._start_thread()  # in place of the one that waits

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name="radio-read", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (task := self._tasks.get()[2]) is not None and not self._closed:
            task.began_s = time.monotonic()
            result: list[Encoded] | Exception
            try:
                result = self._singles(task) if task.wanted is None else self._from_range(task, task.wanted)
            except Exception as error:  # noqa: BLE001 - reaches whoever waits for this task
                result = error
            with self._lock:
                if task.result.done():
                    return  # given up meanwhile: another thread has taken this one's place
                if isinstance(result, Exception):
                    task.result.set_exception(result)
                else:
                    task.result.set_result(result)

    def _put(self, priority: int, task: _Task | None) -> None:
        self._tasks.put((priority, next(self._numbers), task))

    def _singles(self, task: _Task) -> list[Encoded]:
        found: list[Encoded] = []
        for row in task.rows:
            data = self._cache.get(row) if self._cache and not task.past_cache else None
            found.append(self._single(row) if data is None else data)
            with self._lock:
                self.counts.cached_images += data is not None
        return found

    def _from_range(self, task: _Task, wanted: Range) -> list[Encoded]:
        shard_id = self._table.shard_ids[wanted.shard]
        try:
            whole = self._store.read(shard_id, wanted.offset, wanted.size)
        except OSError as error:
            if len(task.rows) == 1:
                return [error]
            return [self._single(row) for row in task.rows]  # only some of them may be out of reach
        with self._lock:
            self.counts.requests += 1
            self.counts.store_bytes += len(whole)
        if len(task.rows) == 1:  # the range is the image: no copy
            return [self._kept(task.rows[0], whole)]
        found: list[Encoded] = []
        data = memoryview(whole)
        for row in task.rows:
            start = int(self._table.offsets[row]) - wanted.offset
            found.append(self._kept(row, bytes(data[start : start + int(self._table.sizes[row])])))
        return found

    def _single(self, row: int) -> Encoded:
        shard_id = self._table.shard_ids[self._table.shards[row]]
        try:
            data = self._store.read(shard_id, int(self._table.offsets[row]), int(self._table.sizes[row]))
        except OSError as error:
            return error
        with self._lock:
            self.counts.requests += 1
            self.counts.store_bytes += len(data)
        return self._kept(row, data)

    def _kept(self, row: int, data: bytes) -> bytes:
        if self._cache is not None and len(data) == self._table.sizes[row]:
            self._cache.put(row, data)
        return data
