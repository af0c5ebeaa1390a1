"""What a dataset holds, in numbers.

Comes in: a dataset folder. Goes out: `DatasetInfo`. Refuses a folder that is no dataset.
"""

from dataclasses import dataclass
from pathlib import Path

from radio_io.dataset_file import read_dataset_file
from radio_io.errors import KeyFileError
from radio_io.index.catalog import open_index
from radio_io.privacy.pseudonyms import PERSON_DIGITS

_SEVERAL = "SELECT {group} FROM images GROUP BY 1 HAVING count(DISTINCT {counted}) > 1"

_UNSEEN = "SELECT count(*) FROM images WHERE burned_in_annotation IN ('suspected', 'yes') AND text_score IS NULL"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetInfo:
    """Counts of a dataset; `compression` is bytes of 16-bit pixels over bytes of encoded images.

    `doubtful_ids` are PatientIDs that occur with several issuers, or with and without one: each of their
    `patient_key`s counts as a patient, though one split holds them all. `mixed_studies` are studies with images of
    several PatientIDs, as where the ID is empty in some files: these may lie in several splits.
    `unseen_text` are scanned films, secondary captures and images marked as carrying text that no detector looked at.
    """

    dataset_id: str
    key_id: str
    codec: str
    bins: str
    images: int
    patients: int
    doubtful_ids: int
    mixed_studies: int
    unseen_text: int
    shards: int
    size_bytes: int
    compression: float
    splits: dict[str, int]
    regions: dict[str, int]
    occupied_bins: dict[str, int]
    rejects: dict[str, int]


def dataset_info(root: Path) -> DatasetInfo:
    """Count what is in a dataset.

    Raises:
        DatasetError: It is no dataset, or has no index.
    """
    content = read_dataset_file(root)
    with open_index(root) as connection:

        def counts(sql: str) -> dict[str, int]:
            return {str(name): int(count) for name, count in connection.execute(sql).fetchall()}

        totals = connection.execute(
            "SELECT count(*), count(DISTINCT patient_key), coalesce(sum(2.0 * rows * columns) / sum(image_size), 0) "
            "FROM images"
        ).fetchone()
        shards = connection.execute("SELECT count(*), coalesce(sum(size_bytes), 0) FROM shards").fetchone()
        person = f"patient_key[:{PERSON_DIGITS}]"
        doubtful, mixed = (
            len(connection.execute(_SEVERAL.format(group=group, counted=counted)).fetchall())
            for group, counted in ((person, "patient_key"), ("study_key", person))
        )
        unseen = connection.execute(_UNSEEN).fetchone()
        assert unseen is not None
        assert totals is not None
        assert shards is not None
        size = "bin_height || 'x' || bin_width"
        return DatasetInfo(
            dataset_id=content.dataset_id,
            key_id=content.key_id,
            codec=content.codec,
            bins=content.bins,
            images=int(totals[0]),
            patients=int(totals[1]),
            doubtful_ids=doubtful,
            mixed_studies=mixed,
            unseen_text=int(unseen[0]),
            shards=int(shards[0]),
            size_bytes=int(shards[1]),
            compression=float(totals[2]),
            splits=counts("SELECT split, count(*) FROM images GROUP BY ALL ORDER BY 2 DESC, 1"),
            regions=counts("SELECT region, count(*) FROM images GROUP BY ALL ORDER BY 2 DESC, 1"),
            occupied_bins=counts(f"SELECT {size}, count(*) FROM images GROUP BY ALL ORDER BY 2 DESC, 1"),  # noqa: S608
            rejects=counts("SELECT reason, sum(num_files) FROM rejects GROUP BY ALL ORDER BY 2 DESC, 1"),
        )


def check_key(root: Path, key_id: str) -> None:
    """Refuse a key that is not the dataset's.

    Raises:
        KeyFileError: It is another.
        DatasetError: There is no dataset.
    """
    built_with = read_dataset_file(root).key_id
    if built_with != key_id:
        raise KeyFileError(f"the key is {key_id}, the dataset was built with {built_with}; restore the dataset's key")
