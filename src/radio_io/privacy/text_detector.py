"""Finds text in the pixels of a radiograph, such as a burned-in name, and tells it from markers of side and view.

Comes in: rendered pixels. Goes out: `TextBox`es with a score, best first. Refuses to run without the extra `text`
(rapidocr, whose models ship inside its package; nothing is downloaded).

The network was made for photographs of text and shrinks large images: small letters in a corner are lost. Here it sees
full-size tiles wherever a tile touches the outer part of the image, and the whole image once more at half size for
large letters. What it takes for a line of text is then read: texture of bone gives no three letters in a row that are
read with certainty, and words such as L, R, PA or STANDING are no identifiers. bench/text_detector.py measures both.
"""

import importlib.util
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radio_io.errors import ConfigError

SCORE_THRESHOLD: Final = 0.8
"""Text is what is read with at least this certainty; see bench/text_detector.py."""
LEAST_CHARACTERS: Final = 3
TILE, OVERLAP = 960, 128
OUTER_SHARE: Final = 0.3
"""Tiles that touch the outer part of this share of each side are looked at in full size."""
_FLAT_LEVELS: Final = 6  # a tile with fewer grey levels of 256 holds nothing that can be read
_BOX_THRESHOLD: Final = 0.3
_PADDING: Final = 0.3  # of the height of a line, around its box
_SAME_BOX: Final = 0.5
_LEAST_SIDE: Final = 16  # pixels; nothing can be read in less
_SHORT_PENALTY: Final = 0.3

# What may stand in a radiograph without telling who it is: side, view, position, technician's signs.
HARMLESS: Final = frozenset(
    "L R LI RE LINKS RECHTS LEFT RIGHT GAUCHE DROITE IZQ DER AP PA LAT LATERAL AX AXIAL OBL OBLIQUE "
    "STEHEND LIEGEND SITZEND STANDING UPRIGHT SUPINE SITTING ERECT DEBOUT COUCHE PORTABLE BED BETT INSP EXP "
    "LAP RAP LPA RPA RL LL SEITE SIDE MOBILE DECUB DECUBITUS WEIGHT BEARING BELASTET".split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBox:
    """An upright rectangle around text, in pixels, and how certainly the text was read, 0 to 1."""

    row: int
    column: int
    height: int
    width: int
    score: float


@dataclass(frozen=True, slots=True)
class _Line:
    """What the network takes for text: corners [4, 2] as (x, y) in the image, and what was read there."""

    corners: NDArray[np.float64]
    text: str
    score: float


def require_text_extra() -> None:
    """Refuse to go on without the packages of the extra `text`.

    Raises:
        ConfigError: One is missing.
    """
    missing = [name for name in ("rapidocr", "onnxruntime", "cv2") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the text detector needs {', '.join(missing)}; install them with: pip install 'radio[text]', or leave out "
            "--text-detector and --mask-text"
        )


def find_text(pixels: NDArray[np.uint16], *, threshold: float = SCORE_THRESHOLD) -> tuple[TextBox, ...]:
    """The texts in an image [rows, columns] that could identify somebody, the most certain first.

    Raises:
        ConfigError: The extra `text` is not installed.
    """
    if min(pixels.shape) < _LEAST_SIDE:
        return ()
    grey = _grey(pixels)
    lines = [*_lines(grey, factor=1), *_lines(grey, factor=2)]
    boxes = [_box(line, grey.shape) for line in lines if _is_text(line, threshold)]
    return tuple(_without_copies(sorted(boxes, key=lambda box: (-box.score, box.row, box.column))))


def text_score(boxes: tuple[TextBox, ...]) -> float:
    """How certainly an image carries text: the score of its most certain box, 0 where there is none."""
    return round(max((box.score for box in boxes), default=0.0), 3)


def masked(pixels: NDArray[np.uint16], boxes: tuple[TextBox, ...]) -> NDArray[np.uint16]:
    """A copy of the image with 0 (air) in the boxes."""
    result = pixels.copy()
    for box in boxes:
        result[box.row : box.row + box.height, box.column : box.column + box.width] = 0
    return result


def is_harmless(text: str) -> bool:
    """Whether a text is made of markers of side, view and position only, or too short to be anything else.

    Example:
        >>> is_harmless("PA  stehend"), is_harmless("R"), is_harmless("Muster, Erika"), is_harmless("4711")
        (True, True, False, False)
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().upper()
    words = re.findall(r"[A-Z0-9]+", plain)
    return sum(map(len, words)) < LEAST_CHARACTERS or all(word in HARMLESS or len(word) == 1 for word in words)


def _is_text(line: _Line, threshold: float) -> bool:
    return line.score >= threshold and not is_harmless(line.text)


def _grey(pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """8 bits between robust percentiles: white letters are brighter than everything, black ones darker."""
    low, high = np.percentile(pixels[::4, ::4], [0.5, 99.5])
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255 / max(high - low, 1))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def _lines(grey: NDArray[np.uint8], *, factor: int) -> list[_Line]:
    """What the network reads in the image reduced by `factor`."""
    import cv2

    small = grey if factor == 1 else cv2.resize(grey, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    found: list[_Line] = []
    for row in range(0, max(small.shape[0] - OVERLAP, 1), TILE - OVERLAP):
        for column in range(0, max(small.shape[1] - OVERLAP, 1), TILE - OVERLAP):
            tile = small[row : row + TILE, column : column + TILE]
            if int(np.ptp(tile)) < _FLAT_LEVELS or (factor == 1 and _is_inside(row, column, tile.shape, small.shape)):
                continue
            coloured = cv2.cvtColor(np.ascontiguousarray(tile), cv2.COLOR_GRAY2BGR)
            for corners, text, score in _read(np.asarray(coloured, np.uint8)):
                found.append(_Line((corners + np.array([column, row])) * factor, text, score))
    return found


def _is_inside(row: int, column: int, tile: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Whether a tile lies wholly in the middle of the image."""
    return all(
        start > OUTER_SHARE * side and start + length < (1 - OUTER_SHARE) * side
        for start, length, side in zip((row, column), tile, image, strict=True)
    )


def _read(tile: NDArray[np.uint8]) -> list[tuple[NDArray[np.float64], str, float]]:
    """Corners, text and certainty of each line of a tile; a line is read as it stands and upside down."""
    import cv2
    from rapidocr.utils.process_img import get_rotate_crop_image

    engine = _engine()
    boxes: Any = engine(tile, use_det=True, use_cls=False, use_rec=False).boxes
    found: list[tuple[NDArray[np.float64], str, float]] = []
    for corners in boxes if boxes is not None else ():
        crop = np.asarray(get_rotate_crop_image(tile, np.asarray(corners, np.float32)), np.uint8)
        readings = [
            _recognise(engine, crop),
            _recognise(engine, np.asarray(cv2.rotate(crop, cv2.ROTATE_180), np.uint8)),
        ]
        text, score = max(readings, key=_credit)
        found.append((np.asarray(corners, np.float64), text, score))
    return found


def _credit(reading: tuple[str, float]) -> float:
    """How much a reading is believed against the one upside down: what has no three characters is less."""
    text, score = reading
    return score if sum(map(str.isalnum, text)) >= LEAST_CHARACTERS else score - _SHORT_PENALTY


def _recognise(engine: Any, crop: NDArray[np.uint8]) -> tuple[str, float]:  # noqa: ANN401 - untyped
    read = engine(crop, use_det=False, use_cls=False, use_rec=True)
    return (str(read.txts[0]), float(read.scores[0])) if read.txts else ("", 0.0)


@cache
def _engine() -> Any:  # noqa: ANN401 - rapidocr gives other results by its arguments
    require_text_extra()
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"  # named here, so that nothing is ever downloaded
    # Many processes share the cores already: one thread each.
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    return rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.max_side_len": TILE * 2,
            "Det.limit_side_len": 32,
            "Det.box_thresh": _BOX_THRESHOLD,
            "Det.model_path": str(next(models.glob("*_det_*.onnx"))),
            "Rec.model_path": str(next(models.glob("*_rec_*.onnx"))),
            **threads,
        }
    )


def _box(line: _Line, shape: tuple[int, ...]) -> TextBox:
    """The upright rectangle around a line with some space around it."""
    low, high = line.corners.min(axis=0), line.corners.max(axis=0)
    sides = np.linalg.norm(np.diff(line.corners, axis=0, append=line.corners[:1]), axis=1)
    space = _PADDING * float(sides.min())
    left, top = (int(max(value - space, 0)) for value in low)
    right, bottom = (int(min(np.ceil(value + space), side)) for value, side in zip(high, shape[::-1], strict=True))
    return TextBox(row=top, column=left, height=bottom - top, width=right - left, score=round(line.score, 3))


def _without_copies(boxes: list[TextBox]) -> list[TextBox]:
    """Boxes of which no better one covers the most part: neighbouring tiles and both sizes see the same line."""
    kept: list[TextBox] = []
    for box in boxes:
        if all(_covered(box, other) < _SAME_BOX for other in kept):
            kept.append(box)
    return kept


def _covered(box: TextBox, other: TextBox) -> float:
    height = min(box.row + box.height, other.row + other.height) - max(box.row, other.row)
    width = min(box.column + box.width, other.column + other.width) - max(box.column, other.column)
    return max(height, 0) * max(width, 0) / max(box.height * box.width, 1)
