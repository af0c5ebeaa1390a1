"""Burned-in text: found, told from markers, masked. The numbers are in bench/text_detector.py."""

import sys

import numpy as np
import pytest

from radio_io.errors import ConfigError
from radio_io.privacy.text_detector import (
    SCORE_THRESHOLD,
    TextBox,
    find_text,
    is_harmless,
    masked,
    require_text_extra,
    text_score,
)
from radio_io.synth.burned_text import BurnedText, Polarity, burn_text
from radio_io.synth.phantom import PhantomRequest, draw_phantom

pytest.importorskip("rapidocr", reason="needs the extra `text`")


@pytest.fixture(scope="module")
def picture():
    return draw_phantom(PhantomRequest(region="Knee", view="AP", side="R", rows=700, columns=560, bits=12, seed=(3, 1)))


def holds(boxes, rectangle) -> bool:
    """Whether a box holds nearly all of the rectangle."""
    row, column, height, width = rectangle
    for box in boxes:
        high = min(box.row + box.height, row + height) - max(box.row, row)
        wide = min(box.column + box.width, column + width) - max(box.column, column)
        if high > 0 and wide > 0 and high * wide >= 0.8 * height * width:
            return True
    return False


TEXTS = (
    BurnedText(text="Muster^Erika", size=24, down=0.0, right=0.0),
    BurnedText(text="12.03.1957", size=14, down=1.0, right=1.0),
    BurnedText(text="PID: 90731907", size=20, polarity=Polarity.BLACK_ON_WHITE, down=0.0, right=1.0),
    BurnedText(text="MUELLER, HANS", size=18, polarity=Polarity.WHITE_ON_BLACK, turned=90, down=0.6, right=0.0),
    BurnedText(text="St. Joseph Hosp", size=24, turned=180, down=1.0, right=0.0),
)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.text)
def test_finds_names_dates_and_numbers(picture, text):
    burned = burn_text(picture, text, bits=12)
    assert burned.readable
    boxes = find_text(burned.pixels)
    assert text_score(boxes) >= SCORE_THRESHOLD
    assert holds(boxes, burned.rectangle)


def test_raises_no_alarm_for_bones_and_markers(picture):
    for text, down, right in (("L", 0.0, 0.0), ("PA STEHEND", 0.0, 1.0), ("R", 1.0, 1.0), ("LINKS", 1.0, 0.0)):
        picture = burn_text(picture, BurnedText(text=text, size=32, down=down, right=right), bits=12).pixels
    assert find_text(picture) == ()
    assert text_score(()) == 0.0


@pytest.mark.parametrize("side", [1, 5, 40])
def test_takes_images_of_any_size_and_content(side):
    assert find_text(np.zeros((side, side + 2), np.uint16)) == ()
    assert find_text(np.full((side, 200), 65535, np.uint16)) == ()


def test_masks_the_boxes_and_nothing_else(picture):
    picture = picture + np.uint16(1)
    boxes = (
        TextBox(row=10, column=20, height=30, width=40, score=0.9),
        TextBox(row=690, column=0, height=10, width=9, score=0.8),
    )
    result = masked(picture, boxes)
    inside = np.zeros(picture.shape, bool)
    inside[10:40, 20:60] = inside[690:700, 0:9] = True
    assert (result[inside] == 0).all()
    assert (result[~inside] == picture[~inside]).all()
    assert picture[inside].any()


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("", True), ("R", True), ("L|", True), ("re.", True), ("ap/lat", True), ("PA  Stehend", True), ("75 kV", False),
        ("Muster", False), ("PA Muster", False), ("1957", False), ("Łęcka Żaneta", False), ("123", False),
    ],
)  # fmt: skip
def test_knows_markers_from_identifiers(text, harmless):
    assert is_harmless(text) is harmless


def test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "rapidocr" else object())
    with pytest.raises(ConfigError, match=r"needs rapidocr.*radio\[text\]"):
        require_text_extra()
