"""What a request of withdrawal names, and the tombstones that follow from it.

Comes in: original identifiers of patients and studies, from the command line or a file. Goes out: `Tombstones`. Refuses
identifiers that stand for nobody in particular. Identifiers are never stored, printed or part of an error.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from radio_io.errors import StorageError, UsageError
from radio_io.privacy.pseudonyms import Pseudonymizer, is_placeholder, person_of
from radio_io.privacy.tombstones import Tombstones

PATIENT, STUDY = "PatientID", "StudyInstanceUID"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForgetRequest:
    """Identifiers to withdraw. With `issuer` only that issuer's patients are meant, without it any issuer's."""

    patients: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    issuer: str | None = None


def read_request(path: Path, issuer: str | None = None) -> ForgetRequest:
    """The request in a file: CSV whose head line names PatientID, StudyInstanceUID or both; or one PatientID a line.

    Raises:
        StorageError: The file cannot be read.
        UsageError: It names nobody.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the list {path.name}: {error.strerror}; check the path") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    head = text.split("\n", 1)[0]
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in head else ","))
    names = [name.strip() for name in rows[0]] if rows else []
    if PATIENT not in names and STUDY not in names:
        names, rows = [PATIENT], [[], *([line] for line in text.splitlines())]
    return ForgetRequest(
        patients=tuple(_column(names, rows[1:], PATIENT)),
        studies=tuple(_column(names, rows[1:], STUDY)),
        issuer=issuer,
    )


def tombstones_for(request: ForgetRequest, pseudonyms: Pseudonymizer) -> Tombstones:
    """The pseudonyms of a request.

    Raises:
        UsageError: It names nobody, or an identifier stands for nobody in particular.
    """
    patients = [identifier.strip() for identifier in request.patients if identifier.strip()]
    studies = [identifier.strip() for identifier in request.studies if identifier.strip()]
    if not patients and not studies:
        raise UsageError("nobody to forget: give --patient ID, --study UID or --from FILE")
    if any(is_placeholder(identifier) for identifier in (*patients, *studies)):
        raise UsageError("an identifier is a placeholder such as UNKNOWN or 000, which no patient has; give the study")
    keys = frozenset(pseudonyms.patient(identifier, request.issuer or "") for identifier in patients)
    return Tombstones(
        persons=frozenset(map(person_of, keys)) if request.issuer is None else frozenset(),
        patients=frozenset() if request.issuer is None else keys,
        studies=frozenset(map(pseudonyms.study, studies)),
    )


def _column(names: list[str], rows: Iterable[list[str]], wanted: str) -> list[str]:
    if wanted not in names:
        return []
    place = names.index(wanted)
    return [row[place].strip() for row in rows if len(row) > place and row[place].strip()]
