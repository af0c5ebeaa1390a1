"""Predictions as Parquet: one row an image, joined by key.

Comes in: keys, patients, splits and `Outcomes`. Goes out: a file with the columns `key`, `patient_key`, `split`,
`truth`, `predicted` and `scores`, and back again. Refuses files that are none, and of versions it does not know.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.checked_table import encode_table, read_table
from radio_io.errors import DatasetError, UsageError
from radio_train.evaluation.outcomes import Indices, Outcomes, TaskKind

VERSION = 1
_FACTS = b"radio.predictions"
_ADVICE = "they are written by: radio train finetune"


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What a model said of some images: keys, patients and split of dataset or task of each, truth and scores."""

    task: str
    keys: tuple[str, ...]
    patients: tuple[str, ...]
    splits: tuple[str, ...]
    outcomes: Outcomes

    def of_split(self, split: str) -> "Predictions":
        """Those of a split.

        Raises:
            DatasetError: There is none.
        """
        chosen = np.array(self.splits) == split
        if not chosen.any():
            known = ", ".join(sorted(set(self.splits)))
            raise DatasetError(f"there is no prediction of split {split!r}; there are {known}")
        return self.select(chosen)

    def select(self, chosen: NDArray[np.bool_]) -> "Predictions":
        """Those of some images."""
        rows = np.flatnonzero(chosen).tolist()
        return Predictions(
            task=self.task,
            keys=tuple(self.keys[row] for row in rows),
            patients=tuple(self.patients[row] for row in rows),
            splits=tuple(self.splits[row] for row in rows),
            outcomes=self.outcomes.select(chosen),
        )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the file, whole or not at all; rows are sorted by split and key.

    Raises:
        StorageError: It cannot be written.
    """
    outcomes = predictions.outcomes
    order = sorted(range(len(outcomes)), key=lambda row: (predictions.splits[row], predictions.keys[row]))
    names = outcomes.classes
    several = outcomes.kind is TaskKind.MULTILABEL

    def called(values: Indices) -> list[object]:
        if several:
            return [[names[i] for i in np.flatnonzero(values[row])] for row in order]
        return [names[int(values[row])] for row in order]

    facts = {"version": VERSION, "task": predictions.task, "kind": outcomes.kind.value, "classes": list(names)}
    label = pa.list_(pa.string()) if several else pa.string()
    table = pa.table(
        {
            "key": [predictions.keys[row] for row in order],
            "patient_key": [predictions.patients[row] for row in order],
            "split": [predictions.splits[row] for row in order],
            "truth": pa.array(called(outcomes.truth), label),
            "predicted": pa.array(called(outcomes.predicted), label),
            "scores": pa.FixedSizeListArray.from_arrays(pa.array(outcomes.scores[order].ravel()), len(names)),
        }
    ).replace_schema_metadata({_FACTS: json.dumps(facts)})
    atomic.write_file(path, encode_table(table))


def read_predictions(path: Path) -> Predictions:
    """The predictions in a file.

    Raises:
        DatasetError: It is missing or damaged.
        UsageError: It is none of ours, or of another version.
    """
    table = read_table(path, advice=_ADVICE)
    try:
        facts = json.loads((table.schema.metadata or {})[_FACTS])
    except (KeyError, ValueError):
        raise UsageError(f"{path} holds no predictions; {_ADVICE}") from None
    if facts["version"] != VERSION:
        raise UsageError(f"{path} has version {facts['version']}, this radio reads {VERSION}; update radio")
    columns = table.to_pydict()
    names, kind = tuple(facts["classes"]), TaskKind(facts["kind"])
    if kind is TaskKind.MULTILABEL:
        truth = np.array([[int(name in labels) for name in names] for labels in columns["truth"]], np.int64)
    else:
        truth = np.array([names.index(label) for label in columns["truth"]], np.int64)
    scores = np.array(columns["scores"], np.float64).reshape(len(truth), len(names))
    return Predictions(
        task=facts["task"],
        keys=tuple(columns["key"]),
        patients=tuple(columns["patient_key"]),
        splits=tuple(columns["split"]),
        outcomes=Outcomes(kind=kind, classes=names, truth=truth, scores=scores),
    )
