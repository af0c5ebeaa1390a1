"""Damaged images of a run: remembered, counted, replaced, and too many of them an end.

Comes in: a row that could not be read or decoded, and the step that wanted it. Goes out: rows that may stand in for it,
the same on every machine; a line in the quarantine file. Refuses to go on past `max_bad`, with a `TrainingError` that
names the shard.
"""

import json
import os
import threading
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from radio_io import atomic
from radio_io.errors import TrainingError
from radio_io.loading.order import OrderState, scatter
from radio_io.loading.table import ImageTable

CANDIDATES = 8
"""Images tried in place of a damaged one, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BadImage:
    """A damaged image: where, why, in which step, and the image that took its place (None: its place stays empty)."""

    key: str
    shard_id: str
    reason: str
    epoch: int
    step: int
    replaced_by: str | None


class Quarantine:
    """The damaged images that one process has met; safe to use from several threads."""

    def __init__(self, table: ImageTable, *, max_bad: int, patch_size: int, file: Path | None = None) -> None:
        self._table, self._max_bad, self._patch_size, self._file = table, max_bad, patch_size, file
        self._reasons: dict[int, str] = {}
        self._lock = threading.Lock()
        self.images: list[BadImage] = []

    def __len__(self) -> int:
        return len(self._reasons)

    def __contains__(self, row: int) -> bool:
        return row in self._reasons

    def add(self, row: int, reason: str) -> None:
        """Remember a damaged image.

        Raises:
            TrainingError: These are too many.
        """
        with self._lock:
            self._reasons.setdefault(row, reason)
            if len(self._reasons) > self._max_bad:
                raise TrainingError(self._too_many(row))

    def record(self, row: int, state: OrderState, stand_in: int | None) -> None:
        """Note what happened in a step, in memory and in the quarantine file."""
        image = BadImage(
            key=self._table.key(row),
            shard_id=self._table.shard_ids[self._table.shards[row]],
            reason=self._reasons.get(row, "damaged"),
            epoch=state.epoch,
            step=state.step,
            replaced_by=None if stand_in is None else self._table.key(stand_in),
        )
        with self._lock:
            self.images.append(image)
            if self._file is not None:
                with atomic.storage_errors(self._file):
                    _append(self._file, json.dumps(asdict(image)) + "\n")

    def stand_ins(self, row: int, state: OrderState) -> list[int]:
        """Images of the same patch grid, in an order that follows from the state and the damaged image alone.

        The grid is the same so that packs, tokens and the loss of the step stay what was planned.
        """
        height, width = self._table.grids_of(np.array([row]), self._patch_size)[0].tolist()
        alike = self._table.rows_of_grid(height, width, self._patch_size)
        alike = alike[alike != row]
        if not len(alike):
            return []
        first = scatter(state, f"stand-in {self._table.key(row)}") % len(alike)
        return [int(alike[(first + number) % len(alike)]) for number in range(min(CANDIDATES, len(alike)))]

    def _too_many(self, row: int) -> str:
        shards = Counter(int(self._table.shards[each]) for each in self._reasons)
        worst, count = shards.most_common(1)[0]
        last = self._table.shard_ids[self._table.shards[row]]
        return (
            f"{len(self._reasons)} images could not be read, at most {self._max_bad} are tolerated (--max-bad); "
            f"{count} of them are in shard {self._table.shard_ids[worst]}; the last was image {self._table.key(row)} "
            f"in shard {last}: {self._reasons[row]}. Check the drive, then the shard: radio shard verify; restore a "
            "damaged shard from a copy or build it again, then go on with --resume"
        )


def _append(file: Path, line: str) -> None:
    """Add a line in one write, so that lines of several processes do not mix."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
