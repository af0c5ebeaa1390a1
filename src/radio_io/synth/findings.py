"""What is to be found in a phantom: fracture lines, plates and screws, and the letter of the side.

Comes in: a picture [rows, columns] float32 (0 air, 1 absorbs all) that is changed in place, a site along a bone.
Goes out: nothing more. Refuses nothing: a site outside the picture is moved inside.
"""

from dataclasses import dataclass
from math import atan2, cos, hypot, sin

import numpy as np

from radio_io.synth.shapes import Anatomy, Floats, longest_piece

_COLUMN = ((0.0, -0.4, 0.12), (0.0, 0.4, 0.12))  # of trunks, where no long bone is in the way
_METAL = 1.04
_LETTER = 1.0
_LETTERS = {
    "L": (((0.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (0.6, 1.0))),
    "R": (
        ((0.0, 0.0), (0.0, 1.0)),
        ((0.0, 0.0), (0.45, 0.0)),
        ((0.45, 0.0), (0.6, 0.13)),
        ((0.6, 0.13), (0.6, 0.36)),
        ((0.6, 0.36), (0.45, 0.5)),
        ((0.45, 0.5), (0.0, 0.5)),
        ((0.3, 0.5), (0.62, 1.0)),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A place on a bone in pixels: its middle, the bone's direction (radians), its radius and free length."""

    x: float
    y: float
    angle: float
    radius: float
    length: float


def find_site(
    anatomy: Anatomy, middle: tuple[float, float], unit: float, shape: tuple[int, ...], generator: np.random.Generator
) -> Site:
    """A place on one of the long bones (or along the middle where there are none) that lies well inside the picture."""
    pieces = [longest_piece(body) for body in anatomy.bones if body.long_bone] or [_COLUMN]
    (x0, y0, r0), (x1, y1, r1) = pieces[int(generator.integers(len(pieces)))]
    ends = np.array([[x0, y0], [x1, y1]]) * unit + np.array(middle)
    limits = np.array([shape[1], shape[0]], float)
    along = np.linspace(0.08, 0.92, 43)[:, None]
    places = ends[0] + along * (ends[1] - ends[0])
    inside = np.all((places > 0.18 * limits) & (places < 0.82 * limits), axis=1)
    if not inside.any():
        places = np.clip(places, 0.2 * limits, 0.8 * limits)
        inside[:] = True
    x, y = places[inside][int(generator.integers(int(inside.sum())))]
    length = max(1.0, hypot(*(float(side) for side in ends[1] - ends[0])))
    share = float(np.clip(hypot(x - ends[0, 0], y - ends[0, 1]) / length, 0, 1))
    return Site(
        x=float(x),
        y=float(y),
        angle=atan2(y1 - y0, x1 - x0),
        radius=max(2.0, (r0 + (r1 - r0) * share) * unit),
        length=min(0.17 * float(min(limits)), 0.4 * length) + 1.0,
    )


def draw_fracture(picture: Floats, site: Site, generator: np.random.Generator) -> None:
    """A thin, dark, jagged line across the bone, sometimes gaping on one side."""
    reach = site.radius
    rows, columns, along, across = _window(picture, site, reach * 1.6, reach)
    knots = np.linspace(-reach, reach, 9)
    slope = float(generator.uniform(-0.7, 0.7))
    jags = slope * knots + 0.16 * site.radius * generator.standard_normal(9)
    distance = along - np.interp(across, knots, jags).astype(np.float32)
    width = max(0.8, float(generator.uniform(0.0011, 0.0024)) * max(picture.shape))
    gape = np.clip(1 + float(generator.uniform(-0.6, 0.6)) * across / reach, 0.4, 1.6)
    line = np.exp(-((distance / (width * gape)) ** 2)) * (np.abs(across) < reach)
    picture[rows, columns] *= 1 - np.float32(generator.uniform(0.45, 0.65)) * line.astype(np.float32)


def draw_metal(picture: Floats, site: Site, generator: np.random.Generator) -> None:
    """A plate with screws along the bone, or a nail or a pair of wires in it: brighter than any bone."""
    kind = float(generator.random())
    thin = max(1.0, 0.0035 * max(picture.shape))
    if kind < 0.6:
        offset = site.radius * float(generator.choice([-0.85, 0.85]))
        _draw_rod(picture, site, (-site.length, offset), (site.length, offset), max(thin * 1.4, site.radius * 0.13))
        count = int(generator.integers(3, 7))
        for place in np.linspace(-0.85, 0.85, count) * site.length:
            tilt = float(generator.uniform(-0.08, 0.08)) * site.radius
            _draw_rod(picture, site, (float(place), offset * 1.1), (float(place) + tilt, -offset), thin)
            _draw_rod(picture, site, (float(place), offset * 1.25), (float(place), offset * 1.2), thin * 1.8)
    elif kind < 0.8:
        _draw_rod(picture, site, (-1.3 * site.length, 0.0), (1.3 * site.length, 0.0), max(thin, site.radius * 0.3))
    else:
        for lean in (-0.5, 0.5):
            _draw_rod(picture, site, (-site.length, lean * site.radius), (site.length, -lean * site.radius), thin * 0.8)


def draw_marker(picture: Floats, side: str, generator: np.random.Generator) -> None:
    """The letter L or R in lead, near a corner where least lies behind it."""
    rows, columns = picture.shape
    height = max(5.0, 0.035 * max(rows, columns))
    width = max(0.7, height * 0.09)
    margin = 1.2 * height
    if rows < 4 * height or columns < 4 * height:
        return
    corners = [(x, y) for x in (margin, columns - margin - 0.65 * height) for y in (margin, rows - margin - height)]
    behind = [float(picture[int(y) : int(y + height), int(x) : int(x + height)].mean()) for x, y in corners]
    x, y = corners[int(np.argmin(behind))]
    x += float(generator.uniform(-0.3, 0.3)) * height
    y += float(generator.uniform(-0.3, 0.3)) * height
    origin = Site(x=x, y=y, angle=float(generator.uniform(-0.15, 0.15)), radius=width, length=height)
    for start, stop in _LETTERS[side]:
        first, last = (start[0] * height, start[1] * height), (stop[0] * height, stop[1] * height)
        _draw_rod(picture, origin, first, last, width, value=_LETTER)


def _draw_rod(
    picture: Floats,
    site: Site,
    start: tuple[float, float],
    stop: tuple[float, float],
    radius: float,
    value: float = _METAL,
) -> None:
    """A rod between two points given along and across the site, its edge one pixel soft."""
    turn_x, turn_y = cos(site.angle), sin(site.angle)
    x0, x1 = (site.x + a * turn_x - c * turn_y for a, c in (start, stop))
    y0, y1 = (site.y + a * turn_y + c * turn_x for a, c in (start, stop))
    length = hypot(x1 - x0, y1 - y0)
    rod = Site(x=(x0 + x1) / 2, y=(y0 + y1) / 2, angle=atan2(y1 - y0, x1 - x0), radius=radius, length=length / 2)
    rows, columns, along, across = _window(picture, rod, rod.length + radius + 1, radius + 1)
    beyond = np.maximum(np.abs(along) - np.float32(rod.length), 0)
    cover = np.clip(np.float32(radius + 0.5) - np.hypot(beyond, across), 0, 1)
    block = picture[rows, columns]
    block += (np.maximum(block, np.float32(value)) - block) * cover


def _window(picture: Floats, site: Site, reach: float, girth: float) -> tuple[slice, slice, Floats, Floats]:
    """The part of the picture around a site, and its pixels' places along and across the bone."""
    turn_x, turn_y = cos(site.angle), sin(site.angle)
    half_x = abs(reach * turn_x) + abs(girth * turn_y) + 1
    half_y = abs(reach * turn_y) + abs(girth * turn_x) + 1
    rows = slice(max(0, int(site.y - half_y)), max(0, int(site.y + half_y) + 1))
    columns = slice(max(0, int(site.x - half_x)), max(0, int(site.x + half_x) + 1))
    height, width = picture[rows, columns].shape
    dy = np.arange(rows.start, rows.start + height, dtype=np.float32)[:, None] - np.float32(site.y)
    dx = np.arange(columns.start, columns.start + width, dtype=np.float32)[None, :] - np.float32(site.x)
    along: Floats = np.add(dx * np.float32(turn_x), dy * np.float32(turn_y), dtype=np.float32)
    across: Floats = np.subtract(dy * np.float32(turn_x), dx * np.float32(turn_y), dtype=np.float32)
    return rows, columns, along, across
