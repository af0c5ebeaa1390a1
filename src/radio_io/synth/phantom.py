"""Radiograph-like phantoms: bones whose arrangement tells the region, soft tissue, texture, noise, a border.

Comes in: a region, a size, a generator, and what is to be seen (fracture, foreign material). Goes out: the picture,
[rows, columns] uint16 below 2 ** bits, 0 is air, brighter where more is absorbed. Nothing here comes from a patient.

Smooth parts are made at a fraction of the size and enlarged, so that a phantom costs a few tens of milliseconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Point = tuple[float, float]

# Share of images and typical (height, width) in pixels of each region.
# Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), Table 3.1 and section 3.2.1.
REGIONS: dict[str, tuple[float, int, int]] = {
    "Knee": (0.26, 2050, 1480),
    "Shoulder": (0.17, 1850, 1880),
    "Ankle": (0.13, 2050, 1420),
    "Elbow": (0.09, 1800, 1400),
    "Foot": (0.08, 2150, 1350),
    "Wrist": (0.07, 1750, 1200),
    "Hand": (0.06, 2000, 1450),
    "Cervical spine": (0.05, 2150, 1700),
    "Clavicle": (0.03, 1550, 2000),
    "Thoracic spine": (0.02, 2650, 1450),
    "Lumbar spine": (0.02, 2600, 1650),
    "Skull": (0.01, 2350, 1950),
    "Ribs": (0.005, 2500, 2250),
    "Scapula": (0.005, 2200, 1950),
}
# Bones as capsules (from, to, thickness) in units of the image: (row, column) from 0 to 1.
Bone = tuple[Point, Point, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomRequest:
    """What to draw."""

    region: str
    rows: int
    columns: int
    bits: int
    seed: int
    fracture: bool = False
    foreign_material: bool = False


def draw_phantom(request: PhantomRequest) -> NDArray[np.uint16]:
    """The picture of a request, [rows, columns] uint16 below 2 ** bits; the same for the same request."""
    generator = np.random.default_rng([request.seed, 0x5EED])
    shape = (request.rows, request.columns)
    bones = _moved(_bones(request.region), generator)
    attenuation = _soft_tissue(bones, shape, generator)
    for bone in bones:
        attenuation += _bone(bone, shape)
    attenuation += 0.12 * _texture(shape, generator)
    if request.fracture:
        attenuation -= _fracture(bones, shape, generator)
    if request.foreign_material:
        attenuation = np.maximum(attenuation, _screws(bones, shape, generator))
    noise = generator.standard_normal(shape, dtype=np.float32)
    image = (np.clip(attenuation, 0, None) * 0.28 + 0.012 * noise).astype(np.float32)
    _marker(image, generator)
    _collimate(image, generator)
    top = (1 << request.bits) - 1
    return np.clip(image * top, 0, top).astype(np.uint16)


def _bones(region: str) -> list[Bone]:
    straight: dict[str, list[Bone]] = {
        "Knee": [
            ((-0.1, 0.5), (0.47, 0.5), 0.15),
            ((0.55, 0.47), (1.1, 0.47), 0.13),
            ((0.56, 0.68), (1.1, 0.66), 0.05),
        ],
        "Shoulder": [
            ((0.42, 0.3), (1.1, 0.22), 0.12),
            ((0.3, 0.32), (0.42, 0.3), 0.17),
            ((0.2, 0.3), (0.15, 1.1), 0.05),
        ],
        "Ankle": [
            ((-0.1, 0.45), (0.55, 0.45), 0.12),
            ((-0.1, 0.65), (0.62, 0.63), 0.06),
            ((0.68, 0.4), (0.72, 0.7), 0.13),
        ],
        "Elbow": [
            ((-0.1, 0.35), (0.5, 0.45), 0.13),
            ((0.55, 0.5), (0.75, 1.1), 0.08),
            ((0.62, 0.4), (0.95, 1.1), 0.08),
        ],
        "Clavicle": [
            ((0.55, -0.05), (0.45, 0.5), 0.06),
            ((0.45, 0.5), (0.55, 1.05), 0.06),
            ((0.75, 0.1), (1.1, 0.05), 0.1),
        ],
        "Skull": [((0.4, 0.5), (0.45, 0.5), 0.36), ((0.75, 0.35), (0.75, 0.65), 0.1)],
        "Scapula": [((0.2, 0.3), (0.8, 0.55), 0.2), ((0.2, 0.2), (0.35, 0.8), 0.05), ((0.3, 0.15), (1.1, 0.1), 0.09)],
    }
    if region in straight:
        return straight[region]
    if region in ("Hand", "Foot", "Wrist"):
        return _rays(region)
    if region == "Ribs":
        return [((0.08 + 0.1 * k, 0.08), (0.14 + 0.1 * k, 0.92), 0.025) for k in range(9)]
    count, size = {"Cervical spine": (7, 0.1), "Thoracic spine": (9, 0.09), "Lumbar spine": (5, 0.15)}[region]
    step = 1.0 / count
    middles = [((k + 0.5) * step, 0.5 + 0.06 * np.sin(3 * k / count)) for k in range(count)]
    return [((row, column - size), (row, column + size), 0.36 * step) for row, column in middles]


def _rays(region: str) -> list[Bone]:
    """Fingers or toes above a row of small bones; the wrist shows their ends and the forearm."""
    start, end, thickness = {"Hand": (0.62, 0.08, 0.04), "Foot": (0.5, 0.1, 0.05), "Wrist": (0.35, -0.3, 0.06)}[region]
    rays: list[Bone] = []
    for k in range(5):
        foot, tip = 0.32 + 0.09 * k, 0.14 + 0.18 * k
        rays.append(((start, foot), (end + 0.12 * abs(k - 2) / 2, tip), thickness))
    carpus = [((start + 0.08, 0.32 + 0.12 * k), (start + 0.1, 0.36 + 0.12 * k), 0.06) for k in range(4)]
    if region == "Foot":
        return [*rays, *carpus, ((0.75, 0.5), (0.92, 0.5), 0.14)]
    return [*rays, *carpus, ((start + 0.24, 0.42), (1.1, 0.42), 0.08), ((start + 0.24, 0.62), (1.1, 0.62), 0.06)]


def _moved(bones: list[Bone], generator: np.random.Generator) -> list[Bone]:
    """The bones of one patient: turned, scaled, shifted, mirrored."""
    angle, scale = generator.uniform(-0.15, 0.15), generator.uniform(0.9, 1.1)
    shift = generator.uniform(-0.05, 0.05, 2)
    mirror = -1.0 if generator.random() < 0.5 else 1.0
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)

    def move(point: Point) -> Point:
        row, column = point[0] - 0.5, mirror * (point[1] - 0.5)
        return (
            float(cosine * row - sine * column + 0.5 + shift[0]),
            float(sine * row + cosine * column + 0.5 + shift[1]),
        )

    return [(move(a), move(b), thickness * scale * generator.uniform(0.9, 1.1)) for a, b, thickness in bones]


def _grid(shape: tuple[int, int], step: int) -> tuple[Image, Image]:
    rows = np.linspace(0, 1, max(2, -(-shape[0] // step)), dtype=np.float32)[:, None]
    columns = np.linspace(0, 1, max(2, -(-shape[1] // step)), dtype=np.float32)[None, :]
    return rows, columns


def _enlarge(small: Image, shape: tuple[int, int]) -> Image:
    """Bilinear enlargement, one axis after the other."""
    for axis, length in enumerate(shape):
        places = np.linspace(0, small.shape[axis] - 1, length, dtype=np.float32)
        low = np.minimum(places.astype(np.int64), small.shape[axis] - 2)
        weight = (places - low).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight[None, :]
        small = (np.take(small, low, axis) * (1 - weight) + np.take(small, low + 1, axis) * weight).astype(np.float32)
    return small


def _distance(bone: Bone, rows: Image, columns: Image) -> Image:
    """Distance to the axis of a bone, in units of its thickness."""
    (r0, c0), (r1, c1), thickness = bone
    dr, dc = r1 - r0, c1 - c0
    along = np.clip(((rows - r0) * dr + (columns - c0) * dc) / max(dr * dr + dc * dc, 1e-6), 0, 1)
    distance = np.sqrt((rows - r0 - along * dr) ** 2 + (columns - c0 - along * dc) ** 2) / thickness
    return distance.astype(np.float32)


def _soft_tissue(bones: list[Bone], shape: tuple[int, int], generator: np.random.Generator) -> Image:
    rows, columns = _grid(shape, 8)
    tissue = np.zeros((rows.shape[0], columns.shape[1]), np.float32)
    for bone in bones:
        near = _distance((bone[0], bone[1], bone[2] + 0.09), rows, columns)
        tissue = np.maximum(tissue, np.sqrt(np.clip(1.15 - near**2, 0, None)))
    return _enlarge((tissue * generator.uniform(0.7, 1.0)).astype(np.float32), shape)


def _bone(bone: Bone, shape: tuple[int, int]) -> Image:
    """A hollow cylinder in projection: bright cortex, darker marrow."""
    rows, columns = _grid(shape, 2)
    near = _distance(bone, rows, columns)
    outer = np.sqrt(np.clip(1 - near**2, 0, None))
    inner = np.sqrt(np.clip(1 - (near / 0.75) ** 2, 0, None))
    return _enlarge((1.5 * outer - 0.75 * inner).astype(np.float32), shape)


def _texture(shape: tuple[int, int], generator: np.random.Generator) -> Image:
    """Noise over several scales, about 1/f."""
    texture = np.zeros(shape, np.float32)
    for step, weight in ((64, 1.0), (24, 0.6), (8, 0.35)):
        small = (max(2, -(-shape[0] // step) + 1), max(2, -(-shape[1] // step) + 1))
        texture += weight * _enlarge(generator.standard_normal(small, dtype=np.float32), shape)
    return texture


def _fracture(bones: list[Bone], shape: tuple[int, int], generator: np.random.Generator) -> Image:
    """A thin dark line across a bone."""
    (r0, c0), (r1, c1), thickness = bones[int(generator.integers(len(bones)))]
    place = generator.uniform(0.3, 0.7)
    middle = (np.clip(r0 + place * (r1 - r0), 0.15, 0.85), np.clip(c0 + place * (c1 - c0), 0.15, 0.85))
    across = np.arctan2(c1 - c0, r1 - r0) + np.pi / 2 + generator.uniform(-0.5, 0.5)
    reach = thickness * 1.05
    line: Bone = (
        (float(middle[0] - reach * np.cos(across)), float(middle[1] - reach * np.sin(across))),
        (float(middle[0] + reach * np.cos(across)), float(middle[1] + reach * np.sin(across))),
        0.008,
    )
    rows, columns = _grid(shape, 1)
    return (0.9 * np.clip(1.2 - _distance(line, rows, columns), 0, 1)).astype(np.float32)


def _screws(bones: list[Bone], shape: tuple[int, int], generator: np.random.Generator) -> Image:
    """A plate along a bone with screws through it: brighter than any bone."""
    (r0, c0), (r1, c1), thickness = bones[int(generator.integers(len(bones)))]
    rows, columns = _grid(shape, 1)
    plate: Bone = ((r0 + 0.3 * (r1 - r0), c0 + 0.3 * (c1 - c0)), (r0 + 0.7 * (r1 - r0), c0 + 0.7 * (c1 - c0)), 0.018)
    metal = _distance(plate, rows, columns) < 1
    normal = np.array([-(c1 - c0), r1 - r0]) / max(float(np.hypot(r1 - r0, c1 - c0)), 1e-6)
    for place in (0.35, 0.5, 0.65):
        middle = (r0 + place * (r1 - r0), c0 + place * (c1 - c0))
        tip = (middle[0] + 0.9 * thickness * normal[0], middle[1] + 0.9 * thickness * normal[1])
        metal |= _distance((middle, tip, 0.01), rows, columns) < 1
    return np.where(metal, np.float32(3.4), np.float32(0))


def _marker(image: Image, generator: np.random.Generator) -> None:
    """A bright L or R beside the anatomy."""
    glyphs = {"L": ["X..", "X..", "X..", "X..", "XXX"], "R": ["XX.", "X.X", "XX.", "X.X", "X.X"]}
    glyph = np.array([[c == "X" for c in line] for line in glyphs[str(generator.choice(["L", "R"]))]])
    size = max(1, min(image.shape) // 80)
    stamp = np.kron(glyph, np.ones((size, size), bool))
    if stamp.shape[0] * 3 > image.shape[0] or stamp.shape[1] * 3 > image.shape[1]:
        return
    row, column = image.shape[0] // 9, image.shape[1] // 9
    if generator.random() < 0.5:
        column = image.shape[1] - column - stamp.shape[1]
    image[row : row + stamp.shape[0], column : column + stamp.shape[1]][stamp] = 0.95


def _collimate(image: Image, generator: np.random.Generator) -> None:
    """Nothing outside the beam."""
    top, bottom, left, right = (
        int(share * length)
        for share, length in zip(
            generator.uniform(0.01, 0.06, 4),
            (image.shape[0], image.shape[0], image.shape[1], image.shape[1]),
            strict=True,
        )
    )
    image[:top], image[image.shape[0] - bottom :] = 0, 0
    image[:, :left], image[:, image.shape[1] - right :] = 0, 0
