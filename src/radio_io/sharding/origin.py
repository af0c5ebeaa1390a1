"""What a dataset remembers of those that it was copied from: `origin.json` in its private folder.

Comes in: a digest of the plan of copying, and the counts of rejects that came with the images. Goes out: the file and
back. Refuses a file that is damaged or of another format version.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from radio_io import atomic
from radio_io.errors import DatasetError
from radio_io.layout import DatasetLayout

ORIGIN_FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """`plan` is the SHA-256 of which image goes where; `rejects` are rows of (reason, stage, number of files)."""

    command: str
    plan: str
    rejects: tuple[tuple[str, str, int], ...]


def read_origin(layout: DatasetLayout) -> Origin | None:
    """The origin of a dataset; None where it was built from DICOM, or has come without its private folder.

    Raises:
        DatasetError: The file is damaged or of another format version.
    """
    try:
        values: dict[str, Any] = json.loads(layout.origin.read_text(encoding="utf-8"))
        version = values["format_version"]
        rejects = tuple((str(reason), str(stage), int(count)) for reason, stage, count in values["rejects"])
        origin = Origin(command=str(values["command"]), plan=str(values["plan"]), rejects=rejects)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise DatasetError(f"{layout.origin} is damaged; restore it, or make the dataset again") from None
    if version != ORIGIN_FORMAT_VERSION:
        raise DatasetError(
            f"{layout.origin} has format version {version}, this radio reads {ORIGIN_FORMAT_VERSION}; update radio"
        )
    return origin


def write_origin(layout: DatasetLayout, origin: Origin) -> None:
    """Write the origin into the private folder.

    Raises:
        StorageError: It cannot be written.
    """
    values = {"format_version": ORIGIN_FORMAT_VERSION, **asdict(origin)}
    atomic.write_file(layout.origin, (json.dumps(values, indent=1, sort_keys=True) + "\n").encode(), mode=0o600)
