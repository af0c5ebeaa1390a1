"""Errors that a user can cause, and the stable reasons for which a file does not become an image.

Comes in: nothing. Goes out: `RadioError` and its kinds (each message says what was found, what was expected
and what to do next), `RejectReason`, `ImageRejectedError`. Every class here pickles, since errors travel between
processes.
"""

import traceback
from enum import StrEnum
from pathlib import PurePath
from typing import ClassVar


class RadioError(Exception):
    """A failure that the user can act on; `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 1


class UsageError(RadioError):
    """An argument, option or configuration value that cannot be meant."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A configuration file or `--set` with an unknown key or an impossible value."""


class DatasetError(RadioError):
    """A dataset folder that is missing, of another version, damaged or built with other settings."""


class CodecError(RadioError):
    """Encoded bytes that are cut, changed, too large or of another codec."""


class StorageError(RadioError):
    """Reading or writing failed: disk full, network drive gone, permission denied."""


class KeyFileError(RadioError):
    """The pseudonym key is missing, readable by others, misplaced or not the dataset's."""


class QueryError(UsageError):
    """A predicate or SELECT that is refused, misspelt or stopped at its limits."""


class TrainingError(RadioError):
    """Training cannot go on: non-finite loss, too many bad samples, a checkpoint of another model."""


class RejectReason(StrEnum):
    """Why a file did not become an image. The codes are stable: scripts and the index rely on them."""

    # walking the sources
    UNREADABLE = "UNREADABLE"
    EMPTY_FILE = "EMPTY_FILE"
    VANISHED = "VANISHED"
    CHANGED_WHILE_READING = "CHANGED_WHILE_READING"
    SYMLINK_LOOP = "SYMLINK_LOOP"
    BAD_ARCHIVE = "BAD_ARCHIVE"
    # reading the header
    NOT_DICOM = "NOT_DICOM"
    BAD_HEADER = "BAD_HEADER"
    NO_TRANSFER_SYNTAX = "NO_TRANSFER_SYNTAX"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    NO_PIXEL_DATA = "NO_PIXEL_DATA"
    WRONG_MODALITY = "WRONG_MODALITY"
    MULTI_FRAME = "MULTI_FRAME"
    NOT_GRAYSCALE = "NOT_GRAYSCALE"
    BURNED_IN_ANNOTATION = "BURNED_IN_ANNOTATION"
    BAD_GEOMETRY = "BAD_GEOMETRY"
    TOO_LARGE = "TOO_LARGE"
    # decoding
    UNSUPPORTED_TRANSFER_SYNTAX = "UNSUPPORTED_TRANSFER_SYNTAX"
    UNSUPPORTED_PIXELS = "UNSUPPORTED_PIXELS"
    TRUNCATED = "TRUNCATED"
    CORRUPT_PIXELS = "CORRUPT_PIXELS"
    HEADER_CONTRADICTION = "HEADER_CONTRADICTION"
    DECOMPRESSION_BOMB = "DECOMPRESSION_BOMB"
    WORKER_CRASHED = "WORKER_CRASHED"
    TIMEOUT = "TIMEOUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    # checking the rendered image
    BLANK_IMAGE = "BLANK_IMAGE"
    NEARLY_EMPTY = "NEARLY_EMPTY"
    DUPLICATE = "DUPLICATE"
    WITHDRAWN = "WITHDRAWN"


class ImageRejectedError(RadioError):
    """Raised inside a stage when a file cannot become an image; caught once per file, where it becomes a row.

    `detail` names attributes and technical values only: never a path, identifier, date or free text.

    Example:
        >>> error = ImageRejectedError(RejectReason.TRUNCATED, "8130 bytes of pixel data, 8192 expected")
        >>> print(error)
        TRUNCATED: 8130 bytes of pixel data, 8192 expected
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def internal_error(error: Exception) -> ImageRejectedError:
    """The reject of a file on which this program itself failed: a mistake to be reported, that costs one file.

    The detail names the exception's type and the places in the code, never its message, which may quote values.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{PurePath(frame.filename).name}:{frame.lineno}" for frame in frames[-3:]]
    detail = f"{type(error).__name__} at {' > '.join(places)}: please report this as a mistake of radio"
    return ImageRejectedError(RejectReason.INTERNAL_ERROR, detail)
