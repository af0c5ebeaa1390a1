"""Who has been withdrawn from a dataset, by pseudonym: what keeps a later build from bringing them back.

Comes in: pseudonyms. Goes out: `withdrawn.json` in the private folder and back; whether an image is covered. Refuses a
file of another version or damaged: building without it could bring somebody back.

`pending` is the work of a withdrawal that has begun and has not ended: its shards, and what it will report; `done` are
those that ended, so that what they reported can be looked up later.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from radio_io import atomic
from radio_io.errors import DatasetError
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import person_of

TOMBSTONE_FORMAT_VERSION = 1


class HasKeys(Protocol):
    """What an image has to tell about itself."""

    @property
    def patient_key(self) -> str:
        """The pseudonym of the patient."""
        ...

    @property
    def study_key(self) -> str:
        """The pseudonym of the study."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawal:
    """What a withdrawal does: the shards that it rewrites, the images in them, the runs that saw some of them."""

    shards: tuple[str, ...] = ()
    images: int = 0
    labels: int = 0
    runs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Tombstones:
    """Pseudonyms: of persons (whatever the issuer of the ID), of patients of one issuer, of studies."""

    persons: frozenset[str] = frozenset()
    patients: frozenset[str] = frozenset()
    studies: frozenset[str] = frozenset()
    pending: Withdrawal | None = field(default=None, compare=False)
    done: tuple[Withdrawal, ...] = field(default=(), compare=False)

    def covers(self, image: HasKeys) -> bool:
        """Whether an image has been withdrawn."""
        return self.covers_keys(image.patient_key, image.study_key)

    def covers_keys(self, patient_key: str, study_key: str) -> bool:
        """Whether an image of this patient and study has been withdrawn."""
        return person_of(patient_key) in self.persons or patient_key in self.patients or study_key in self.studies

    def joined(self, other: "Tombstones") -> "Tombstones":
        """Those of both; `pending` and `done` are those of this one."""
        return replace(
            self,
            persons=self.persons | other.persons,
            patients=self.patients | other.patients,
            studies=self.studies | other.studies,
        )

    def __len__(self) -> int:
        return len(self.persons) + len(self.patients) + len(self.studies)


def read_tombstones(layout: DatasetLayout) -> Tombstones:
    """The tombstones of a dataset; none where nobody was ever withdrawn.

    Raises:
        DatasetError: The file is damaged or of another format version.
    """
    path = layout.withdrawn
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = values["format_version"]
        names = ("persons", "patients", "studies")
        sets = {name: frozenset(str(key) for key in values[name]) for name in names}
        pending = None if values["pending"] is None else _withdrawal(values["pending"])
        done = tuple(_withdrawal(each) for each in values["done"])
    except FileNotFoundError:
        return Tombstones()
    except (OSError, ValueError, KeyError, TypeError):
        raise DatasetError(f"{path} is damaged; restore it, or withdrawn patients could come back") from None
    if version != TOMBSTONE_FORMAT_VERSION:
        raise DatasetError(
            f"{path} has format version {version}, this radio reads {TOMBSTONE_FORMAT_VERSION}; update it"
        )
    return Tombstones(**sets, pending=pending, done=done)


def write_tombstones(layout: DatasetLayout, tombstones: Tombstones) -> None:
    """Write the tombstones durably into the private folder.

    Raises:
        StorageError: It cannot be written.
    """
    values = {
        "format_version": TOMBSTONE_FORMAT_VERSION,
        "persons": sorted(tombstones.persons),
        "patients": sorted(tombstones.patients),
        "studies": sorted(tombstones.studies),
        "done": [asdict(each) for each in tombstones.done],
        "pending": None if tombstones.pending is None else asdict(tombstones.pending),
    }
    atomic.make_folder(layout.private, mode=0o700)
    atomic.write_file(layout.withdrawn, (json.dumps(values, indent=1, sort_keys=True) + "\n").encode(), mode=0o600)


def _withdrawal(values: dict[str, Any]) -> Withdrawal:
    return Withdrawal(
        shards=tuple(values["shards"]),
        images=int(values["images"]),
        labels=int(values["labels"]),
        runs=tuple(values["runs"]),
    )
