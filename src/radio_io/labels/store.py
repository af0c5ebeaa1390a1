"""The labels of a dataset: one Parquet file a task beside the shards, from which the index takes its table `labels`.

Comes in: labels by the key of the image. Goes out: `labels/TASK.parquet` in the dataset folder, sorted by key, and
`load_labels` for training. Refuses names of tasks that no file could have, and labels that could be identifying text.

They lie in the folder that may be shared: a label must be one of a few words, or a number.
"""

import re
from pathlib import Path
from typing import Final

from radio_io import atomic
from radio_io.errors import DatasetError, UsageError
from radio_io.index.catalog import open_index, read_index
from radio_io.layout import DatasetLayout

TASK_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_WORDS: Final = 100
MAX_WORD_LENGTH: Final = 64
# Whole numbers of more digits could be identifiers or dates.
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,6}(\.[0-9]{1,9})?")


def load_labels(root: Path, task: str) -> dict[str, str]:
    """The labels of a task by the key of the image, as the index has them.

    Raises:
        DatasetError: There is no index, or it has no such task; the message names those it has.
    """
    with open_index(root) as connection:
        rows = connection.execute("SELECT key, label FROM labels WHERE task = ?", [task]).fetchall()
        if not rows:
            tasks = [
                str(row[0]) for row in connection.execute("SELECT DISTINCT task FROM labels ORDER BY 1").fetchall()
            ]
            known = f"there are {', '.join(tasks)}" if tasks else "import some with: radio labels import"
            raise DatasetError(f"the dataset has no labels of a task {task!r}; {known}")
    return {str(key): str(label) for key, label in rows}


def indexed_labels(root: Path) -> dict[str, dict[str, str]]:
    """All labels of the index, by task and key.

    Raises:
        DatasetError: There is no index, or it cannot be read.
    """
    tasks: dict[str, dict[str, str]] = {}
    for task, key, label in read_index(root, "SELECT task, key, label FROM labels"):
        tasks.setdefault(str(task), {})[str(key)] = str(label)
    return tasks


def task_path(layout: DatasetLayout, task: str) -> Path:
    """The file of a task.

    Raises:
        UsageError: The name cannot be that of a file.
    """
    if TASK_NAME.fullmatch(task) is None:
        raise UsageError(
            f"task {task!r}: use up to 64 letters, digits, '-' and '_', for example fracture or chexpert_effusion"
        )
    return layout.labels_dir / f"{task}.parquet"


def check_labels(labels: dict[str, str]) -> None:
    """Refuse labels that could tell about people.

    Raises:
        UsageError: There are too many different words, or one is too long; the message does not show them.
    """
    words = {label for label in labels.values() if _NUMBER.fullmatch(label) is None}
    advice = (
        "labels go into the folder that is shared, so they must be words of a short list or numbers below a million"
    )
    if len(words) > MAX_WORDS:
        raise UsageError(f"{len(words)} different labels, at most {MAX_WORDS} are accepted; {advice}")
    longest = max(map(len, words), default=0)
    if longest > MAX_WORD_LENGTH or any("\n" in word or "^" in word for word in words):
        raise UsageError(f"a label of {longest} characters or with '^' or line breaks; {advice}")


def read_task(path: Path) -> dict[str, str]:
    """Labels by key from the file of a task.

    Raises:
        DatasetError: It is damaged, of another task or of another format version.
    """
    from radio_io.index.label_file import read_labels  # pyarrow: commands that list labels start without it

    labels: dict[str, str] = {}
    for batch in read_labels(path):
        labels.update(zip(batch["key"].to_pylist(), batch["label"].to_pylist(), strict=True))
    return labels


def write_task(layout: DatasetLayout, task: str, labels: dict[str, str]) -> None:
    """Write the file of a task; the same labels give the same bytes. The index has to be published afterwards.

    Raises:
        UsageError: The name or a label is refused.
        StorageError: It cannot be written.
    """
    from radio_io.index.label_file import encode_labels

    path = task_path(layout, task)
    check_labels(labels)
    atomic.make_folder(path.parent)
    atomic.write_file(path, encode_labels(task, labels))
