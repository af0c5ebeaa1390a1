"""Which anatomy a region and view show, and how patients differ.

Comes in: region, view, side, a generator. Goes out: an `Anatomy` in the frame of `shapes`, mirrored for left sides, its
bones a little different for each generator. Refuses, with `KeyError`, regions that have no phantom.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from radio_io.synth import anatomy_hand_foot as hand_foot
from radio_io.synth import anatomy_head_chest as head_chest
from radio_io.synth import anatomy_limbs as limbs
from radio_io.synth import anatomy_spine as spine
from radio_io.synth.shapes import Anatomy, Blob, Body, Part, Shaft, mirrored, turned


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A projection: its word in `regions.toml`, what it shows, what it shows where collimated to fingers or toes."""

    name: str
    anatomy: Callable[[], Anatomy]
    small: Callable[[], Anatomy] | None = None


VIEWS: dict[str, tuple[View, ...]] = {
    "Knee": (View(name="AP", anatomy=limbs.knee_ap), View(name="LAT", anatomy=limbs.knee_lat)),
    "Shoulder": (View(name="AP", anatomy=limbs.shoulder_ap),),
    "Ankle": (View(name="AP", anatomy=limbs.ankle_ap), View(name="LAT", anatomy=limbs.ankle_lat)),
    "Elbow": (View(name="AP", anatomy=limbs.elbow_ap), View(name="LAT", anatomy=limbs.elbow_lat)),
    "Foot": (
        View(name="AP", anatomy=hand_foot.foot_dp, small=hand_foot.toes_dp),
        View(name="LAT", anatomy=hand_foot.foot_lat),
    ),
    "Wrist": (View(name="PA", anatomy=hand_foot.wrist_pa), View(name="LAT", anatomy=hand_foot.wrist_lat)),
    "Hand": (View(name="PA", anatomy=hand_foot.hand_pa, small=hand_foot.fingers_pa),),
    "Cervical spine": (
        View(name="AP", anatomy=spine.cervical_spine_ap),
        View(name="LAT", anatomy=spine.cervical_spine_lat),
    ),
    "Clavicle": (View(name="AP", anatomy=limbs.clavicle_ap),),
    "Thoracic spine": (
        View(name="AP", anatomy=spine.thoracic_spine_ap),
        View(name="LAT", anatomy=spine.thoracic_spine_lat),
    ),
    "Lumbar spine": (
        View(name="AP", anatomy=spine.lumbar_spine_ap),
        View(name="LAT", anatomy=spine.lumbar_spine_lat),
    ),
    "Skull": (View(name="AP", anatomy=head_chest.skull_ap), View(name="LAT", anatomy=head_chest.skull_lat)),
    "Ribs": (View(name="OBL", anatomy=head_chest.ribs_oblique),),
    "Scapula": (View(name="AP", anatomy=limbs.scapula_ap),),
    "Whole spine": (View(name="AP", anatomy=spine.whole_spine_ap),),
    "Whole leg": (View(name="AP", anatomy=spine.whole_leg_ap),),
}
MIDLINE = frozenset({"Cervical spine", "Thoracic spine", "Lumbar spine", "Skull", "Whole spine"})
"""Regions that have no side."""

_WOBBLE = 0.012  # half heights by which each bone lies elsewhere
_TURN = 0.06  # radians by which the patient lies askew
_GIRTH = 0.07  # relative difference of thicknesses between patients


def draw_anatomy(region: str, view: str, side: str | None, small: bool, generator: np.random.Generator) -> Anatomy:
    """The anatomy of one patient."""
    chosen = next(candidate for candidate in VIEWS[region] if candidate.name == view)
    typical = chosen.small() if small and chosen.small is not None else chosen.anatomy()
    girth = 1 + _GIRTH * float(generator.standard_normal())
    flesh = 1 + 1.5 * _GIRTH * float(generator.standard_normal())
    soft = [_varied(body, flesh, (0.0, 0.0)) for body in typical.soft]
    shifts = _WOBBLE * generator.standard_normal((len(typical.bones), 2))
    bones = [_varied(body, girth, (float(dx), float(dy))) for body, (dx, dy) in zip(typical.bones, shifts, strict=True)]
    if side == "L" or (side is None and generator.random() < 0.5):
        soft, bones = [mirrored(body) for body in soft], [mirrored(body) for body in bones]
    angle = _TURN * float(generator.standard_normal())
    return Anatomy(soft=[turned(body, angle) for body in soft], bones=[turned(body, angle) for body in bones])


def _varied(body: Body, girth: float, shift: tuple[float, float]) -> Body:
    """The body, thicker by `girth` and shifted; parts of one body move together."""
    return replace(body, parts=tuple(_varied_part(part, max(0.75, girth), shift) for part in body.parts))


def _varied_part(part: Part, girth: float, shift: tuple[float, float]) -> Part:
    dx, dy = shift
    if isinstance(part, Shaft):
        return replace(part, points=tuple((x + dx, y + dy, radius * girth) for x, y, radius in part.points))
    if isinstance(part, Blob):
        middle = (1 + girth) / 2  # blobs that touch each other (joints, discs) grow half as much
        return replace(part, x=part.x + dx, y=part.y + dy, rx=part.rx * middle, ry=part.ry * middle)
    return replace(part, x=part.x + dx, y=part.y + dy, width=part.width * girth)
