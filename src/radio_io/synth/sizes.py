"""How many images of each region an export holds, and how large they are.

Comes in: numbers of images, a generator. Goes out: counts by region that add up, and heights and widths in pixels of
which almost all differ, as in a hospital whose images are collimated to the anatomy at one detector pitch.
Refuses nothing.

Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), Table 3.1 for the counts. The sizes are fitted to its
totals: 9.22e8 patches of 48 x 48 in 639,877 images, 19.3 % more in its 36 bins, 391,013 different sizes.
"""

from dataclasses import dataclass
from math import exp

import numpy as np

LARGEST = 3072
SMALLEST = 300
_SPREAD = 0.25
_SHARED, _OWN = 0.75, 0.66  # height and width vary together, then each alone
_STANDARD_SHARE = 0.30
_STANDARD_STEP = 150
_FIT = 1.003  # factor on the typical sizes that meets the total of patches
_SMALL_HEIGHT, _SMALL_WIDTH = 1150, 640


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionSize:
    """Images of a region in the thesis, its typical size in pixels, the share of single fingers or toes."""

    images: int
    height: int
    width: int
    small_share: float = 0.0


REGIONS: dict[str, RegionSize] = {
    "Knee": RegionSize(images=169_595, height=2050, width=1480),
    "Shoulder": RegionSize(images=107_070, height=1850, width=1880),
    "Ankle": RegionSize(images=81_577, height=2050, width=1420),
    "Elbow": RegionSize(images=55_914, height=1800, width=1400),
    "Foot": RegionSize(images=53_385, height=2150, width=1350, small_share=0.15),
    "Wrist": RegionSize(images=43_246, height=1750, width=1200),
    "Hand": RegionSize(images=41_201, height=2000, width=1450, small_share=0.25),
    "Cervical spine": RegionSize(images=35_150, height=2150, width=1700),
    "Clavicle": RegionSize(images=20_506, height=1550, width=2000),
    "Thoracic spine": RegionSize(images=13_995, height=2650, width=1450),
    "Lumbar spine": RegionSize(images=10_756, height=2600, width=1650),
    "Skull": RegionSize(images=3_164, height=2350, width=1950),
    "Ribs": RegionSize(images=2_668, height=2500, width=2250),
    "Scapula": RegionSize(images=1_650, height=2200, width=1950),
}


def region_counts(images: int) -> dict[str, int]:
    """How many of `images` show each region: the thesis's shares, by largest remainder, so that they add up.

    Example:
        >>> counts = region_counts(100)
        >>> counts["Knee"], counts["Shoulder"], sum(counts.values())
        (27, 17, 100)
    """
    total = sum(region.images for region in REGIONS.values())
    exact = {name: images * region.images / total for name, region in REGIONS.items()}
    counts = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: images - sum(counts.values())]:
        counts[name] += 1
    return counts


def draw_size(region: str, generator: np.random.Generator, *, small: bool = False) -> tuple[int, int]:
    """Height and width in pixels of one image; `small` is one collimated to fingers or toes."""
    shared, tall, wide = (float(value) for value in generator.standard_normal(3))
    standard = generator.random() < _STANDARD_SHARE
    typical = REGIONS[region]
    height = typical.height * exp(_SPREAD * (_SHARED * shared + _OWN * tall))
    width = typical.width * exp(_SPREAD * (_SHARED * shared + _OWN * wide))
    if small:
        height, width = _SMALL_HEIGHT * exp(_SPREAD * tall), _SMALL_WIDTH * exp(_SPREAD * wide)
    height, width = height * _FIT, width * _FIT
    fit = min(1.0, LARGEST / max(height, width))
    if standard:  # a whole detector or a cassette
        height, width = (round(side * fit / _STANDARD_STEP) * _STANDARD_STEP for side in (height, width))
        fit = 1.0
    return _limited(height * fit), _limited(width * fit)


def _limited(side: float) -> int:
    return max(SMALLEST, min(LARGEST, round(side)))
