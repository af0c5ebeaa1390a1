"""A phantom radiograph: bones whose shape tells the region, soft tissue, texture, noise, a marker, a collimated border.

Comes in: a `PhantomRequest`. Goes out: pixels [rows, columns] uint16 below 2 ** bits, 0 where air lets everything
through, bright where bone and metal absorb. The same request gives the same pixels; a fracture or metal changes the
picture nowhere else. Nothing here comes from a patient.

Smooth parts (anatomy, tissue texture) are made on a coarse grid and enlarged; noise, fractures, metal and letters are
drawn at full size. A picture of 2000 x 1500 takes about 30 ms of one core, one of 200 x 150 about 3 ms.
"""

from dataclasses import dataclass
from functools import cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from radio_io.synth.anatomy import draw_anatomy
from radio_io.synth.findings import draw_fracture, draw_marker, draw_metal, find_site
from radio_io.synth.shapes import Anatomy, Floats, Frame, add_body
from radio_io.synth.sizes import REGIONS

_COARSE_SIDE = 620  # pixels of the coarse grid's longer side, about
_SMALL_FRAME = (1150, 640)
_TILE = 1024
_TILE_SEED = 20_240_501
_TISSUE_EXPONENT, _FINE_EXPONENT = 1.7, 0.9  # of the amplitude spectra 1/f ** exponent
_CROP_SHARE = 0.85  # pictures with a visible collimation border
_WIDEST_BORDER = 0.09


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomRequest:
    """What to draw; `side` is L, R or None, `small` a picture collimated to fingers or toes."""

    region: str
    view: str
    side: str | None
    rows: int
    columns: int
    bits: int
    seed: tuple[int, ...]
    small: bool = False
    fracture: bool = False
    foreign_material: bool = False


def draw_phantom(request: PhantomRequest) -> NDArray[np.uint16]:
    """The picture, [rows, columns] uint16 below 2 ** bits; air is 0."""
    generator = np.random.default_rng(request.seed)
    anatomy = draw_anatomy(request.region, request.view, request.side, request.small, generator)
    step = max(1, round(max(request.rows, request.columns) / _COARSE_SIDE))
    frame, unit = _frame(request, step, generator)
    picture = _enlarge(_projection(anatomy, frame, generator), step, request.rows, request.columns)
    _multiply_texture(picture, _FINE_EXPONENT, 0.035, generator)
    middle = (float(-frame.x[0]) * unit, float(-frame.y[0]) * unit)
    if request.fracture:
        own = np.random.default_rng([*request.seed, 1])
        draw_fracture(picture, find_site(anatomy, middle, unit, picture.shape, own), own)
    if request.foreign_material:
        own = np.random.default_rng([*request.seed, 2])
        draw_metal(picture, find_site(anatomy, middle, unit, picture.shape, own), own)
    _add_noise(picture, generator)
    _collimate(picture, request.side or "R", generator)
    return _quantised(picture, request.bits, generator)


def _frame(request: PhantomRequest, step: int, generator: np.random.Generator) -> tuple[Frame, float]:
    """Coordinates of the coarse grid, and the pixels of half a typical height: the anatomy keeps its proportions."""
    size = REGIONS.get(request.region)
    height, width = (size.height, size.width) if size is not None else (request.rows, request.columns)
    if request.small:
        height, width = _SMALL_FRAME
    zoom = float(np.clip(1 + 0.06 * generator.standard_normal(), 0.85, 1.15))
    unit = sqrt(request.rows * request.columns / (height * width)) * height / 2 * zoom
    off_x, off_y = (float(value) for value in generator.uniform(-0.04, 0.04, 2))
    columns = np.arange(-(-(request.columns - 1) // step) + 1, dtype=np.float32) * np.float32(step / unit)
    rows = np.arange(-(-(request.rows - 1) // step) + 1, dtype=np.float32) * np.float32(step / unit)
    columns -= np.float32(request.columns / 2 / unit + off_x)
    rows -= np.float32(request.rows / 2 / unit + off_y)
    return Frame(x=columns, y=rows), unit


def _projection(anatomy: Anatomy, frame: Frame, generator: np.random.Generator) -> Floats:
    """Absorbed share of the beam on the coarse grid, 0 to 1: logarithmic, as a detector's processing shows it."""
    shape = (frame.y.size, frame.x.size)
    soft, bone = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for body in anatomy.soft:
        add_body(soft, body, frame)
    for body in anatomy.bones:
        add_body(bone, body, frame)
    np.maximum(soft, 0, out=soft)
    _multiply_texture(soft, _TISSUE_EXPONENT, 0.05, generator)
    _multiply_texture(bone, _TISSUE_EXPONENT, 0.06, generator)
    soft *= np.float32(generator.uniform(0.45, 0.65))
    bone *= np.float32(generator.uniform(1.5, 2.0))
    soft += bone
    np.maximum(soft, 0, out=soft)
    np.negative(soft, out=soft)
    absorbed = np.exp(soft, out=soft)
    np.subtract(1, absorbed, out=absorbed)
    absorbed *= np.float32(generator.uniform(0.8, 0.92)) / max(np.float32(0.3), absorbed.max())
    return absorbed


def _enlarge(coarse: Floats, step: int, rows: int, columns: int) -> Floats:
    """Bilinear enlargement by a whole factor, cut to [rows, columns]."""
    if step == 1:
        return np.ascontiguousarray(coarse[:rows, :columns])
    tall = _enlarge_rows(coarse, step)[:rows]
    wide = np.empty((tall.shape[0], coarse.shape[1] - 1, step), np.float32)
    left, difference = tall[:, :-1], tall[:, 1:] - tall[:, :-1]
    for k in range(step):
        np.multiply(difference, np.float32(k / step), out=wide[:, :, k])
        wide[:, :, k] += left
    flat = wide.reshape(tall.shape[0], -1)
    if flat.shape[1] < columns:
        flat = np.concatenate([flat, tall[:, -1:]], axis=1)
    return np.ascontiguousarray(flat[:, :columns])


def _enlarge_rows(coarse: Floats, step: int) -> Floats:
    top, difference = coarse[:-1], coarse[1:] - coarse[:-1]
    tall = np.empty((top.shape[0], step, top.shape[1]), np.float32)
    for k in range(step):
        np.multiply(difference, np.float32(k / step), out=tall[:, k])
        tall[:, k] += top
    return np.concatenate([tall.reshape(-1, coarse.shape[1]), coarse[-1:]])


@cache
def _texture_tile(exponent: float) -> Floats:
    """Noise with the spectrum 1/f ** exponent, two periods each way: [2048, 2048] float32, mean 0, deviation 1."""
    generator = np.random.default_rng([_TILE_SEED, round(exponent * 10)])
    rows, columns = np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :]
    frequency = np.sqrt(rows * rows + columns * columns)
    frequency[0, 0] = 1.0
    spectrum = generator.standard_normal((2, _TILE, _TILE // 2 + 1))
    tile = np.fft.irfft2((spectrum[0] + 1j * spectrum[1]) / np.maximum(frequency, 4 / _TILE) ** exponent)
    return np.tile(((tile - tile.mean()) / tile.std()).astype(np.float32), (2, 2))


def _multiply_texture(target: Floats, exponent: float, amplitude: float, generator: np.random.Generator) -> None:
    """Multiply `target` by 1 + amplitude * texture, a part of the tile that is turned and shifted at random."""
    tile = _texture_tile(exponent)
    mirrors, top, left = (int(value) for value in generator.integers(0, (8, _TILE, _TILE)))
    tile = tile[:: 1 - 2 * (mirrors & 1), :: 1 - (mirrors & 2)]
    tile = (tile.T if mirrors & 4 else tile)[top : top + _TILE, left : left + _TILE]
    for row in range(0, target.shape[0], _TILE):
        for column in range(0, target.shape[1], _TILE):
            block = target[row : row + _TILE, column : column + _TILE]
            factor = tile[: block.shape[0], : block.shape[1]] * np.float32(amplitude)
            factor += np.float32(1)
            block *= factor


def _add_noise(picture: Floats, generator: np.random.Generator) -> None:
    """Add quantum noise, stronger where less of the beam arrives, slightly blurred as in a scintillator."""
    rows, columns = picture.shape
    grains = np.frombuffer(generator.bytes((rows + 1) * (columns + 1)), np.uint8).reshape(rows + 1, columns + 1)
    noise = grains[:-1, :-1].astype(np.int16)
    noise += noise
    noise += grains[1:, :-1]
    noise += grains[:-1, 1:]
    noise -= 510  # the mean of the weighted sum of three bytes
    strength = np.float32(generator.uniform(0.006, 0.018) / 181)  # over its deviation
    scale = picture * np.float32(0.8 * strength)
    scale += np.float32(0.35) * strength
    scale *= noise
    picture += scale


def _collimate(picture: Floats, side: str, generator: np.random.Generator) -> None:
    """Draw the side's letter inside the beam and set everything outside it to 0."""
    rows, columns = picture.shape
    shares = generator.uniform(0, _WIDEST_BORDER, 4) * (generator.random() < _CROP_SHARE)
    top, bottom = round(float(shares[0]) * rows), rows - round(float(shares[1]) * rows)
    left, right = round(float(shares[2]) * columns), columns - round(float(shares[3]) * columns)
    draw_marker(picture[top:bottom, left:right], side, generator)
    picture[:top] = picture[bottom:] = -1
    picture[:, :left] = picture[:, right:] = -1


def _quantised(picture: Floats, bits: int, generator: np.random.Generator) -> NDArray[np.uint16]:
    """Stored values: a range of the bits that differs between detectors, 0 outside the beam."""
    top = (1 << bits) - 1
    low, high = float(generator.uniform(0.0, 0.06)) * top, float(generator.uniform(0.82, 1.0)) * top
    picture *= np.float32(high - low)
    picture += np.float32(low)
    np.clip(picture, 0, top, out=picture)
    return picture.astype(np.uint16)
