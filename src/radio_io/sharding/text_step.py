"""The step between rendering and checking that looks for burned-in text, where it is asked for.

Comes in: a radiograph, what its header says about burned-in text, the wanted mode. Goes out: the radiograph, masked
where asked for, with its text score and the masked boxes. Refuses (`ImageRejectedError`) secondary captures and scanned
films with text: they are looked at with a lower threshold, since their text usually tells who it is.
"""

from dataclasses import dataclass, replace
from typing import Final

from radio_io.config import TextMode
from radio_io.dicom.render import Radiograph
from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.privacy.burned_in import BurnedIn
from radio_io.privacy.text_detector import SCORE_THRESHOLD, TextBox, find_text, masked, text_score

SUSPECTED_THRESHOLD: Final = 0.5
"""For images whose header makes text likely: a false alarm costs one image, a missed name a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LookedAt:
    """A radiograph after the step. `score` is None where nobody looked, `boxes` where nothing was to be masked.

    `boxes` holds row, column, height and width of each box, one after another.
    """

    radiograph: Radiograph
    score: float | None = None
    boxes: tuple[int, ...] | None = None


def look_for_text(radiograph: Radiograph, mode: TextMode, burned_in: str, *, allow_burned_in: bool) -> LookedAt:
    """The radiograph with what was found in it.

    Raises:
        ImageRejectedError: BURNED_IN_ANNOTATION: text in a secondary capture or scanned film that is not masked.
        ConfigError: The extra `text` is not installed.
    """
    if mode is TextMode.OFF:
        return LookedAt(radiograph=radiograph)
    doubtful = burned_in in (BurnedIn.SUSPECTED, BurnedIn.YES)
    found = find_text(radiograph.pixels, threshold=SUSPECTED_THRESHOLD)
    text = tuple(box for box in found if doubtful or box.score >= SCORE_THRESHOLD)
    if mode is TextMode.MASK:
        pixels = masked(radiograph.pixels, text) if text else radiograph.pixels
        return LookedAt(radiograph=replace(radiograph, pixels=pixels), score=text_score(found), boxes=_flat(text))
    if doubtful and text and not allow_burned_in:
        detail = f"{len(text)} lines of text in the pixels of a secondary capture or scanned film, at most 0 accepted"
        raise ImageRejectedError(RejectReason.BURNED_IN_ANNOTATION, detail)
    return LookedAt(radiograph=radiograph, score=text_score(found))


def _flat(boxes: tuple[TextBox, ...]) -> tuple[int, ...]:
    return tuple(value for box in boxes for value in (box.row, box.column, box.height, box.width))
