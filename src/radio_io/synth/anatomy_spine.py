"""The spine, by level and view, and the whole leg.

Comes in: nothing. Goes out: a function for each region and view that gives its `Anatomy`, in the frame of `shapes`
(half height 1). Refuses nothing.
"""

from collections.abc import Iterable
from math import pi, sin

from radio_io.synth.anatomy_limbs import bone, mass, pebble, spongy, tissue
from radio_io.synth.shapes import Anatomy, Arc, Blob, Body, Shaft

_SIDES = (-1, 1)


def vertebra(x: float, y: float, rx: float, ry: float, angle: float = 0.0, density: float = 1.0) -> Body:
    """A vertebral body: a block with bright end plates."""
    return Body(parts=(Blob(x=x, y=y, rx=rx, ry=ry, angle=angle, power=4, hollow=0.4, marrow=0.84),), density=density)


def wing(x: float, y: float, rx: float, ry: float, angle: float, density: float = 0.9) -> Body:
    """An iliac wing: a thin shell with a bright crest."""
    return Body(parts=(Blob(x=x, y=y, rx=rx, ry=ry, angle=angle, hollow=0.6, marrow=0.88),), density=density)


def rib_pair(y: float, reach: float, sag: float, width: float) -> list[Body]:
    """Ribs that arch from the spine to both sides."""
    half = reach * 0.62
    return [
        Body(
            parts=(Arc(x=s * half, y=y + sag, rx=half, ry=sag, width=width, angle=s * 0.15, start=-0.97, stop=0.97),),
            density=0.55,
        )
        for s in _SIDES
    ]


def cervical_spine_ap() -> Anatomy:
    """From the front: vertebrae between skull base and first ribs, the windpipe as a dark band."""
    heights = [-0.42 + 0.165 * k for k in range(8)]
    bodies = [vertebra(0.02 * sin(k), y, 0.15 + 0.008 * k, 0.065) for k, y in enumerate(heights)]
    joints = [mass(s * 0.2, y, 0.065, 0.08, 0.7) for y in heights[:7] for s in _SIDES]
    processes = [mass(0.0, y + 0.05, 0.03, 0.04, 0.8) for y in heights]
    jaw = spongy((-0.42, -0.9, 0.07), (-0.36, -0.68, 0.09), (0.0, -0.58, 0.1), (0.36, -0.68, 0.09), (0.42, -0.9, 0.07))
    base = pebble(0.0, -1.0, 0.5, 0.34, density=0.8)
    ribs = [
        spongy((s * 0.2, y, 0.05), (s * 0.5, y - 0.03, 0.045), (s * 0.75, y + 0.12, 0.04), density=0.6)
        for y in (0.72, 0.9)
        for s in _SIDES
    ]
    clavicles = [
        spongy((s * 0.14, 0.93, 0.07), (s * 0.5, 0.83, 0.05), (s * 0.95, 0.72, 0.05), density=0.6) for s in _SIDES
    ]
    soft = [
        tissue((0.0, -1.4, 0.55), (0.0, -0.3, 0.42), (0.0, 0.4, 0.44), (0.0, 0.9, 0.62)),
        tissue((-0.8, 1.0, 0.35), (0.8, 1.0, 0.35), density=0.9),
        tissue((0.0, 0.0, 0.06), (0.0, 1.2, 0.065), density=-0.8),
        *(mass(s * 0.42, 1.05, 0.22, 0.3, -0.5) for s in _SIDES),
    ]
    return Anatomy(soft=soft, bones=[*bodies, *joints, *processes, jaw, base, *ribs, *clavicles])


def cervical_spine_lat() -> Anatomy:
    """From the side, the face to the left: a lordotic column with spinous processes behind it."""
    places = [(0.05 - 0.09 * sin(1.6 * (k + 0.5) / 3.5), -0.42 + 0.165 * k) for k in range(7)]
    bodies = [vertebra(x, y, 0.1, 0.066, 0.12 - 0.05 * k) for k, (x, y) in enumerate(places)]
    facets = [mass(x + 0.17, y + 0.03, 0.07, 0.06, 0.8, 0.6) for x, y in places]
    spinous = [
        spongy((x + 0.2, y + 0.04, 0.03), (x + 0.34 + 0.02 * k, y + 0.11, 0.04), density=0.9)
        for k, (x, y) in enumerate(places)
    ]
    dens = spongy((0.04, -0.45, 0.05), (0.02, -0.62, 0.045))
    skull = Body(parts=(Blob(x=0.1, y=-1.12, rx=0.75, ry=0.52, hollow=0.75, marrow=0.93),), density=1.3)
    base = mass(0.05, -0.78, 0.28, 0.16, 0.9)
    jaw = spongy((-0.08, -0.72, 0.07), (-0.13, -0.52, 0.08), (-0.55, -0.32, 0.09), density=0.9)
    soft = [
        tissue((0.1, -1.3, 0.8), (0.06, -0.7, 0.62), (0.04, -0.1, 0.42), (0.06, 0.5, 0.44), (0.1, 1.4, 0.7)),
        tissue((-0.2, -0.55, 0.05), (-0.24, 0.0, 0.055), (-0.2, 0.9, 0.06), density=-0.75),
        mass(0.05, 1.05, 0.75, 0.3, 0.6),
    ]
    return Anatomy(soft=soft, bones=[*bodies, *facets, *spinous, dens, skull, base, jaw])


def thoracic_spine_ap() -> Anatomy:
    """From the front: twelve vertebrae, ribs to both sides, lungs."""
    ribs = [rib for k in range(11) for rib in rib_pair(-0.9 + 0.165 * k, 0.5, 0.14, 0.026)]
    soft = [
        mass(0.0, 0.0, 0.72, 1.6, 1.0, power=4),
        mass(-0.36, -0.1, 0.22, 0.85, -0.6),
        mass(0.38, -0.15, 0.19, 0.8, -0.6),
        mass(0.1, 0.15, 0.26, 0.42, 0.3),
        mass(-0.15, 1.0, 0.6, 0.4, 0.35),
    ]
    return Anatomy(soft=soft, bones=[*_column((-0.92 + 0.165 * k for k in range(12)), 0.115, 0.066), *ribs])


def thoracic_spine_lat() -> Anatomy:
    """From the side, the front to the left: a kyphotic column, ribs running down to the front."""
    places = [(0.02 + 0.17 * sin(pi * (k + 1) / 13), -0.92 + 0.165 * k) for k in range(12)]
    bodies = [vertebra(x, y, 0.105, 0.064, 0.35 - 0.06 * k) for k, (x, y) in enumerate(places)]
    spinous = [spongy((x + 0.13, y + 0.02, 0.03), (x + 0.24, y + 0.12, 0.025), density=0.7) for x, y in places]
    ribs = [
        spongy((x + 0.1, y, 0.024), (x - 0.2, y + 0.18, 0.024), (x - 0.7, y + 0.32, 0.024), density=0.45)
        for x, y in places
    ]
    soft = [
        mass(0.0, 0.0, 0.62, 1.6, 1.0, power=4),
        mass(-0.22, -0.1, 0.36, 0.9, -0.6),
        mass(-0.3, 1.0, 0.6, 0.45, 0.4),
    ]
    return Anatomy(soft=soft, bones=[*bodies, *spinous, *ribs])


def lumbar_spine_ap() -> Anatomy:
    """From the front: five large vertebrae with transverse processes, sacrum, iliac wings."""
    heights = [-0.66 + 0.24 * k for k in range(5)]
    transverse = [
        spongy((s * 0.15, y - 0.02, 0.028), (s * 0.34, y - 0.05, 0.026), density=0.7) for y in heights for s in _SIDES
    ]
    sacrum = spongy((0.0, 0.56, 0.2), (0.0, 0.75, 0.15), (0.0, 0.98, 0.07), density=0.9)
    wings = [wing(s * 0.42, 0.68, 0.22, 0.34, s * 0.5) for s in _SIDES]
    ribs = [rib for y in (-0.95, -0.78) for rib in rib_pair(y, 0.5, 0.2, 0.028)]
    soft = [
        mass(0.0, 0.0, 0.75, 1.6, 1.0, power=4),
        *(mass(s * 0.33, 0.0, 0.17, 0.5, 0.12, -s * 0.1) for s in _SIDES),
        mass(0.3, -0.2, 0.14, 0.1, -0.35),
        mass(-0.34, 0.12, 0.12, 0.15, -0.35),
        mass(0.2, 0.1, 0.1, 0.08, -0.3),
    ]
    columns = [*_column((-1.1, -0.88), 0.15, 0.09), *_column(heights, 0.165, 0.097)]
    return Anatomy(soft=soft, bones=[*columns, *transverse, sacrum, *wings, *ribs])


def lumbar_spine_lat() -> Anatomy:
    """From the side, the belly to the left."""
    places = [(-0.02 - 0.1 * sin(pi * (k + 0.5) / 5), -0.72 + 0.245 * k) for k in range(5)]
    bodies = [vertebra(x, y, 0.17, 0.098, -0.18 + 0.11 * k) for k, (x, y) in enumerate(places)]
    spinous = [
        Body(parts=(Blob(x=x + 0.36, y=y + 0.1, rx=0.12, ry=0.07, angle=0.25, power=4),), density=0.6)
        for x, y in places
    ]
    arches = [spongy((x + 0.17, y - 0.03, 0.04), (x + 0.27, y + 0.08, 0.05), density=0.7) for x, y in places]
    upper = [vertebra(0.03, -1.2, 0.15, 0.09, -0.3), vertebra(0.0, -0.96, 0.16, 0.095, -0.25)]
    sacrum = spongy((0.03, 0.52, 0.17), (0.2, 0.72, 0.13), (0.38, 1.0, 0.07), density=0.9)
    soft = [
        mass(0.0, 0.0, 0.72, 1.7, 1.0, power=4),
        mass(-0.55, 0.0, 0.3, 1.2, -0.35),
        mass(-0.4, 0.1, 0.12, 0.16, -0.3),
    ]
    bones = [*bodies, *spinous, *arches, *upper, sacrum, wing(0.1, 0.72, 0.36, 0.26, 0.0, 0.6)]
    return Anatomy(soft=soft, bones=bones)


def whole_spine_ap() -> Anatomy:
    """From neck to pelvis, slightly scoliotic."""
    bodies = [
        vertebra(0.03 * sin(k / 3.2), -0.93 + 0.066 * k, 0.032 + 0.0014 * k, 0.024 + 0.0003 * k) for k in range(24)
    ]
    ribs = [rib for k in range(10) for rib in rib_pair(-0.45 + 0.06 * k, 0.24, 0.05, 0.009)]
    wings = [wing(s * 0.17, 0.78, 0.1, 0.16, s * 0.5) for s in _SIDES]
    soft = [
        tissue((0.0, -1.2, 0.16), (0.0, -0.65, 0.16), (0.0, -0.45, 0.32), (0.0, 1.3, 0.34)),
        mass(0.0, -0.2, 0.22, 0.26, -0.4),
    ]
    return Anatomy(soft=soft, bones=[*bodies, *ribs, *wings])


def whole_leg_ap() -> Anatomy:
    """A leg from hip to ankle."""
    neck = (Blob(x=0.1, y=-0.84, rx=0.055, ry=0.05), Shaft(points=((0.09, -0.83, 0.035), (-0.02, -0.75, 0.045))))
    femur = bone((-0.02, -0.75, 0.045), (0.0, -0.2, 0.035), (0.02, -0.06, 0.07), ends=neck)
    tibia = bone((0.02, 0.0, 0.08), (0.02, 0.12, 0.042), (0.03, 0.72, 0.035), (0.03, 0.82, 0.05))
    fibula = bone((-0.06, 0.06, 0.02), (-0.05, 0.82, 0.018))
    soft = tissue((0.05, -1.2, 0.26), (0.0, -0.6, 0.19), (0.02, -0.02, 0.13), (0.02, 0.3, 0.13), (0.02, 0.85, 0.09))
    bones = [femur, tibia, fibula, wing(0.2, -0.95, 0.16, 0.14, 0.0), pebble(0.02, 0.9, 0.06, 0.05)]
    return Anatomy(soft=[soft], bones=bones)


def _column(heights: Iterable[float], rx: float, ry: float) -> list[Body]:
    """Vertebrae from the front: bodies with two pedicles and a spinous process."""
    column: list[Body] = []
    for y in heights:
        column.append(vertebra(0.0, y, rx, ry))
        column.extend(pebble(s * rx * 0.62, y - ry * 0.2, rx * 0.17, ry * 0.4, density=0.9) for s in _SIDES)
        column.append(mass(0.0, y + ry * 0.5, rx * 0.13, ry * 0.55, 0.6))
    return column
