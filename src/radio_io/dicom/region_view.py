"""The part of a header from which region, side and view are told, as plain text.

Comes in: a dataset of raw elements. Goes out: a small dataset of converted ones, so that whoever maps regions meets
neither raw bytes nor pydicom's converters, and no attribute but the listed ones. Refuses nothing.
"""

from typing import Final

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from radio_io.dicom.values import items, texts
from radio_io.privacy.attributes import ATTRIBUTES, Action

MAX_ITEMS: Final = 8
MAX_TEXT: Final = 256
_MAX_DEPTH: Final = 2
# Read to know the kind of image, or the device, not the place.
_NOT_PLACES: Final = frozenset({"Manufacturer", "ManufacturerModelName"})
_PLACES: Final = tuple(
    (rule.keyword, rule.tag, dictionary_VR(rule.tag))
    for rule in ATTRIBUTES.values()
    if rule.action is Action.VOCABULARY and rule.keyword not in _NOT_PLACES
)


def region_view(header: Dataset) -> Dataset:
    """The descriptions and codes of `header` as text; sequences keep their first items."""
    return _view(header, depth=0)


def _view(header: Dataset, *, depth: int) -> Dataset:
    view = Dataset()
    for keyword, tag, vr in _PLACES:
        if vr != "SQ":
            found = [value[:MAX_TEXT] for value in texts(header, keyword) if value]
            if found:
                value = found[0] if len(found) == 1 else found
                view[tag] = DataElement(tag, vr, value, already_converted=True)
        elif depth < _MAX_DEPTH:
            inner = [_view(item, depth=depth + 1) for item in items(header, keyword)[:MAX_ITEMS]]
            if inner:
                view[tag] = DataElement(tag, vr, DicomSequence(inner), already_converted=True)
    return view
