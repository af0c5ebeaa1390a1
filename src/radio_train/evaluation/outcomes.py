"""What is judged: truth, probabilities and the decisions that follow from them.

Comes in: arrays of a model's predictions. Goes out: `Outcomes`. Refuses arrays that do not fit together and
probabilities that are none.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import UsageError

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
TOLERANCE = 1e-3
"""How far the probabilities of an image may be from adding up to 1: half precision gives four digits."""


class TaskKind(StrEnum):
    """What a label says."""

    BINARY = "binary"
    """Absent or present; the second class is the positive one."""
    MULTICLASS = "multiclass"
    """One of several classes without order."""
    MULTILABEL = "multilabel"
    """Any number of labels an image."""
    ORDINAL = "ordinal"
    """One of several classes in ascending order, such as grades."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """Truth and predictions of n images.

    Attributes:
        kind: What a label says.
        classes: Names of C classes (or labels), in the order of the columns.
        truth: [n] int64, the class; [n, C] 0 or 1 where several labels are possible.
        scores: [n, C] float64, probabilities; rows add up to 1 except where several labels are possible.
    """

    kind: TaskKind
    classes: tuple[str, ...]
    truth: Indices
    scores: Numbers

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        count, columns = self.scores.shape
        expected = (count, columns) if self.kind is TaskKind.MULTILABEL else (count,)
        if columns != len(self.classes) or self.truth.shape != expected:
            raise UsageError(
                f"found truth {self.truth.shape} and scores {self.scores.shape} for {len(self.classes)} classes; "
                "expected one truth and as many scores as classes for each image"
            )
        if count and not (np.isfinite(self.scores).all() and self.scores.min() >= 0 and self.scores.max() <= 1):
            raise UsageError("found scores outside of 0 to 1; expected probabilities")
        if count and self.kind is not TaskKind.MULTILABEL and np.abs(self.scores.sum(1) - 1).max() > TOLERANCE:
            raise UsageError("found scores that do not add up to 1; expected probabilities of the classes")

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def predicted(self) -> Indices:
        """The decision: the likeliest class, the median where classes have an order, labels of at least 0.5."""
        if self.kind is TaskKind.MULTILABEL:
            return (self.scores >= 0.5).astype(np.int64)
        if self.kind is TaskKind.ORDINAL:
            return (np.cumsum(self.scores, axis=1)[:, :-1] < 0.5).sum(1).astype(np.int64)
        return self.scores.argmax(1).astype(np.int64)

    def select(self, rows: NDArray[np.bool_] | Indices) -> "Outcomes":
        """The outcomes of some images."""
        return Outcomes(kind=self.kind, classes=self.classes, truth=self.truth[rows], scores=self.scores[rows])
