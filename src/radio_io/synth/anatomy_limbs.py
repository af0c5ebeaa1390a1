"""Knee, ankle, elbow and shoulder girdle, by view.

Comes in: nothing. Goes out: a function for each region and view that gives its `Anatomy` of a right side, in the frame
of `shapes` (half height 1). Refuses nothing.
"""

from radio_io.synth.shapes import Anatomy, Blob, Body, Part, Point, Shaft


def bone(*points: Point, density: float = 1.0, ends: tuple[Part, ...] = ()) -> Body:
    """A long bone along `points` (x, y, radius), with the parts of its joints."""
    return Body(parts=(Shaft(points=points), *ends), density=density, long_bone=True)


def spongy(*points: Point, density: float = 1.0) -> Body:
    """A short or flat bone along `points`, with a thin cortex."""
    return Body(parts=(Shaft(points=points, hollow=0.3),), density=density)


def tissue(*points: Point, density: float = 1.0) -> Body:
    """Soft tissue along `points` (x, y, radius); air where `density` is negative."""
    return Body(parts=(Shaft(points=points, hollow=0.0),), density=density)


def pebble(x: float, y: float, rx: float, ry: float, angle: float = 0.0, density: float = 1.0) -> Body:
    """A roundish bone."""
    return Body(parts=(Blob(x=x, y=y, rx=rx, ry=ry, angle=angle, hollow=0.3),), density=density)


def block(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Blob:
    """A rounded block of bone, as part of a larger one."""
    return Blob(x=x, y=y, rx=rx, ry=ry, angle=angle, power=4)


def mass(x: float, y: float, rx: float, ry: float, density: float, angle: float = 0.0, power: int = 2) -> Body:
    """A solid lump: soft tissue, or air where `density` is negative."""
    return Body(parts=(Blob(x=x, y=y, rx=rx, ry=ry, angle=angle, hollow=0.0, power=power),), density=density)


def knee_ap() -> Anatomy:
    """From the front: femur, tibia, fibula on the left, the kneecap before the femur."""
    condyles = (
        Blob(x=-0.15, y=-0.17, rx=0.19, ry=0.18),
        Blob(x=0.15, y=-0.17, rx=0.19, ry=0.17),
        Blob(x=0.0, y=-0.25, rx=0.25, ry=0.14),
    )
    femur = bone((0.03, -1.5, 0.13), (0.02, -0.6, 0.135), (0.0, -0.3, 0.23), ends=condyles)
    plateau = (block(0.0, 0.13, 0.34, 0.115), Blob(x=-0.02, y=0.02, rx=0.05, ry=0.05))
    tibia = bone((0.0, 0.18, 0.27), (0.02, 0.5, 0.15), (0.04, 1.5, 0.125), ends=plateau)
    fibula = bone((-0.29, 0.27, 0.075), (-0.27, 0.42, 0.045), (-0.21, 1.5, 0.05))
    patella = pebble(0.01, -0.4, 0.15, 0.155, density=0.45)
    soft = tissue((0.02, -1.5, 0.6), (0.0, -0.5, 0.5), (0.0, 0.05, 0.44), (0.0, 0.6, 0.44), (0.03, 1.5, 0.4))
    return Anatomy(soft=[soft], bones=[femur, tibia, fibula, patella])


def knee_lat() -> Anatomy:
    """From the side, slightly bent, the kneecap in front on the left."""
    condyles = (Blob(x=0.06, y=-0.2, rx=0.23, ry=0.21), Blob(x=0.12, y=-0.17, rx=0.2, ry=0.2))
    femur = bone((0.28, -1.5, 0.13), (0.1, -0.6, 0.135), (0.03, -0.35, 0.19), ends=condyles)
    tibia = bone((0.06, 0.2, 0.2), (0.03, 0.5, 0.145), (0.12, 1.5, 0.125), ends=(block(0.07, 0.15, 0.24, 0.11),))
    fibula = bone((0.25, 0.3, 0.07), (0.22, 0.45, 0.045), (0.28, 1.5, 0.05))
    patella = pebble(-0.29, -0.3, 0.085, 0.17, 0.15, density=1.1)
    soft = tissue((0.3, -1.5, 0.6), (0.08, -0.5, 0.46), (0.0, -0.1, 0.42), (0.1, 0.6, 0.42), (0.22, 1.5, 0.4))
    return Anatomy(soft=[soft], bones=[femur, tibia, fibula, patella])


def ankle_ap() -> Anatomy:
    """From the front: mortise, malleoli and talus, the fibula on the left."""
    mortise = (block(0.05, -0.07, 0.22, 0.1), Shaft(points=((0.22, -0.05, 0.07), (0.24, 0.1, 0.05)), hollow=0.2))
    tibia = bone((0.06, -1.5, 0.14), (0.05, -0.4, 0.145), (0.05, -0.1, 0.2), ends=mortise)
    fibula = bone((-0.18, -1.5, 0.06), (-0.2, -0.3, 0.06), (-0.21, 0.05, 0.085), (-0.22, 0.18, 0.06))
    talus = Body(parts=(block(0.03, 0.16, 0.18, 0.13), Blob(x=0.03, y=0.27, rx=0.16, ry=0.09)))
    heel = pebble(0.0, 0.55, 0.17, 0.24, density=0.8)
    foot = mass(0.08, 0.75, 0.28, 0.22, 0.55)
    soft = tissue((0.0, -1.5, 0.46), (0.0, -0.3, 0.33), (0.0, 0.15, 0.36), (0.02, 0.5, 0.38), (0.05, 0.85, 0.4))
    return Anatomy(soft=[soft], bones=[tibia, fibula, talus, heel, foot])


def ankle_lat() -> Anatomy:
    """From the side, the toes to the left."""
    tibia = bone((0.2, -1.5, 0.14), (0.18, -0.4, 0.145), (0.17, -0.15, 0.17), ends=(block(0.17, -0.1, 0.18, 0.09),))
    fibula = bone((0.27, -1.5, 0.055), (0.26, -0.2, 0.06), (0.22, 0.12, 0.075), density=0.7)
    talus = Body(parts=(Blob(x=0.12, y=0.12, rx=0.2, ry=0.12), Blob(x=-0.1, y=0.19, rx=0.12, ry=0.085, angle=0.3)))
    heel = Body(parts=(block(0.3, 0.38, 0.27, 0.13, 0.25),))
    front = [
        pebble(-0.25, 0.26, 0.06, 0.11, 0.3),
        pebble(-0.36, 0.32, 0.09, 0.09, 0.3),
        pebble(-0.2, 0.4, 0.12, 0.07, 0.2, 0.7),
        bone((-0.44, 0.36, 0.05), (-0.85, 0.56, 0.045), density=0.9),
        bone((-0.4, 0.44, 0.045), (-0.8, 0.62, 0.04), density=0.7),
    ]
    soft = [
        tissue((0.2, -1.5, 0.4), (0.2, -0.2, 0.3), (0.24, 0.3, 0.3)),
        tissue((0.35, 0.4, 0.26), (-0.2, 0.4, 0.23), (-0.75, 0.55, 0.15), density=0.9),
    ]
    return Anatomy(soft=soft, bones=[tibia, fibula, talus, heel, *front])


def elbow_ap() -> Anatomy:
    """From the front: humerus above, radius (left) and ulna below."""
    condyles = (
        block(0.0, -0.12, 0.31, 0.1),
        Blob(x=0.24, y=-0.18, rx=0.1, ry=0.08),
        Blob(x=-0.17, y=-0.04, rx=0.11, ry=0.09),
    )
    humerus = bone((0.0, -1.5, 0.13), (0.0, -0.5, 0.135), (0.0, -0.2, 0.22), ends=condyles)
    radius = bone(
        (-0.17, 0.16, 0.085), (-0.15, 0.34, 0.075), (-0.22, 1.5, 0.1), ends=(block(-0.18, 0.13, 0.115, 0.05),)
    )
    ulna = bone((0.09, 0.1, 0.12), (0.1, 0.4, 0.09), (0.17, 1.5, 0.07), ends=(Blob(x=0.1, y=0.05, rx=0.15, ry=0.12),))
    olecranon = pebble(0.07, -0.16, 0.13, 0.13, density=0.5)
    soft = tissue((0.0, -1.5, 0.45), (0.0, -0.3, 0.4), (0.0, 0.2, 0.42), (0.0, 1.5, 0.36))
    return Anatomy(soft=[soft], bones=[humerus, radius, ulna, olecranon])


def elbow_lat() -> Anatomy:
    """From the side, bent by a right angle: humerus above, forearm to the left."""
    humerus = bone(
        (0.32, -1.5, 0.125), (0.3, -0.1, 0.13), (0.27, 0.1, 0.12), ends=(Blob(x=0.25, y=0.2, rx=0.15, ry=0.15),)
    )
    hook = (Blob(x=0.36, y=0.35, rx=0.18, ry=0.13, angle=0.3),)
    ulna = bone((0.32, 0.42, 0.12), (0.0, 0.46, 0.1), (-1.2, 0.4, 0.075), ends=hook)
    radius = bone((0.0, 0.27, 0.085), (-0.2, 0.27, 0.075), (-1.2, 0.26, 0.1), ends=(block(0.04, 0.27, 0.05, 0.11),))
    soft = [
        tissue((0.25, -1.5, 0.42), (0.24, -0.2, 0.38), (0.24, 0.2, 0.38)),
        tissue((0.28, 0.35, 0.34), (-0.3, 0.35, 0.36), (-1.3, 0.33, 0.3)),
    ]
    return Anatomy(soft=soft, bones=[humerus, ulna, radius])


def shoulder_ap() -> Anatomy:
    """From the front: humerus on the left, shoulder blade, collar bone, ribs and lung on the right."""
    head = (Blob(x=-0.28, y=-0.2, rx=0.24, ry=0.23),)
    humerus = bone((-0.33, -0.12, 0.2), (-0.39, 0.2, 0.125), (-0.45, 1.5, 0.115), ends=head)
    blade = Body(
        parts=(
            Shaft(points=((0.02, -0.12, 0.09), (0.12, 0.1, 0.06), (0.36, 0.62, 0.05)), hollow=0.3),
            Shaft(points=((0.36, 0.62, 0.05), (0.55, 0.1, 0.03), (0.5, -0.35, 0.03)), hollow=0.3),
            Shaft(points=((0.05, -0.25, 0.06), (0.3, -0.36, 0.045), (0.5, -0.35, 0.03)), hollow=0.3),
            Blob(x=0.0, y=-0.16, rx=0.09, ry=0.2, angle=0.15),
        )
    )
    plate = mass(0.33, 0.0, 0.2, 0.42, 0.16, -0.25)
    clavicle = bone((-0.12, -0.52, 0.065), (0.2, -0.58, 0.05), (0.55, -0.5, 0.055), (1.05, -0.42, 0.08))
    acromion = spongy((-0.36, -0.5, 0.06), (-0.1, -0.47, 0.075), (0.12, -0.36, 0.05))
    coracoid = pebble(0.06, -0.3, 0.09, 0.06, 0.4)
    ribs = [
        spongy((0.5 - 0.02 * k, y + 0.18, 0.035), (0.7, y + 0.02, 0.04), (1.2, y - 0.06, 0.04), density=0.55)
        for k, y in enumerate((-0.25, -0.05, 0.16, 0.38, 0.61, 0.84))
    ]
    soft = [
        tissue((-0.45, 1.5, 0.36), (-0.35, 0.0, 0.42), (-0.1, -0.25, 0.42), (0.4, -0.35, 0.3), (0.9, -0.7, 0.35)),
        mass(0.8, 0.5, 0.75, 1.15, 0.9, power=4),
        mass(1.0, 0.6, 0.55, 0.95, -0.75),
    ]
    return Anatomy(soft=soft, bones=[humerus, blade, plate, clavicle, acromion, coracoid, *ribs])


def clavicle_ap() -> Anatomy:
    """A collar bone from the shoulder (left) to the breast bone (right)."""
    clavicle = Body(
        parts=(
            Shaft(
                points=(
                    (-0.72, -0.12, 0.1),
                    (-0.45, -0.2, 0.075),
                    (-0.1, -0.12, 0.07),
                    (0.35, 0.06, 0.08),
                    (0.78, 0.2, 0.13),
                )
            ),
        ),
        density=1.2,
        long_bone=True,
    )
    acromion = spongy((-1.05, 0.0, 0.1), (-0.86, -0.1, 0.09))
    head = Body(
        parts=(Blob(x=-1.0, y=0.36, rx=0.27, ry=0.28), Shaft(points=((-1.08, 0.45, 0.2), (-1.2, 1.4, 0.14)))),
        density=0.8,
    )
    blade = spongy((-0.68, 0.3, 0.11), (-0.55, 0.7, 0.06), (-0.35, 1.3, 0.05), density=0.7)
    ribs = [
        spongy(
            (-0.35 + 0.05 * k, y + 0.45, 0.05), (0.1, y + 0.12, 0.06), (0.7, y, 0.06), (1.1, y + 0.1, 0.06), density=0.5
        )
        for k, y in enumerate((0.25, 0.6, 0.95))
    ]
    spine = [Body(parts=(block(1.12, -0.7 + 0.36 * k, 0.2, 0.14),), density=0.7) for k in range(5)]
    soft = [
        mass(0.1, 0.85, 1.5, 1.25, 1.0, power=4),
        tissue((0.5, 0.0, 0.4), (1.1, -0.6, 0.5), (1.2, -1.3, 0.5), density=0.9),
        mass(0.2, 1.0, 0.65, 0.85, -0.6),
    ]
    return Anatomy(soft=soft, bones=[clavicle, acromion, head, blade, *ribs, *spine])


def scapula_ap() -> Anatomy:
    """A shoulder blade in the middle, humerus on the left, ribs behind."""
    blade = Body(
        parts=(
            Shaft(points=((-0.22, -0.4, 0.09), (-0.08, 0.0, 0.065), (0.2, 0.72, 0.06)), hollow=0.3),
            Shaft(points=((0.2, 0.72, 0.06), (0.47, 0.0, 0.035), (0.4, -0.62, 0.04)), hollow=0.3),
            Shaft(points=((-0.2, -0.5, 0.07), (0.1, -0.66, 0.045), (0.4, -0.62, 0.04)), hollow=0.3),
            Blob(x=-0.24, y=-0.44, rx=0.09, ry=0.19, angle=0.15),
        ),
        density=1.2,
        long_bone=True,
    )
    plate = mass(0.18, -0.05, 0.24, 0.62, 0.25, -0.2)
    ridge = spongy((-0.42, -0.72, 0.07), (0.0, -0.45, 0.06), (0.42, -0.35, 0.03), density=0.8)
    head = (Blob(x=-0.5, y=-0.45, rx=0.21, ry=0.2),)
    humerus = bone((-0.55, -0.35, 0.17), (-0.62, 0.0, 0.11), (-0.7, 1.5, 0.1), ends=head)
    clavicle = bone((-0.42, -0.8, 0.055), (0.1, -0.88, 0.045), (0.9, -0.75, 0.06), density=0.9)
    ribs = [
        spongy((0.05, y + 0.3, 0.035), (0.35, y + 0.08, 0.04), (0.95, y, 0.04), density=0.5)
        for y in (-0.6, -0.36, -0.12, 0.13, 0.38, 0.63, 0.88)
    ]
    soft = [
        tissue((-0.7, 1.5, 0.3), (-0.55, -0.2, 0.36), (-0.3, -0.5, 0.36), (0.3, -0.7, 0.3)),
        mass(0.6, 0.35, 0.85, 1.25, 1.0, power=4),
        mass(0.75, 0.4, 0.5, 1.0, -0.65),
    ]
    return Anatomy(soft=soft, bones=[blade, plate, ridge, humerus, clavicle, *ribs])
