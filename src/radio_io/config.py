"""What a shard build is told: the configuration of `scan_sources` and `build_dataset`.

Comes in: values of the command line or of `radio.toml`, already parsed. Goes out: `BuildConfig`. Refuses: values that
cannot be meant.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from radio_io.cluster import is_cluster
from radio_io.codecs.registry import get_codec
from radio_io.errors import ConfigError
from radio_io.layout import Split
from radio_io.object_store import is_url, require_no_secret
from radio_io.sharding.bins import DEFAULT_NOTATION, Bins

FILE_SECONDS: Final = 5.0
DEFAULT_MODALITIES: Final = frozenset({"CR", "DX", "RG"})


class RenderMode(StrEnum):
    """The recipe from stored pixels to radiographs: nothing but the modality's, or the first VOI window as well."""

    MODALITY = "modality"
    VOI = "voi"


class DatePolicy(StrEnum):
    """What becomes of study dates."""

    SHIFT = "shift"
    YEAR = "year"
    DROP = "drop"


class FramePolicy(StrEnum):
    """What becomes of files with several frames: a reject, the first frame, or an image of each frame."""

    REJECT = "reject"
    FIRST = "first"
    ALL = "all"


class TextMode(StrEnum):
    """What is done about text in the pixels: nothing, a score for each image, or blank boxes as well."""

    OFF = "off"
    DETECT = "detect"
    MASK = "mask"


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitShares:
    """The shares of patients in each split; they add up to 1.

    Example:
        >>> SplitShares().split_of(0.79), SplitShares().split_of(0.81), SplitShares().split_of(0.86)
        (<Split.TRAIN: 'train'>, <Split.VAL: 'val'>, <Split.TEST: 'test'>)
    """

    train: float = 0.80
    val: float = 0.05
    test: float = 0.15

    def __post_init__(self) -> None:
        shares = (self.train, self.val, self.test)
        if any(share < 0 for share in shares) or abs(sum(shares) - 1) > 1e-9:
            raise ConfigError(
                f"splits {shares}: expected three shares from 0 to 1 with sum 1, for example 0.8, 0.05, 0.15"
            )

    @property
    def upper_ends(self) -> tuple[tuple[Split, float], ...]:
        """Each split with the fraction below which it ends."""
        return ((Split.TRAIN, self.train), (Split.VAL, round(self.train + self.val, 12)), (Split.TEST, 2.0))

    def split_of(self, fraction: float) -> Split:
        """The split of a patient whose keyed hash gives `fraction` in [0, 1)."""
        return next(split for split, end in self.upper_ends if fraction < end)


@dataclass(frozen=True, slots=True)
class TaskShare:
    """Share `index` of `count` equal ones: every `count`-th shard of the plan, from `index` on."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "TaskShare":
        """From `I/N`, I counting from 0.

        Raises:
            ConfigError: It is none.

        Example:
            >>> TaskShare.parse("0/3")
            TaskShare(index=0, count=3)
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise ConfigError(f"task is {text!r}; expected I/N with I from 0 to N - 1, such as 0/16")
        return cls(int(index), int(count))

    def takes(self, position: int) -> bool:
        """Whether the shard at this position of the plan belongs to the share."""
        return position % self.count == self.index


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """Everything that decides what a build makes, and how.

    `min_shard_images` holds against `shard_size_bytes` where a shard would have fewer images; 1 switches it off.
    `dataset_url` says that the dataset goes to an object store, and `dataset` is the staging folder for it.
    `executor` is local, dask or a scheduler's address; `task` leaves all shards but one share to other processes.
    `file_timeout_s` and `worker_memory_bytes` bound what one file may take before it is rejected.
    """

    dataset: Path
    dataset_url: str | None = None
    sources: tuple[str, ...] = ()
    bins: Bins = field(default_factory=lambda: Bins.parse(DEFAULT_NOTATION))
    codec: str = "htj2k"
    shard_size_bytes: int = 1_000_000_000
    min_shard_images: int = 100
    modalities: frozenset[str] | None = DEFAULT_MODALITIES
    workers: int = 1
    render: RenderMode = RenderMode.MODALITY
    dates: DatePolicy = DatePolicy.SHIFT
    frames: FramePolicy = FramePolicy.REJECT
    allow_burned_in: bool = False
    text: TextMode = TextMode.OFF
    regions_file: Path | None = None
    splits: SplitShares = SplitShares()
    seed: int = 0
    executor: str = "local"
    task: TaskShare | None = None
    file_timeout_s: float = 120.0
    worker_memory_bytes: int = 6 << 30

    def __post_init__(self) -> None:
        for source in self.sources:
            if is_url(source):
                require_no_secret(source)
        get_codec(self.codec)
        is_cluster(self.executor)
        _set_choice(self, "render", RenderMode)
        _set_choice(self, "dates", DatePolicy)
        _set_choice(self, "frames", FramePolicy)
        _set_choice(self, "text", TextMode)
        for name, least in (
            ("shard_size_bytes", 1),
            ("min_shard_images", 1),
            ("workers", 0),
            ("worker_memory_bytes", 1 << 30),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if not self.file_timeout_s > 0:
            raise ConfigError(f"file_timeout_s is {self.file_timeout_s}; expected more than 0 seconds")

    def shard_timeout_s(self, files: int) -> float:
        """What a shard of so many files may take; a file that hangs is ended much earlier, by its own limit."""
        return self.file_timeout_s + FILE_SECONDS * files


def _set_choice(config: BuildConfig, name: str, choices: type[StrEnum]) -> None:
    value = str(getattr(config, name))
    if value not in list(choices):
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
    object.__setattr__(config, name, choices(value))
