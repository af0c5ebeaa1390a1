"""Wrist, hand and foot, by view.

Comes in: nothing. Goes out: a function for each region and view that gives its `Anatomy` of a right side, in the frame
of `shapes` (half height 1). Refuses nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, sin

from radio_io.synth.anatomy_limbs import block, bone, mass, pebble, tissue
from radio_io.synth.shapes import Anatomy, Blob, Body, Shaft

_JOINT_SPACE = 0.018
_LONG_BONES_OF_A_RAY = 2


@dataclass(frozen=True, slots=True)
class _Ray:
    """The bones of a finger or toe: base, lean from straight up (radians), lengths, radius of the first."""

    x: float
    y: float
    lean: float
    lengths: tuple[float, ...]
    radius: float

    def joints(self) -> Iterator[tuple[float, float, float, float]]:
        """Start and end of each bone, a joint space between them."""
        x, y = self.x, self.y
        for length in self.lengths:
            end_x, end_y = x + sin(self.lean) * length, y - cos(self.lean) * length
            yield x, y, end_x, end_y
            x, y = end_x + sin(self.lean) * _JOINT_SPACE, end_y - cos(self.lean) * _JOINT_SPACE

    def bones(self) -> Iterator[Body]:
        """Bones with wide ends and a waist, each thinner than the one before."""
        for index, ((x0, y0, x1, y1), length) in enumerate(zip(self.joints(), self.lengths, strict=True)):
            radius = self.radius * (1.0 - 0.13 * index)
            at = 1.1 * radius / length
            start = (x0 + (x1 - x0) * at, y0 + (y1 - y0) * at, radius * 1.12)
            middle = ((x0 + x1) / 2, (y0 + y1) / 2, radius * 0.68)
            stop = (x1 - (x1 - x0) * at, y1 - (y1 - y0) * at, radius)
            shaft = Shaft(points=(start, middle, stop), hollow=0.5)
            yield Body(parts=(shaft,), density=1.1, long_bone=index < _LONG_BONES_OF_A_RAY)

    def flesh(self) -> Body:
        """The soft tissue around the ray."""
        *_, (_, _, tip_x, tip_y) = self.joints()
        width = self.radius * 1.9
        return tissue((self.x, self.y, width * 1.1), (tip_x, tip_y, width * 0.75), density=0.8)


_HAND_RAYS = (
    _Ray(-0.24, 0.36, -0.75, (0.3, 0.22, 0.17), 0.052),
    _Ray(-0.13, 0.26, -0.17, (0.42, 0.27, 0.17, 0.12), 0.048),
    _Ray(-0.02, 0.24, -0.02, (0.4, 0.3, 0.2, 0.13), 0.05),
    _Ray(0.09, 0.26, 0.11, (0.36, 0.28, 0.19, 0.13), 0.045),
    _Ray(0.19, 0.3, 0.26, (0.33, 0.22, 0.13, 0.11), 0.042),
)
_FINGER_RAYS = (
    _Ray(-0.17, 0.95, -0.06, (0.3, 0.55, 0.38, 0.27), 0.085),
    _Ray(0.2, 1.0, 0.06, (0.28, 0.5, 0.35, 0.26), 0.08),
)
_FOOT_RAYS = (
    _Ray(-0.18, -0.08, -0.1, (0.38, 0.23, 0.15), 0.07),
    _Ray(-0.05, -0.12, -0.02, (0.45, 0.18, 0.09, 0.07), 0.042),
    _Ray(0.05, -0.1, 0.05, (0.42, 0.17, 0.08, 0.06), 0.04),
    _Ray(0.14, -0.06, 0.12, (0.41, 0.15, 0.07, 0.06), 0.04),
    _Ray(0.22, 0.0, 0.2, (0.4, 0.14, 0.06, 0.05), 0.043),
)
_TOE_RAYS = (
    _Ray(-0.14, 0.95, -0.03, (0.45, 0.55, 0.36), 0.13),
    _Ray(0.26, 0.9, 0.06, (0.45, 0.42, 0.2, 0.15), 0.08),
)
_CARPALS = (
    (-0.11, 0.52, 0.075, 0.06, 0.5),
    (0.0, 0.5, 0.06, 0.065, 0.0),
    (0.1, 0.5, 0.055, 0.06, 0.0),
    (0.14, 0.47, 0.035, 0.04, 0.0),
    (-0.18, 0.41, 0.055, 0.05, 0.3),
    (-0.1, 0.4, 0.045, 0.045, 0.0),
    (-0.01, 0.38, 0.06, 0.08, 0.0),
    (0.09, 0.39, 0.06, 0.06, 0.3),
)


def hand_pa() -> Anatomy:
    """From the back, the thumb on the left."""
    palm = mass(0.02, 0.2, 0.34, 0.36, 0.9, power=4)
    wrist = tissue((0.0, 0.4, 0.25), (0.0, 1.5, 0.24), density=0.9)
    bones = [body for ray in _HAND_RAYS for body in ray.bones()]
    soft = [palm, wrist, *(ray.flesh() for ray in _HAND_RAYS)]
    return Anatomy(soft=soft, bones=[*bones, *_carpals(1.0, 0.0), *_forearm(0.62, 1.0)])


def fingers_pa() -> Anatomy:
    """A hand collimated to two fingers."""
    return _two_rays(_FINGER_RAYS)


def toes_dp() -> Anatomy:
    """A foot collimated to two toes, the great one on the left."""
    return _two_rays(_TOE_RAYS)


def wrist_pa() -> Anatomy:
    """From the back: forearm below, carpal bones, the metacarpal bones above."""
    rays = [
        bone((x, -0.3, 0.085), (x + 0.35 * lean, -0.55, 0.06), (x + lean, -1.4, 0.075))
        for x, lean in ((-0.13, -0.1), (0.0, 0.0), (0.13, 0.09), (0.25, 0.19))
    ]
    thumb = bone((-0.34, -0.14, 0.085), (-0.47, -0.4, 0.07), (-0.66, -0.8, 0.08))
    soft = [
        tissue((0.0, 0.25, 0.36), (0.0, 1.5, 0.4)),
        tissue((0.0, 0.2, 0.36), (0.02, -0.5, 0.46), (0.05, -1.5, 0.48), density=0.9),
        tissue((-0.2, 0.0, 0.25), (-0.62, -0.75, 0.2), density=0.8),
    ]
    return Anatomy(soft=soft, bones=[*rays, thumb, *_carpals(1.85, -0.85), *_forearm(0.34, 1.75)])


def wrist_lat() -> Anatomy:
    """From the side, the thumb to the left."""
    radius = bone((0.0, 0.35, 0.13), (0.0, 0.7, 0.1), (0.03, 1.5, 0.1), ends=(Blob(x=0.0, y=0.27, rx=0.15, ry=0.13),))
    ulna = bone((0.1, 0.3, 0.08), (0.1, 1.5, 0.075), density=0.6)
    carpals = [pebble(0.0, 0.06, 0.12, 0.09), pebble(-0.05, 0.0, 0.14, 0.13, 0.4, 0.6), pebble(0.0, -0.17, 0.12, 0.14)]
    rays = [
        bone((0.0, -0.3, 0.085), (0.04, -1.4, 0.075)),
        bone((0.03, -0.3, 0.08), (0.1, -1.4, 0.07), density=0.6),
        bone((-0.14, -0.15, 0.08), (-0.34, -0.75, 0.075), density=0.8),
    ]
    soft = [
        tissue((0.02, 1.5, 0.32), (0.02, 0.2, 0.26), (0.05, -0.5, 0.27), (0.08, -1.5, 0.25)),
        tissue((-0.1, 0.0, 0.2), (-0.35, -0.8, 0.17), density=0.8),
    ]
    return Anatomy(soft=soft, bones=[radius, ulna, *carpals, *rays])


def foot_dp() -> Anatomy:
    """From above, the great toe on the left, the heel below."""
    bones = [body for ray in _FOOT_RAYS for body in ray.bones()]
    middle = [
        pebble(-0.17, 0.04, 0.09, 0.1),
        pebble(-0.05, 0.01, 0.06, 0.09),
        pebble(0.04, 0.03, 0.06, 0.09),
        pebble(0.17, 0.16, 0.1, 0.13, -0.2),
        pebble(-0.1, 0.2, 0.17, 0.07, 0.2),
        pebble(-0.08, 0.38, 0.13, 0.16, density=1.1),
    ]
    heel = Body(parts=(block(0.08, 0.55, 0.16, 0.34, -0.15),))
    shank = mass(-0.02, 0.75, 0.22, 0.32, 0.9)
    sole = tissue((0.02, 0.75, 0.3), (0.03, 0.3, 0.32), (0.0, -0.1, 0.34), (0.0, -0.45, 0.36), density=0.95)
    soft = [sole, *(ray.flesh() for ray in _FOOT_RAYS)]
    return Anatomy(soft=soft, bones=[*bones, *middle, heel, shank])


def foot_lat() -> Anatomy:
    """From the side, the toes to the left."""
    tibia = bone((0.33, -1.5, 0.11), (0.3, -0.3, 0.12), (0.28, -0.1, 0.15), ends=(block(0.28, -0.07, 0.16, 0.08),))
    bones = [
        Body(parts=(Blob(x=0.24, y=0.1, rx=0.17, ry=0.11), Blob(x=0.04, y=0.16, rx=0.1, ry=0.075, angle=0.3))),
        Body(parts=(block(0.4, 0.33, 0.23, 0.115, 0.25),)),
        pebble(-0.08, 0.21, 0.055, 0.095, 0.3),
        pebble(-0.18, 0.27, 0.08, 0.08, 0.3),
        pebble(-0.02, 0.34, 0.11, 0.065, 0.2, 0.7),
        bone((-0.25, 0.3, 0.05), (-0.6, 0.46, 0.045), density=0.8),
        bone((-0.22, 0.36, 0.045), (-0.55, 0.51, 0.04), density=0.6),
        bone((-0.66, 0.5, 0.045), (-0.8, 0.53, 0.035), density=0.8),
    ]
    soft = [
        tissue((0.32, -1.5, 0.28), (0.3, -0.2, 0.24), (0.35, 0.25, 0.24)),
        tissue((0.45, 0.34, 0.22), (-0.1, 0.32, 0.2), (-0.6, 0.48, 0.12), (-0.9, 0.54, 0.08), density=0.9),
    ]
    return Anatomy(soft=soft, bones=[tibia, *bones])


def _two_rays(rays: tuple[_Ray, ...]) -> Anatomy:
    ball = mass(0.0, 1.3, 0.6, 0.5, 0.9, power=4)
    return Anatomy(soft=[ball, *(ray.flesh() for ray in rays)], bones=[body for ray in rays for body in ray.bones()])


def _carpals(scale: float, shift: float) -> list[Body]:
    return [pebble(x * scale, y * scale + shift, rx * scale, ry * scale, angle) for x, y, rx, ry, angle in _CARPALS]


def _forearm(top: float, scale: float) -> list[Body]:
    """The lower ends of radius (left) and ulna at height `top`."""
    radius = bone(
        (-0.07 * scale, top + 0.05 * scale, 0.1 * scale),
        (-0.06 * scale, top + 0.22 * scale, 0.062 * scale),
        (-0.08 * scale, 1.6, 0.06 * scale),
        ends=(block(-0.07 * scale, top, 0.115 * scale, 0.06 * scale),),
    )
    ulna = bone(
        (0.1 * scale, top + 0.03 * scale, 0.055 * scale),
        (0.1 * scale, top + 0.2 * scale, 0.043 * scale),
        (0.07 * scale, 1.6, 0.05 * scale),
        ends=(Blob(x=0.1 * scale, y=top - 0.005, rx=0.06 * scale, ry=0.045 * scale),),
    )
    return [radius, ulna]
