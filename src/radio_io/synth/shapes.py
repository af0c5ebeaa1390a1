"""The shapes of which phantoms are made, and how much of the beam each of them takes.

Comes in: shapes in the region's frame (the image's half height is 1, x to the right, y down). Goes out: their path
lengths added to a map [rows, columns] float32. Refuses nothing: shapes outside the frame leave no trace.

A shaft is a hollow cylinder: its path length is that of the outer cylinder less a part of the inner one, which gives
the bright cortex and the darker marrow of a real bone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import cos, hypot, sin

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Point = tuple[float, float, float]
Box = tuple[float, float, float, float]

_BLOCK_POWER = 4
_ARC_HOLLOW, _ARC_MARROW = 0.5, 0.5
_FAR = np.float32(9.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shaft:
    """A rounded, tapering tube along `points` (x, y, radius); `hollow` is the share of the marrow's path left out."""

    points: tuple[Point, ...]
    hollow: float = 0.62
    marrow: float = 0.74  # radius of the marrow over that of the shaft


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """An ellipsoid (`power` 2) or rounded block (`power` 4) of half axes `rx`, `ry`, turned by `angle` (radians)."""

    x: float
    y: float
    rx: float
    ry: float
    angle: float = 0.0
    power: int = 2
    hollow: float = 0.25
    marrow: float = 0.86


@dataclass(frozen=True, kw_only=True, slots=True)
class Arc:
    """The upper half of an elliptical ring of half `width`, between the fractions `start` and `stop` of its `rx`."""

    x: float
    y: float
    rx: float
    ry: float
    width: float
    angle: float = 0.0
    start: float = -1.0
    stop: float = 1.0


Part = Shaft | Blob | Arc


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """Parts of one density that overlap without adding up: a bone, a limb's soft tissue, or air where negative."""

    parts: tuple[Part, ...]
    density: float = 1.0
    long_bone: bool = False  # its longest shaft may break or carry a plate


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """What lies in the beam: soft tissue and air, then bones."""

    soft: list[Body]
    bones: list[Body]


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Coordinates of a map's pixels in the region's frame: open grids `x` [columns], `y` [rows] float32."""

    x: Floats
    y: Floats

    def window(self, box: Box) -> tuple[slice, slice]:
        """Rows and columns of the map that lie in (left, top, right, bottom)."""
        left, right = np.searchsorted(self.x, (box[0], box[2]))
        top, bottom = np.searchsorted(self.y, (box[1], box[3]))
        return slice(int(top), int(bottom)), slice(int(left), int(right))


def add_body(target: Floats, body: Body, frame: Frame) -> None:
    """Add the body's path length times its density to `target` [rows, columns]."""
    pieces = [piece for part in body.parts for piece in _pieces(part)]
    boxes = [_box(piece) for piece in pieces]
    rows, columns = frame.window(_union(boxes))
    if _is_empty(rows, columns):
        return
    outer = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
    marrow = np.zeros_like(outer)
    inner = Frame(x=frame.x[columns], y=frame.y[rows])
    for piece, box in zip(pieces, boxes, strict=True):
        at = inner.window(box)
        if not _is_empty(*at):
            _join(piece, inner.x[at[1]], inner.y[at[0]], outer[at], marrow[at])
    outer -= marrow
    outer *= np.float32(body.density)
    target[rows, columns] += outer


def longest_piece(body: Body) -> tuple[Point, Point]:
    """End points (x, y, radius) of the longest straight piece of the body's shafts."""
    shafts = [part for part in body.parts if isinstance(part, Shaft)]
    pairs = [pair for shaft in shafts for pair in zip(shaft.points[:-1], shaft.points[1:], strict=True)]
    return max(pairs, key=lambda pair: hypot(pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]))


def mirrored(body: Body) -> Body:
    """The body on the other side of x = 0."""
    return replace(body, parts=tuple(_mirrored_part(part) for part in body.parts))


def turned(body: Body, angle: float) -> Body:
    """The body turned by `angle` (radians) around the frame's middle."""
    return replace(body, parts=tuple(_turned_part(part, angle) for part in body.parts))


def _turned_part(part: Part, angle: float) -> Part:
    if isinstance(part, Shaft):
        return replace(part, points=tuple((*_turned_point(x, y, angle), radius) for x, y, radius in part.points))
    x, y = _turned_point(part.x, part.y, angle)
    return replace(part, x=x, y=y, angle=part.angle + angle)


def _turned_point(x: float, y: float, angle: float) -> tuple[float, float]:
    return x * cos(angle) - y * sin(angle), x * sin(angle) + y * cos(angle)


def _mirrored_part(part: Part) -> Part:
    if isinstance(part, Shaft):
        return replace(part, points=tuple((-x, y, radius) for x, y, radius in part.points))
    if isinstance(part, Blob):
        return replace(part, x=-part.x, angle=-part.angle)
    return replace(part, x=-part.x, angle=-part.angle, start=-part.stop, stop=-part.start)


def _pieces(part: Part) -> Sequence[Part]:
    """Straight pieces of a shaft, so that each is drawn in a small window; other parts as they are."""
    if not isinstance(part, Shaft):
        return (part,)
    return [replace(part, points=pair) for pair in zip(part.points[:-1], part.points[1:], strict=True)]


def _box(part: Part) -> Box:
    if isinstance(part, Shaft):
        left, right = min(x - r for x, _, r in part.points), max(x + r for x, _, r in part.points)
        return left, min(y - r for _, y, r in part.points), right, max(y + r for _, y, r in part.points)
    width = part.width if isinstance(part, Arc) else 0.0
    rx, ry = part.rx + width, part.ry + width
    turn_x, turn_y = abs(cos(part.angle)), abs(sin(part.angle))
    across, down = hypot(rx * turn_x, ry * turn_y), hypot(rx * turn_y, ry * turn_x)
    if isinstance(part, Blob) and part.power == _BLOCK_POWER:
        across, down = rx * turn_x + ry * turn_y, rx * turn_y + ry * turn_x
    return part.x - across, part.y - down, part.x + across, part.y + down


def _union(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _is_empty(rows: slice, columns: slice) -> bool:
    return bool(rows.start >= rows.stop or columns.start >= columns.stop)


def _join(part: Part, x: Floats, y: Floats, outer: Floats, marrow: Floats) -> None:
    """Raise `outer` to the part's path length at columns `x` and rows `y`, and `marrow` to that of its marrow."""
    if isinstance(part, Shaft):
        squared = _shaft_distance(part, x, y)
        thickness = (0.5 * (part.points[0][2] + part.points[1][2])) ** 0.5
        _raise(outer, marrow, squared, part.hollow, part.marrow**2, thickness)
        return
    turn_x, turn_y = np.float32(cos(part.angle)), np.float32(sin(part.angle))
    dx, dy = x - np.float32(part.x), y - np.float32(part.y)
    along: Floats = np.add(dx[None, :] * turn_x, dy[:, None] * turn_y, dtype=np.float32)
    across: Floats = np.subtract(dy[:, None] * turn_x, dx[None, :] * turn_y, dtype=np.float32)
    if isinstance(part, Arc):
        _raise(outer, marrow, _arc_distance(part, along, across), _ARC_HOLLOW, _ARC_MARROW, part.width**0.5)
    else:
        squared = _blob_distance(part, along, across)
        _raise(outer, marrow, squared, part.hollow, part.marrow**part.power, min(part.rx, part.ry) ** 0.5)


def _shaft_distance(part: Shaft, x: Floats, y: Floats) -> Floats:
    """Squared distance to a straight shaft's axis over its squared radius there."""
    (x0, y0, r0), (x1, y1, r1) = part.points
    lx, ly = x1 - x0, y1 - y0
    squared = max(lx * lx + ly * ly, 1e-9)
    dx, dy = x - np.float32(x0), y - np.float32(y0)
    t = (dx * np.float32(lx / squared))[None, :] + (dy * np.float32(ly / squared))[:, None]
    np.clip(t, 0, 1, out=t)
    distance: Floats = np.subtract(dx[None, :], t * np.float32(lx), dtype=np.float32)
    distance *= distance
    other = dy[:, None] - t * np.float32(ly)
    other *= other
    distance += other
    t *= np.float32(r1 - r0)
    t += np.float32(r0)
    t *= t
    distance /= t
    return distance


def _blob_distance(part: Blob, along: Floats, across: Floats) -> Floats:
    """1 on the blob's outline, 0 in its middle."""
    along *= np.float32(1 / part.rx)
    across *= np.float32(1 / part.ry)
    along *= along
    across *= across
    if part.power == _BLOCK_POWER:
        along *= along
        across *= across
    along += across
    return along


def _arc_distance(part: Arc, along: Floats, across: Floats) -> Floats:
    """Squared distance to the middle of the ring over its squared half width; far where the arc is not drawn."""
    outside = (across > 0) | (along < np.float32(part.start * part.rx)) | (along > np.float32(part.stop * part.rx))
    along *= np.float32(1 / part.rx)
    across *= np.float32(1 / part.ry)
    rho = np.hypot(along, across)
    along *= np.float32(1 / part.rx)
    across *= np.float32(1 / part.ry)
    slope = np.hypot(along, across) + np.float32(1e-6)
    distance: Floats = np.divide((rho - 1) * rho, slope, dtype=np.float32)
    distance *= np.float32(1 / part.width)
    distance *= distance
    distance[outside] = _FAR
    return distance


def _raise(
    outer: Floats, marrow: Floats, squared: Floats, hollow: float, marrow_squared: float, thickness: float
) -> None:
    """Raise the two maps to the paths through a unit circle and through its marrow, at squared distances."""
    if hollow:
        inner = np.subtract(np.float32(marrow_squared), squared)
        np.maximum(inner, 0, out=inner)
        np.sqrt(inner, out=inner)
        inner *= np.float32(hollow * thickness)
        np.maximum(marrow, inner, out=marrow)
    np.subtract(1, squared, out=squared)
    np.maximum(squared, 0, out=squared)
    np.sqrt(squared, out=squared)
    squared *= np.float32(thickness)
    np.maximum(outer, squared, out=outer)
