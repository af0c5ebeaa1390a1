"""Skull and ribs, by view.

Comes in: nothing. Goes out: a function for each region and view that gives its `Anatomy`, in the frame of `shapes`
(half height 1). Refuses nothing.
"""

from radio_io.synth.anatomy_limbs import bone, mass, pebble, spongy, tissue
from radio_io.synth.anatomy_spine import vertebra
from radio_io.synth.shapes import Anatomy, Arc, Blob, Body

_SIDES = (-1, 1)


def skull_ap() -> Anatomy:
    """From the front: vault, orbits, nose, jaws with teeth."""
    inside = mass(0.0, -0.25, 0.58, 0.6, 0.35)
    petrous = spongy((-0.45, 0.05, 0.1), (0.0, 0.0, 0.06), (0.45, 0.05, 0.1), density=0.8)
    cheeks = [pebble(s * 0.36, 0.25, 0.16, 0.14, density=0.9) for s in _SIDES]
    jaws = [
        spongy((s * 0.44, 0.2, 0.06), (s * 0.4, 0.55, 0.07), (s * 0.2, 0.77, 0.08), (0.0, 0.8, 0.08)) for s in _SIDES
    ]
    teeth = [
        mass(x, 0.6 - 0.1 * row + 0.5 * x * x, 0.034, 0.06, 1.2, power=4)
        for x in (-0.24, -0.16, -0.08, 0.0, 0.08, 0.16, 0.24)
        for row in (0, 1)
    ]
    hollows = [
        *(mass(s * 0.24, 0.03, 0.17, 0.15, -0.75) for s in _SIDES),
        *(mass(s * 0.25, 0.28, 0.11, 0.12, -0.6) for s in _SIDES),
        mass(0.0, 0.28, 0.09, 0.16, -0.8),
        mass(0.0, -0.2, 0.12, 0.06, -0.4),
    ]
    neck = [vertebra(0.0, 0.75 + 0.16 * k, 0.13, 0.065, density=0.5) for k in range(4)]
    soft = [mass(0.0, -0.05, 0.72, 0.95, 0.75), tissue((0.0, 0.6, 0.45), (0.0, 1.4, 0.45), density=0.7)]
    bones = [_vault(0.0, -0.25, 0.6, 0.62, 0.0), inside, petrous, *cheeks, *jaws, *teeth, *neck, *hollows]
    return Anatomy(soft=soft, bones=bones)


def skull_lat() -> Anatomy:
    """From the side, the face to the left."""
    inside = mass(0.08, -0.28, 0.68, 0.54, 0.3, 0.08)
    base = spongy((-0.5, 0.0, 0.05), (-0.1, 0.12, 0.07), (0.25, 0.2, 0.12), density=1.1)
    face = pebble(-0.42, 0.3, 0.2, 0.24, density=0.8)
    hollows = [
        mass(-0.1, 0.03, 0.06, 0.04, -0.4),
        mass(-0.4, 0.25, 0.13, 0.12, -0.5),
        mass(-0.55, -0.12, 0.04, 0.08, -0.5),
    ]
    jaw = spongy((0.0, 0.2, 0.06), (-0.05, 0.55, 0.08), (-0.5, 0.75, 0.09), (-0.6, 0.65, 0.06), density=0.9)
    teeth = [mass(-0.6 + 0.075 * k, 0.5 + 0.1 * row, 0.033, 0.055, 1.1, power=4) for k in range(5) for row in (0, 1)]
    neck = [vertebra(0.2 + 0.03 * k, 0.45 + 0.17 * k, 0.1, 0.065, density=0.8) for k in range(5)]
    soft = [
        mass(0.02, -0.08, 0.8, 0.85, 0.7),
        tissue((0.15, 0.4, 0.45), (0.25, 1.5, 0.42), density=0.7),
        mass(-0.45, 0.5, 0.33, 0.4, 0.3),
    ]
    bones = [_vault(0.08, -0.28, 0.7, 0.56, 0.08), inside, base, face, jaw, *teeth, *neck, *hollows]
    return Anatomy(soft=soft, bones=bones)


def ribs_oblique() -> Anatomy:
    """Half a chest: ribs from the column on the right, the lung dark between them."""
    column = [vertebra(0.72, -0.95 + 0.17 * k, 0.12, 0.068, density=0.9) for k in range(13)]
    back = [
        Body(
            parts=(Arc(x=0.02, y=-0.62 + 0.17 * k, rx=0.72, ry=0.2 + 0.01 * k, width=0.03, angle=-0.18, start=-0.99),),
            density=0.85,
        )
        for k in range(10)
    ]
    front = [
        bone(
            (-0.68 + 0.01 * k, -0.55 + 0.19 * k, 0.028),
            (-0.5, -0.38 + 0.19 * k, 0.03),
            (0.0, -0.2 + 0.19 * k, 0.033),
            density=0.55,
        )
        for k in range(7)
    ]
    clavicle = spongy((-0.6, -0.82, 0.045), (0.0, -0.9, 0.04), (0.55, -0.72, 0.055), density=0.6)
    soft = [
        mass(0.0, 0.1, 0.95, 1.4, 1.0, power=4),
        mass(-0.05, -0.1, 0.6, 0.82, -0.7),
        mass(0.5, 0.2, 0.35, 0.4, 0.3),
        mass(-0.1, 0.95, 0.8, 0.35, 0.4),
    ]
    return Anatomy(soft=soft, bones=[*column, *back, *front, clavicle])


def _vault(x: float, y: float, rx: float, ry: float, angle: float) -> Body:
    return Body(parts=(Blob(x=x, y=y, rx=rx, ry=ry, angle=angle, hollow=0.8, marrow=0.93),), density=1.2)
