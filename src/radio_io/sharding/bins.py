"""The bins: rectangles that images are gathered by, so that a batch of one bin needs little padding.

Comes in: a notation or rectangles. Goes out: `Bins`, which assigns each image the smallest rectangle that holds it.
Refuses: notations that cannot be meant, and more than `MAX_BINS` rectangles.

Three notations: cut-offs for both axes `1152,1536,1920` (every height with every width), the same with a run
`1152,...,3072` (step 384; two leading values give another step: `1000,1250,...,2000`), and rectangles
`1152x1536,3072x3072` (height x width).
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import ConfigError

# Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), section 3.3.1: 1152 to 3072 in steps of 384.
DEFAULT_STEP = 384
DEFAULT_NOTATION = "1152,...,3072"
MAX_BINS = 4096
MAX_SIDE = 65_535  # rows and columns of a DICOM image are unsigned 16-bit numbers
NONE = -1
_RECTANGLE = re.compile(r"([0-9]+)\s*[x×]\s*([0-9]+)")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Bin:
    """One rectangle, in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bins:
    """Rectangles, smallest area first; of equal areas the lower one first.

    Example:
        >>> bins = Bins.parse("1152,...,3072")
        >>> len(bins.rectangles), str(bins.assign(1400, 3000)), bins.assign(3073, 10)
        (36, '1536x3072', None)
    """

    rectangles: tuple[Bin, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.rectangles) <= MAX_BINS:
            raise ConfigError(f"bins: {len(self.rectangles)} rectangles; expected 1 to {MAX_BINS}")
        for rectangle in self.rectangles:
            if not (1 <= rectangle.height <= MAX_SIDE and 1 <= rectangle.width <= MAX_SIDE):
                raise ConfigError(f"bins: {rectangle} is outside 1 to {MAX_SIDE} pixels a side")
        ordered = sorted(set(self.rectangles), key=lambda each: (each.height * each.width, each.height))
        object.__setattr__(self, "rectangles", tuple(ordered))

    @classmethod
    def parse(cls, notation: str) -> Self:
        """The bins of a notation.

        Raises:
            ConfigError: The notation cannot be meant; the message shows one that can.
        """
        parts = [part.strip() for part in notation.split(",")]
        if any(_RECTANGLE.fullmatch(part) for part in parts):
            return cls(rectangles=tuple(_parse_rectangle(part, notation) for part in parts))
        cut_offs = _parse_cut_offs(parts, notation)
        return cls.from_cut_offs(cut_offs, cut_offs)

    @classmethod
    def from_cut_offs(cls, heights: Sequence[int], widths: Sequence[int]) -> Self:
        """Every height with every width."""
        pairs = itertools.product(heights, widths)
        return cls(rectangles=tuple(Bin(height=height, width=width) for height, width in pairs))

    def assign(self, rows: int, columns: int) -> Bin | None:
        """The smallest rectangle that holds an image, or None where none does."""
        position = int(self.assign_all(np.array([rows]), np.array([columns]))[0])
        return None if position == NONE else self.rectangles[position]

    def assign_all(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.int64]:
        """For each image the position of its rectangle in `rectangles`, or -1 where none holds it."""
        positions = np.full(len(rows), NONE, np.int64)
        for position in range(len(self.rectangles) - 1, -1, -1):  # the smallest comes last and stays
            rectangle = self.rectangles[position]
            positions[(rows <= rectangle.height) & (columns <= rectangle.width)] = position
        return positions

    def __str__(self) -> str:
        """The notation, in its shortest form: cut-offs where these are all pairs of the same cut-offs."""
        heights = sorted({each.height for each in self.rectangles})
        if set(self.rectangles) == set(self.from_cut_offs(heights, heights).rectangles):
            return ",".join(map(str, heights))
        return ",".join(map(str, self.rectangles))


def _parse_rectangle(part: str, notation: str) -> Bin:
    match = _RECTANGLE.fullmatch(part)
    if match is None:
        raise ConfigError(
            f"bins {notation!r}: {part!r} is no rectangle; give all as HEIGHTxWIDTH, for example 1152x1536"
        )
    return Bin(height=int(match[1]), width=int(match[2]))


def _parse_cut_offs(parts: list[str], notation: str) -> list[int]:
    dots = [position for position, part in enumerate(parts) if part in ("...", "…")]
    numbers = [part for part in parts if part not in ("...", "…")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in numbers):
        raise ConfigError(
            f"bins {notation!r}: expected whole numbers, for example 1152,...,3072 or 1152x1536,3072x3072"
        )
    cut_offs = [int(part) for part in numbers]
    if dots:
        if len(dots) > 1 or dots[0] not in (1, 2) or dots[0] != len(parts) - 2:
            raise ConfigError(
                f"bins {notation!r}: '...' stands after one or two numbers and before the last: 1152,...,3072"
            )
        cut_offs = _run(cut_offs, notation)
    if any(later <= earlier for earlier, later in itertools.pairwise(cut_offs)):
        raise ConfigError(f"bins {notation!r}: cut-offs must grow, for example 1152,1536,1920")
    return cut_offs


def _run(ends: list[int], notation: str) -> list[int]:
    first, last = ends[0], ends[-1]
    step = ends[1] - first if len(ends) == 3 else DEFAULT_STEP
    if step < 1 or last <= first or (last - first) % step:
        raise ConfigError(
            f"bins {notation!r}: steps of {step} from {first} do not meet {last}; give two leading values for another "
            f"step, for example 1000,1250,...,2000"
        )
    if (last - first) // step >= MAX_BINS:
        raise ConfigError(f"bins {notation!r}: more than {MAX_BINS} cut-offs")
    return list(range(first, last + 1, step))
