"""Where everything of a dataset lies, in the folder that may be shared and in the private one beside it.

Comes in: the dataset folder. Goes out: `DatasetLayout`, and the parts of a shard's id. Refuses: a folder without a
name of its own, a shard id that is none (it would lead out of the folder).

A shard id is text like `train/h1536w2304/000012`: split, bin, number within both.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from radio_io.errors import DatasetError, UsageError

FORMAT_VERSION = 1
TAR_SUFFIX, IDX_SUFFIX, RECORD_SUFFIX = ".tar", ".idx", ".parquet"
SHARD_SUFFIXES = (TAR_SUFFIX, IDX_SUFFIX, RECORD_SUFFIX)
STAGING_NAME = ".staging"
"""Local part of a dataset in an object store; it lies in the private folder."""
SHARD_ID = re.compile(r"(train|val|test)/h([1-9][0-9]{0,4})w([1-9][0-9]{0,4})/([0-9]{6,})")


class Split(StrEnum):
    """Which part of the patients an image belongs to; in the order of their shares."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class DatasetLayout:
    """The paths of the dataset in the folder `root`.

    Example:
        >>> layout = DatasetLayout(Path("/data/shards"))
        >>> layout.key_file.as_posix(), layout.tar_path("train/h1536w2304/000012").as_posix()
        ('/data/shards.private/pseudonym.key', '/data/shards/train/h1536w2304/000012.tar')
    """

    root: Path

    def __post_init__(self) -> None:
        if not Path(self.root).absolute().name:
            raise UsageError(f"dataset folder {str(self.root)!r} has no name; name a folder, for example shards")
        object.__setattr__(self, "root", Path(self.root).absolute())

    @property
    def private(self) -> Path:
        """The folder beside the dataset that must not be shared (mode 0700)."""
        return self.root.parent if self.is_staging else self.root.with_name(self.root.name + ".private")

    @property
    def is_staging(self) -> bool:
        """Whether the shards themselves go to an object store."""
        return self.root.name == STAGING_NAME

    @property
    def dataset_json(self) -> Path:
        """What the dataset is: version, recipe, bins, codec, splits, key id, counts, checksums."""
        return self.root / "dataset.json"

    @property
    def dataset_json_copy(self) -> Path:
        """A copy of `dataset.json` in the private folder, for a repair."""
        return self.private / "dataset.json"

    @property
    def labels_dir(self) -> Path:
        """The labels of the dataset, one Parquet file a task."""
        return self.root / "labels"

    @property
    def index(self) -> Path:
        """The DuckDB index."""
        return self.root / "index.duckdb"

    @property
    def key_file(self) -> Path:
        """The pseudonym key (mode 0600)."""
        return self.private / "pseudonym.key"

    @property
    def lock_file(self) -> Path:
        """Held by the one process that changes the dataset."""
        return self.private / "lock"

    @property
    def report_samples(self) -> Path:
        """Report texts to check what was read in them; a withdrawal removes them all."""
        return self.private / "report_samples"

    @property
    def quarantine(self) -> Path:
        """Files that a repair has replaced; a withdrawal removes them all."""
        return self.private / "quarantine"

    @property
    def withdrawn(self) -> Path:
        """Pseudonyms of withdrawn patients and studies, which no build may bring back."""
        return self.private / "withdrawn.json"

    @property
    def origin(self) -> Path:
        """What a dataset that was copied from others was made from, and the reject counts that came with them."""
        return self.private / "origin.json"

    @property
    def scan_dir(self) -> Path:
        """Parquet files with every file found: its path, and its header record or its reason of rejection."""
        return self.private / "scan"

    @property
    def plan_dir(self) -> Path:
        """The frozen plan: which file goes to which shard, one Parquet file a part."""
        return self.private / "plan"

    @property
    def archives_dir(self) -> Path:
        """Where the members of archives lie, and compressed archives unpacked while they are read."""
        return self.private / "archives"

    @property
    def rejects_dir(self) -> Path:
        """Rejected files with their paths and reasons: Parquet files, of the scan, the plan and each shard."""
        return self.private / "rejects"

    def tar_path(self, shard_id: str) -> Path:
        """The WebDataset shard."""
        return self._shard_path(shard_id, TAR_SUFFIX)

    def idx_path(self, shard_id: str) -> Path:
        """DALI's index of the shard."""
        return self._shard_path(shard_id, IDX_SUFFIX)

    def record_path(self, shard_id: str) -> Path:
        """The Parquet record; the shard exists when this exists."""
        return self._shard_path(shard_id, RECORD_SUFFIX)

    def shard_paths(self, shard_id: str) -> tuple[Path, Path, Path]:
        """Tar, DALI index and record: all three make a whole shard."""
        return self.tar_path(shard_id), self.idx_path(shard_id), self.record_path(shard_id)

    def kept_paths(self, shard_id: str) -> tuple[Path, ...]:
        """What stays here of a finished shard: all, or all but the tar."""
        return self.shard_paths(shard_id)[1:] if self.is_staging else self.shard_paths(shard_id)

    def shard_rejects_path(self, shard_id: str) -> Path:
        """The files of this shard that were rejected while it was built."""
        check_shard_id(shard_id)
        return self.rejects_dir / (shard_id + RECORD_SUFFIX)

    def shard_rejects_paths(self) -> list[Path]:
        """The lists of rejected files of all shards that have one, sorted."""
        # Not `*`: a process that was killed may have left half a file, whose temporary name begins with a dot.
        return sorted(self.rejects_dir.glob(f"*/h*w*/[0-9]*{RECORD_SUFFIX}"))

    def record_paths(self) -> list[Path]:
        """The records of all finished shards, sorted by shard id."""
        paths = [path for split in Split for path in (self.root / split).glob(f"h*w*/[0-9]*{RECORD_SUFFIX}")]
        return sorted(paths, key=self.shard_id_of)

    def label_paths(self) -> list[Path]:
        """The files of labels, sorted."""
        return sorted(self.labels_dir.glob("[A-Za-z0-9]*.parquet"))

    def shard_id_of(self, path: Path) -> str:
        """The shard id of a path below `root`.

        Raises:
            DatasetError: The path is not one of a shard.
        """
        try:
            shard_id = path.relative_to(self.root).with_suffix("").as_posix()
        except ValueError:
            raise DatasetError(f"{path} does not lie in the dataset folder {self.root}") from None
        check_shard_id(shard_id)
        return shard_id

    def _shard_path(self, shard_id: str, suffix: str) -> Path:
        check_shard_id(shard_id)
        return self.root / (shard_id + suffix)


def shard_id_for(split: Split, bin_height: int, bin_width: int, number: int) -> str:
    """The id of the `number`-th shard of a split and bin.

    Example:
        >>> shard_id_for(Split.TRAIN, 1536, 2304, 12)
        'train/h1536w2304/000012'
    """
    return f"{split}/h{bin_height}w{bin_width}/{number:06}"


def check_shard_id(shard_id: str) -> None:
    """Refuse text that is no shard id.

    Raises:
        DatasetError: It is none.
    """
    if SHARD_ID.fullmatch(shard_id) is None:
        raise DatasetError(f"{shard_id!r} is no shard id; expected one like 'train/h1536w2304/000012'")
