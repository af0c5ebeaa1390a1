"""Keyed pseudonyms: what stands in shards and index in place of identifiers.

Comes in: the 32 secret bytes of a key file, and identifiers as they stand in headers. Goes out: 32 hex digits for
patients, studies, series, instances, images and devices, a date shift and a split fraction. Refuses: a key file that
others may read, that lies inside the dataset or is not 32 bytes long.

Every value is HMAC-SHA-256 over a domain name and length-prefixed parts, cut to 16 bytes: nobody without the key can
tell whose it is or test a guess, equal identifiers agree between runs and machines with one key, and a patient
"123" has nothing in common with a study "123". 128 bits make a collision among 10**9 values less likely than 2**-69;
two patients who meet in the first 64 bits, likely among some 10**9, share a split and a date shift and nothing else.
"""

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from radio_io.atomic import sync_folder
from radio_io.errors import KeyFileError

KEY_BYTES = 32
MAX_SHIFT_WEEKS = 260
PERSON_DIGITS = 16
_FORMAT = b"radio-pseudonym-v1"

# PatientIDs that stand for "nobody in particular": taken literally, they would make one patient of a whole archive.
_PLACEHOLDERS = (
    "ANON ANONYM ANONYMOUS ANONYMIZED ANONYMISED ANONYMOUSPATIENT DEIDENTIFIED NONE NULL NA N/A NO-ID NOID UNKNOWN "
    "UNBEKANNT INCONNU DESCONOCIDO UNDEFINED NOTPROVIDED REMOVED"
)
PLACEHOLDER_IDS = frozenset(_PLACEHOLDERS.split())


class Pseudonymizer:
    """Turns identifiers into pseudonyms under one key. Immutable, and it pickles (with the key) to worker processes.

    Example:
        >>> pseudonyms = Pseudonymizer(bytes(32))
        >>> pseudonyms.patient("4711") == pseudonyms.patient(" 4711 ")
        True
        >>> pseudonyms.patient("4711") == pseudonyms.study("4711")
        False
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise KeyFileError(
                f"the pseudonym key has {len(key)} bytes, expected {KEY_BYTES}; restore it from a backup"
            )
        self._key = key

    def __repr__(self) -> str:
        return f"Pseudonymizer(key_id={self.key_id!r})"

    @classmethod
    def create_file(cls, path: str | Path, dataset: str | Path | None = None) -> "Pseudonymizer":
        """A new random key, written to `path` for its owner alone; `dataset` is the folder it must not lie in.

        The file appears complete or not at all, also when two processes begin at the same moment.

        Raises:
            KeyFileError: a file is there already, `path` lies inside the dataset, or it cannot be written.
        """
        path = Path(path)
        _refuse_inside_dataset(path, dataset)
        key = secrets.token_bytes(KEY_BYTES)
        try:
            _write_exclusively(path, key)
        except FileExistsError as error:
            raise KeyFileError(
                f"{path} exists already; a key is never overwritten, use it or choose another"
            ) from error
        except OSError as error:
            raise KeyFileError(f"cannot write the pseudonym key {path}: {error.strerror}") from error
        return cls.from_file(path, dataset)

    @classmethod
    def from_file(cls, path: str | Path, dataset: str | Path | None = None) -> "Pseudonymizer":
        """The pseudonyms under the key at `path`; `dataset` is the folder the key must not lie in.

        Raises:
            KeyFileError: the file is missing, readable by others, inside the dataset or not 32 bytes long.
        """
        path = Path(path)
        _refuse_inside_dataset(path, dataset)
        try:
            # Not blocking, so that a FIFO in place of the key is refused instead of waited for.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise KeyFileError(
                f"no pseudonym key at {path}; restore it from a backup, or start a new dataset"
            ) from error
        except OSError as error:
            raise KeyFileError(f"cannot read the pseudonym key {path}: {error.strerror}") from error
        try:
            _refuse_mode(path, os.fstat(descriptor).st_mode)
            return cls(os.read(descriptor, KEY_BYTES + 1))
        finally:
            os.close(descriptor)

    @property
    def key_id(self) -> str:
        """16 hex digits that name the key and tell nothing about it."""
        return self.keyed_hash("key-id").hex()[:16]

    def keyed_hash(self, domain: str, *parts: str | bytes) -> bytes:
        """16 bytes that depend on the key, the domain and the exact sequence of parts."""
        encoded = [domain.encode(), *(part if isinstance(part, bytes) else _encode(part) for part in parts)]
        message = b"".join([_FORMAT, *(b"%d:%b" % (len(part), part) for part in encoded)])
        return hmac.digest(self._key, message, hashlib.sha256)[:16]

    def patient(self, patient_id: str, issuer: str = "", *fallback_uids: str) -> str:
        """The pseudonym of a patient; its first half depends on the ID alone, its second half on ID and issuer.

        Exports name the issuer on some files of a patient and not on others. The two get different pseudonyms, since
        equal IDs of two hospitals may be two people, but with a common first half: it decides split and date shift, so
        that a patient in doubt is never in two splits, is found again (`person_of`) and can be withdrawn as one.

        An empty or placeholder ID ("UNKNOWN", "000") never makes one shared patient: the first of `fallback_uids`
        (study, series, instance, content digest) that is not empty stands in for it. Without any the pseudonym is
        that of nobody: no stored image has it, since the header stage always has a content digest to fall back to.
        """
        patient_id = _tidy(patient_id)
        if patient_id and not is_placeholder(patient_id):
            halves = self.keyed_hash("patient", patient_id), self.keyed_hash("patient-of", patient_id, _tidy(issuer))
            return "".join(half[:8].hex() for half in halves)
        return self._first("patient-without-id", *fallback_uids)

    def study(self, uid: str, *fallback_uids: str) -> str:
        """The pseudonym of a study, or of the first fallback that is not empty."""
        return self._first("study", uid, *fallback_uids)

    def series(self, uid: str, *fallback_uids: str) -> str:
        """The pseudonym of a series, or of the first fallback that is not empty."""
        return self._first("series", uid, *fallback_uids)

    def instance(self, uid: str, *fallback_uids: str) -> str:
        """The pseudonym of a SOP instance, or of the first fallback (the content digest) that is not empty."""
        return self._first("instance", uid, *fallback_uids)

    def image_key(self, instance_key: str, pixel_hash: str) -> str:
        """The key of an image: two different images under one SOPInstanceUID stay apart, a copy stays the same."""
        return self.keyed_hash("image", instance_key, pixel_hash).hex()

    def device(self, serial: str, manufacturer: str = "") -> str:
        """The pseudonym of a device; serial numbers are unique within a manufacturer only."""
        return self.keyed_hash("device", _tidy(serial), _tidy(manufacturer)).hex()

    def accession(self, number: str) -> str:
        """The pseudonym of an accession number, the number of an order, by which reports are found."""
        return self.keyed_hash("accession", _tidy(number)).hex()

    def date_shift_days(self, patient_key: str) -> int:
        """Days by which all dates of a patient move back: whole weeks, 7 to 1,820 days."""
        number = int.from_bytes(self.keyed_hash("date-shift", person_of(patient_key))[:8], "big")
        return 7 * (1 + number % MAX_SHIFT_WEEKS)

    def split_fraction(self, patient_key: str) -> float:
        """A number in [0, 1) that decides the split: uniform over patients, for ever the same for one patient."""
        return (int.from_bytes(self.keyed_hash("split", person_of(patient_key))[:8], "big") >> 11) / 2**53

    def _first(self, domain: str, *uids: str) -> str:
        for position, uid in enumerate(map(_tidy, uids)):
            if uid:
                # The position is part of the hash: a series never gets the pseudonym of a study of the same UID.
                return self.keyed_hash(domain, str(position), uid).hex()
        return self.keyed_hash(domain, "nobody").hex()


def person_of(patient_key: str) -> str:
    """The part of a patient's pseudonym that does not depend on the issuer of the ID: its first 16 hex digits.

    Example:
        >>> pseudonyms = Pseudonymizer(bytes(32))
        >>> person_of(pseudonyms.patient("4711")) == person_of(pseudonyms.patient("4711", "HOSPITAL"))
        True
    """
    return patient_key[:PERSON_DIGITS]


def is_placeholder(patient_id: str) -> bool:
    """Whether an ID stands for nobody in particular, such as UNKNOWN or 000000."""
    compact = "".join(patient_id.upper().split())
    return compact in PLACEHOLDER_IDS or not compact.strip("0-._?*xX^")


def _encode(text: str) -> bytes:
    # Headers and file names can hold lone surrogates; this encoding maps different strings to different bytes.
    return text.encode("utf-8", "surrogatepass")


def _tidy(identifier: str) -> str:
    return identifier.strip(" \t\r\n\0")


def _refuse_inside_dataset(path: Path, dataset: str | Path | None) -> None:
    if dataset is not None and path.resolve().is_relative_to(Path(dataset).resolve()):
        raise KeyFileError(
            f"the pseudonym key {path} lies inside the dataset {dataset}, which is made to be shared; "
            "move the key out of it, for example to the folder NAME.private beside it"
        )


def _refuse_mode(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise KeyFileError(f"{path} is not a regular file; the pseudonym key must be one")
    if mode & 0o077:
        found = f"mode {stat.S_IMODE(mode):04o}, expected 0600"
        raise KeyFileError(f"others may read the pseudonym key {path} ({found}); run: chmod 600 {path}")


def _write_exclusively(path: Path, key: bytes) -> None:
    """Write a new file with mode 0600 that appears with its whole content, or raise FileExistsError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    _write_new(temporary, key)
    try:
        # A hard link, unlike a rename, fails where the name is taken.
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # Some network drives have no hard links: there a crash at this moment can leave a short key, which is refused.
        _write_new(path, key)
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def _write_new(path: Path, key: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(descriptor)
