"""From original identifiers to the keys of images, by pseudonym.

Comes in: a dataset, its key, which identifier. Goes out: `ImageLookup`, which gives the images of an identifier.
Refuses a key that is not the dataset's. Identifiers are never stored, printed or part of an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from radio_io.index.catalog import open_index
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import PERSON_DIGITS, Pseudonymizer, is_placeholder, person_of
from radio_io.sharding.info import check_key


class IdColumn(StrEnum):
    """Which identifier a table names images by; the value is the DICOM keyword."""

    SOP_INSTANCE_UID = "SOPInstanceUID"
    STUDY_INSTANCE_UID = "StudyInstanceUID"
    ACCESSION_NUMBER = "AccessionNumber"
    PATIENT_ID = "PatientID"


# How the index groups images for each identifier.
_COLUMNS: Final = MappingProxyType(
    {
        IdColumn.SOP_INSTANCE_UID: "instance_key",
        IdColumn.STUDY_INSTANCE_UID: "study_key",
        IdColumn.ACCESSION_NUMBER: "accession_key",
        IdColumn.PATIENT_ID: f"patient_key[:{PERSON_DIGITS}]",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLookup:
    """The images of each identifier, held by pseudonym.

    `ambiguous` are the pseudonyms of accession numbers that images of several patients have.
    """

    pseudonym: Callable[[str], str]
    images: dict[str, tuple[str, ...]]
    ambiguous: frozenset[str]

    def images_of(self, identifier: str) -> tuple[str, ...]:
        """The keys of the images, sorted; none for an identifier that is empty, a placeholder or unknown."""
        identifier = identifier.strip()
        if not identifier or is_placeholder(identifier):
            return ()
        return self.images.get(self.pseudonym(identifier), ())

    def is_ambiguous(self, identifier: str) -> bool:
        """Whether images of several patients have this identifier."""
        return self.pseudonym(identifier.strip()) in self.ambiguous


def open_dataset_key(root: Path) -> Pseudonymizer:
    """The key of a dataset.

    Raises:
        KeyFileError: It is missing, open to others, or not the one that the dataset was built with.
        DatasetError: There is no dataset.
    """
    layout = DatasetLayout(root)
    pseudonyms = Pseudonymizer.from_file(layout.key_file, layout.root)
    check_key(root, pseudonyms.key_id)
    return pseudonyms


def image_lookup(root: Path, pseudonyms: Pseudonymizer, id_column: IdColumn) -> ImageLookup:
    """The images of the dataset by this identifier.

    Raises:
        DatasetError: There is no index.
    """
    column = _COLUMNS[id_column]
    with open_index(root) as connection:
        rows = connection.execute(
            f"SELECT {column} AS id, list(key ORDER BY key), count(DISTINCT patient_key[:{PERSON_DIGITS}]) "  # noqa: S608
            "FROM images WHERE id IS NOT NULL GROUP BY id"
        ).fetchall()
    checks_patients = id_column is IdColumn.ACCESSION_NUMBER
    return ImageLookup(
        pseudonym=_pseudonym(pseudonyms, id_column),
        images={str(each): tuple(keys) for each, keys, _ in rows},
        ambiguous=frozenset(str(each) for each, _, patients in rows if checks_patients and patients > 1),
    )


def _pseudonym(pseudonyms: Pseudonymizer, id_column: IdColumn) -> Callable[[str], str]:
    if id_column is IdColumn.PATIENT_ID:
        return lambda identifier: person_of(pseudonyms.patient(identifier))
    return {
        IdColumn.SOP_INSTANCE_UID: pseudonyms.instance,
        IdColumn.STUDY_INSTANCE_UID: pseudonyms.study,
        IdColumn.ACCESSION_NUMBER: pseudonyms.accession,
    }[id_column]
