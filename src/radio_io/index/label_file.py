"""The file of a task's labels: Parquet beside the shards, a row an image, sorted by key.

Comes in: labels by the key of the image. Goes out: the file's bytes, the same for the same labels, and its rows again.
Refuses files that are damaged, of another task or of another format version.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa

from radio_io.checked_table import encode_table, read_batches, read_metadata
from radio_io.errors import DatasetError

LABEL_FORMAT_VERSION: Final = 1
LABEL_SCHEMA: Final = pa.schema([("task", pa.string()), ("key", pa.string()), ("label", pa.string())])
ROWS_AT_ONCE: Final = 65_536
_ADVICE: Final = "run: radio shard verify --repair, or import the labels again with --replace"


def encode_labels(task: str, labels: dict[str, str]) -> bytes:
    """The bytes of the file."""
    keys = sorted(labels)
    metadata = {b"radio": json.dumps({"format_version": LABEL_FORMAT_VERSION, "task": task}).encode()}
    columns = {"task": [task] * len(keys), "key": keys, "label": [labels[key] for key in keys]}
    table = pa.table(columns, schema=LABEL_SCHEMA.with_metadata(metadata))
    return encode_table(table, compression="zstd", write_statistics=False)


def read_labels(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of the file of a task, some at a time: the columns `task`, `key` and `label`.

    Raises:
        DatasetError: It is damaged, of another task or of another format version.
    """
    try:
        facts = json.loads(read_metadata(path, advice=_ADVICE)[b"radio"])
        version, task = facts["format_version"], facts["task"]
    except (ValueError, KeyError, TypeError):
        raise DatasetError(f"{path} is no file of labels, or damaged; {_ADVICE}") from None
    if version != LABEL_FORMAT_VERSION:
        raise DatasetError(
            f"{path} has format version {version}, this radio reads {LABEL_FORMAT_VERSION}; update radio"
        )
    if task != path.stem:
        raise DatasetError(f"{path} has the labels of task {task!r}, or is damaged; {_ADVICE}")
    yield from read_batches(path, rows=ROWS_AT_ONCE, advice=_ADVICE)
