"""Which images are in which step: a pure function of seed, epoch, step and the selected images.

Comes in: an `ImageTable` and an `OrderState` of four integers. Goes out: the rows of a step, and the order of an epoch
(650,000 images in about 0.2 s). Nothing depends on ranks, workers, budgets, the clock or NumPy's generators (whose
streams may change between versions): all randomness is SplitMix64 of counters.

A shard holds a random sample of its bin, so that reading some shards side by side, each from a random place on and in
its own order, is a good shuffle that storage likes: at any time about `window_shards` shards of all bins are being
read, each sequentially, and a step takes a short run from each. Shards start one after another in a random order, new
in every epoch; the epoch is a circle, so that its beginning is as mixed as its middle.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import UsageError
from radio_io.loading.table import ImageTable, Rows

RUN_BYTES = 16 << 20
"""Bytes that a step takes from one shard, about: 5 ms of latency are then 4 % at 1 Gbit/s, without read-ahead."""
FULL_SHUFFLE_BYTES = 8 << 30
"""A selection up to this size stays in the page cache after its first epoch: it is shuffled regardless of shards."""
MIN_WINDOW_SHARDS = 32
"""Shards read side by side at least, however small the images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderState:
    """Where training stands: the next step to do. Saved with every checkpoint, it is all that a resume needs.

    Example:
        >>> OrderState(seed=7, step_images=1024)
        OrderState(seed=7, epoch=0, step=0, step_images=1024)
    """

    seed: int
    epoch: int = 0
    step: int = 0
    step_images: int = 1024

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.step_images < 1 or self.epoch < 0 or self.step < 0 or not 0 <= self.seed < 1 << 63:
            raise UsageError(
                f"found {self}, expected step_images of at least 1, epoch and step of at least 0 and "
                "a seed from 0 to 2**63 - 1"
            )

    def after(self, epoch: int, step: int, num_images: int) -> "OrderState":
        """The state after a step of an epoch of `num_images` images."""
        if step + 1 < steps_per_epoch(num_images, self.step_images):
            return replace(self, epoch=epoch, step=step + 1)
        return replace(self, epoch=epoch + 1, step=0)


def steps_per_epoch(num_images: int, step_images: int) -> int:
    """How many steps an epoch has; the last one may have fewer images."""
    return -(-num_images // step_images)


def images_of_step(table: ImageTable, state: OrderState, *, shuffle: bool = True) -> Rows:
    """The rows of one step, in reading order: runs of neighbours in a shard, the shards in random order.

    Raises:
        UsageError: When the epoch has no such step.
    """
    return _step_rows(table, state, epoch_order(table, state, shuffle=shuffle), shuffle=shuffle)


def epoch_order(table: ImageTable, state: OrderState, *, shuffle: bool = True) -> Rows:
    """[n]: all rows of the table, in the order of the epoch; a step is a slice of it."""
    if not shuffle:
        return np.arange(len(table), dtype=np.int64)
    if table.full_size_bytes <= FULL_SHUFFLE_BYTES:
        return np.argsort(_mix(np.arange(len(table), dtype=np.uint64) + _stream(state, "images")), kind="stable")
    return np.argsort(_places(table, state), kind="stable")


def scatter(state: OrderState, name: str) -> int:
    """A number that follows from seed, epoch, step and a name: a choice that all machines make alike."""
    name_hash = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    return int(_mix(np.array([name_hash], np.uint64) + _stream(state, "scatter", state.step))[0])


def window_shards(table: ImageTable, step_images: int) -> int:
    """How many shards are read side by side: so many that a step takes about `RUN_BYTES` from each."""
    step_bytes = step_images * table.full_size_bytes / len(table)
    return max(MIN_WINDOW_SHARDS, round(step_bytes / RUN_BYTES))


def orders(table: ImageTable, state: OrderState, *, shuffle: bool = True) -> Iterator[tuple[OrderState, Rows]]:
    """Every step from `state` on, epoch after epoch without end: its state and its rows in reading order."""
    while True:
        order = epoch_order(table, state, shuffle=shuffle)
        for step in range(state.step, steps_per_epoch(len(table), state.step_images)):
            state = replace(state, step=step)
            yield state, _step_rows(table, state, order, shuffle=shuffle)
        state = replace(state, epoch=state.epoch + 1, step=0)


def _step_rows(table: ImageTable, state: OrderState, order: Rows, *, shuffle: bool) -> Rows:
    """The rows of one step of an epoch whose order is known, in reading order."""
    rows = order[state.step * state.step_images : (state.step + 1) * state.step_images]
    if not len(rows):
        steps = steps_per_epoch(len(order), state.step_images)
        raise UsageError(
            f"found step {state.step}, expected 0 to {steps - 1}: an epoch of {len(order)} images has {steps} steps"
        )
    if not shuffle:
        return rows
    shards = table.shards[rows]
    shard_hash = _mix(shards.astype(np.uint64) + _stream(state, "runs", state.step))
    return rows[np.lexsort((rows, shard_hash))]


def _places(table: ImageTable, state: OrderState) -> NDArray[np.float64]:
    """[n]: where each image stands on the circle of the epoch, whose length is the number of shards.

    The shard that starts at `s` spreads its images over `s` to `s + window`, in its own order from a random one on.
    """
    starts_in_table = np.flatnonzero(np.diff(table.shards, prepend=-1))
    lengths = np.diff(starts_in_table, append=len(table))
    count = len(lengths)
    shard_hash = _mix(table.shards[starts_in_table].astype(np.uint64) + _stream(state, "shards"))
    starts = np.empty(count)
    starts[np.argsort(shard_hash, kind="stable")] = np.arange(count)
    turn = _mix(shard_hash) % lengths.astype(np.uint64)
    window = min(count, window_shards(table, state.step_images))

    places = (np.arange(len(table)) - np.repeat(starts_in_table - turn.astype(np.int64), lengths)).astype(np.float64)
    per_image = np.repeat(lengths.astype(np.float64), lengths)
    np.mod(places, per_image, out=places)
    jitter = _mix(np.arange(len(table), dtype=np.uint64) + _stream(state, "images"))
    places += (jitter >> np.uint64(11)) * 2.0**-53
    places *= window / per_image
    places += np.repeat(starts, lengths)
    return np.mod(places, count, out=places)


def _stream(state: OrderState, name: str, step: int = 0) -> np.uint64:
    """The counter from which the hashes of one purpose start."""
    seed = np.array(
        [state.seed, state.epoch, step, int.from_bytes(name.encode(), "little") % (1 << 63)], dtype=np.uint64
    )
    mixed = np.zeros(1, dtype=np.uint64)
    for part in seed:
        mixed = _mix(mixed + part)
    return mixed[0]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64 of each value.

    Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
    """
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
