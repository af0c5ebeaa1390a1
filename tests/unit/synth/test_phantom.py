"""Phantoms: deterministic, of the asked size and bits, with what is to be seen in them."""

import time
from dataclasses import replace

import numpy as np
import pytest

from radio_io.synth.anatomy import VIEWS
from radio_io.synth.phantom import PhantomRequest, draw_phantom
from radio_io.synth.pixels import phantom_pixels
from radio_io.synth.plan import plan_export

KNEE = PhantomRequest(region="Knee", view="AP", side="R", rows=205, columns=148, bits=12, seed=(1, 2))


@pytest.mark.parametrize(("region", "view"), [(region, view.name) for region, views in VIEWS.items() for view in views])
def test_draws_every_region_and_view_below_its_bits(region: str, view: str):
    request = replace(KNEE, region=region, view=view, rows=210, columns=160, bits=10)
    pixels = draw_phantom(request)
    assert pixels.shape == (210, 160)
    assert pixels.dtype == np.uint16
    assert 2**8 < pixels.max() < 2**10


@pytest.mark.parametrize("size", [(48, 48), (61, 300), (613, 48), (900, 931), (1301, 517)])
def test_draws_any_size(size: tuple[int, int]):
    pixels = draw_phantom(replace(KNEE, rows=size[0], columns=size[1]))
    assert pixels.shape == size
    assert pixels.std() > 100


def test_draws_the_same_again_and_another_for_another_seed():
    assert np.array_equal(draw_phantom(KNEE), draw_phantom(KNEE))
    assert not np.array_equal(draw_phantom(KNEE), draw_phantom(replace(KNEE, seed=(1, 3))))


def test_mirrors_the_anatomy_for_the_other_side():
    request = replace(KNEE, region="Shoulder", rows=200, columns=200)
    right = draw_phantom(request).astype(float)
    left = draw_phantom(replace(request, side="L")).astype(float)
    same, mirrored = (np.corrcoef(right.ravel(), other.ravel())[0, 1] for other in (left, left[:, ::-1]))
    assert mirrored > same + 0.2


def test_shows_metal_brighter_than_bone():
    request = replace(KNEE, rows=1025, columns=740)
    plain, plated = draw_phantom(request), draw_phantom(replace(request, foreign_material=True))
    changed = plated.astype(int) - plain > 200
    assert 0.0003 < changed.mean() < 0.05
    assert plated[changed].mean() > np.percentile(plain, 99)


def test_shows_a_fracture_as_a_thin_dark_line():
    request = replace(KNEE, rows=1025, columns=740)
    plain, broken = draw_phantom(request).astype(int), draw_phantom(replace(request, fracture=True)).astype(int)
    darker = plain - broken > 250
    assert 30 < darker.sum() < 0.004 * darker.size


def test_keeps_air_darker_than_bone():
    pixels = draw_phantom(replace(KNEE, region="Hand", view="PA", rows=400, columns=300))
    assert pixels[:20].mean() < 0.3 * pixels[150:300, 100:200].mean()


def test_tells_regions_apart_by_shape():
    plans = [plan for plan in plan_export(images=500, seed=5, scale=0.05) if plan.fault is None]
    thumbnails = np.array([_thumbnail(phantom_pixels(plan)) for plan in plans])
    regions, patients = np.array([plan.region for plan in plans]), np.array([plan.patient for plan in plans])
    known = patients % 3 != 0
    nearest = (thumbnails[~known] @ thumbnails[known].T).argmax(1)
    assert (regions[known][nearest] == regions[~known]).mean() > 0.65  # by chance 0.15


def test_takes_little_time():
    draw_phantom(KNEE)
    started = time.process_time()
    for seed in range(3):
        draw_phantom(replace(KNEE, rows=2000, columns=1500, seed=(seed,)))
    assert (time.process_time() - started) / 3 < 0.25  # 30 ms on an idle core; five times that where others compute


def _thumbnail(pixels: np.ndarray, side: int = 24) -> np.ndarray:
    """Block means in a square, of length 1."""
    rows, columns = (max(2, round(side * length / max(pixels.shape))) for length in pixels.shape)
    edges = [
        np.linspace(0, length, count + 1).astype(int)
        for length, count in zip(pixels.shape, (rows, columns), strict=True)
    ]
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(float), edges[0][:-1], 0), edges[1][:-1], 1)
    square = np.zeros((side, side))
    square[:rows, :columns] = sums / (np.diff(edges[0])[:, None] * np.diff(edges[1]))
    return square.ravel() / np.linalg.norm(square)
