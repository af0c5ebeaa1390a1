"""Reads single values out of a dataset, leniently and exactly.

Comes in: a dataset of raw or converted elements and a keyword. Goes out: texts, finite numbers, dates, ages and
sequence items, or None where a value is absent or cannot be meant. Refuses nothing: no function here raises, warns or
logs whatever the header holds.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from struct import Struct
from struct import error as StructError  # noqa: N812 - an exception class under a lower-case name
from types import MappingProxyType
from typing import Final, cast

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag

from radio_io.dicom.charsets import decode_text
from radio_io.dicom.elements import (
    IMPLICIT_LITTLE,
    ITEM,
    UNDEFINED,
    DamageError,
    Encoding,
    end_of_items,
    read_head,
    scan,
)
from radio_io.dicom.source import ByteSource

MAX_TEXT_BYTES: Final = 65_536
MAX_ITEMS: Final = 1_000
LARGEST_INTEGER: Final = 2**31 - 1
_CHARACTER_SET: Final = BaseTag(0x00080005)

# Binary number VRs: struct format and size. Source: DICOM PS3.5 table 6.2-1.
_BINARY: Final[Mapping[str, tuple[str, int]]] = MappingProxyType(
    {
        "US": ("H", 2),
        "SS": ("h", 2),
        "UL": ("L", 4),
        "SL": ("l", 4),
        "UV": ("Q", 8),
        "SV": ("q", 8),
        "FL": ("f", 4),
        "FD": ("d", 8),
    }
)
# VRs that say nothing about the value: the dictionary's VR is used instead.
_OPAQUE: Final = frozenset({None, "UN", "OB", "OW"})
# float() and int() also take "nan", "1_000" and digits of other scripts, which no header means.
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_LONGEST_NUMBER: Final = 64
_DATE: Final = re.compile(r"([0-9]{4})([-./]?)([0-9]{2})\2([0-9]{2})(?:[0-9 ].*)?")
# Roentgen's first radiograph; and no clock is asked, so that the same file always gives the same row.
_FIRST_YEAR, _LAST_YEAR = 1895, 2199
_AGE: Final = re.compile(r"([0-9]{1,3})([DWMY]?)")
_DAYS_OF_UNIT: Final = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25, "": 365.25}
OLDEST_YEARS: Final = 130


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Every value of an attribute as text without padding; empty values stay in their place."""
    element = _element(dataset, keyword)
    if element is None:
        return ()
    if isinstance(element, RawDataElement):
        return _raw_texts(dataset, element)
    return tuple("" if value is None else str(value).strip(" \0\t\r\n") for value in _converted(element))


def text(dataset: Dataset, keyword: str) -> str | None:
    """The first value that is not empty, or None."""
    return next((value for value in texts(dataset, keyword) if value), None)


def term(dataset: Dataset, keyword: str) -> str | None:
    """The first value that is not empty in upper case with single spaces, as defined terms are compared."""
    value = text(dataset, keyword)
    return None if value is None else " ".join(value.upper().split())


def identifier(dataset: Dataset, keyword: str) -> str:
    """The whole value as one string: a backslash in an identifier is no reason to cut it. Empty where absent."""
    return "\\".join(texts(dataset, keyword)).strip(" \0\t\r\n\\")


def numbers(dataset: Dataset, keyword: str) -> tuple[float | None, ...]:
    """Every value of an attribute as a finite number; None in the place of one that is none."""
    element = _element(dataset, keyword)
    if element is None:
        return ()
    if isinstance(element, RawDataElement):
        binary = _BINARY.get(_vr(element) or "")
        if binary is not None:
            return _binary_numbers(element, *binary)
        return tuple(parse_number(value) for value in _raw_texts(dataset, element))
    return tuple(_finite(value) for value in _converted(element))


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first value that is a finite number, or None."""
    return next((value for value in numbers(dataset, keyword) if value is not None), None)


def integer(dataset: Dataset, keyword: str) -> int | None:
    """The first value that is a whole number within 32 bits (the range of IS), or None."""
    whole = (value for value in numbers(dataset, keyword) if value is not None and value.is_integer())
    return next((int(value) for value in whole if abs(value) <= LARGEST_INTEGER), None)


def day(dataset: Dataset, keyword: str) -> date | None:
    """The first value that is a date, or None."""
    return next((found for value in texts(dataset, keyword) if (found := parse_date(value)) is not None), None)


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence, as far as they can be read."""
    element = _element(dataset, keyword)
    if element is None:
        return ()
    if isinstance(element, RawDataElement):
        return tuple(_raw_items(element))
    value = cast("object", element.value)
    return tuple(cast("Iterable[Dataset]", value)) if isinstance(value, DicomSequence) else ()


def parse_number(value: str) -> float | None:
    """A decimal or integer string as a finite number, whatever its length; None where it cannot be meant.

    A single comma counts as the decimal point.

    Example:
        >>> parse_number("0,1500"), parse_number("1e400"), parse_number("NaN"), parse_number("")
        (0.15, None, None, None)
    """
    value = value.strip(" \0\t\r\n")
    if len(value) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(value):
        return None
    return _finite(float(value.replace(",", ".")))


def parse_date(value: str) -> date | None:
    """A date of a header, also with the points of ACR-NEMA; None for "00000000" and other impossible ones.

    Example:
        >>> parse_date("1997.06.09"), parse_date("00000000")
        (datetime.date(1997, 6, 9), None)
    """
    match = _DATE.fullmatch(value[:64])
    if match is None or not _FIRST_YEAR <= int(match[1]) <= _LAST_YEAR:
        return None
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return None


def parse_age_years(value: str) -> int | None:
    """Whole years of an age string such as 045Y, 18M or (without unit) 45; None where it cannot be meant.

    Example:
        >>> parse_age_years("018M"), parse_age_years("062"), parse_age_years("999Y")
        (1, 62, None)
    """
    match = _AGE.fullmatch(value.upper().strip())
    if match is None:
        return None
    years = int(int(match[1]) * _DAYS_OF_UNIT[match[2]] / _DAYS_OF_UNIT["Y"] + 1e-9)
    return years if years <= OLDEST_YEARS else None


@cache
def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    assert tag is not None, f"{keyword} is no DICOM keyword"
    return BaseTag(tag)


def _element(dataset: Dataset, keyword: str) -> RawDataElement | DataElement | None:
    return cast("RawDataElement | DataElement | None", dataset.get_item(_tag(keyword), keep_deferred=True))


def _vr(element: RawDataElement) -> str | None:
    """The VR to read a raw element by: its own, or the dictionary's where that says nothing."""
    if element.VR not in _OPAQUE:
        return element.VR
    try:
        # "US or SS" and the like: the values asked for here are never negative.
        return dictionary_VR(element.tag)[:2]
    except KeyError:
        return element.VR


def _raw_texts(dataset: Dataset, element: RawDataElement) -> tuple[str, ...]:
    vr, value = _vr(element), element.value or b""
    binary = _BINARY.get(vr or "")
    if binary is not None:
        values = _binary_numbers(element, *binary)
        return tuple("" if number is None else f"{number:.15g}" for number in values)
    if vr == "SQ":
        return ()
    value = value[:MAX_TEXT_BYTES]
    if value.isascii() and b"\x1b" not in value:
        decoded = value.decode("ascii")
    else:
        decoded = decode_text(value, () if element.tag == _CHARACTER_SET else texts(dataset, "SpecificCharacterSet"))
    return tuple(part.strip(" \0\t\r\n") for part in decoded.split("\\"))


def _binary_numbers(element: RawDataElement, code: str, size: int) -> tuple[float | None, ...]:
    value = (element.value or b"")[:MAX_TEXT_BYTES]
    count = len(value) // size
    order = "<" if element.is_little_endian else ">"
    return tuple(_finite(number) for number in Struct(f"{order}{count}{code}").unpack_from(value))


def _converted(element: DataElement) -> tuple[object, ...]:
    """The values of an element that pydicom has converted already."""
    value = cast("object", element.value)
    if value is None or isinstance(value, DicomSequence):
        return ()
    if isinstance(value, MultiValue | list | tuple):
        return tuple(cast("Iterable[object]", value))
    return (value,)


def _finite(value: object) -> float | None:
    if isinstance(value, int | float):
        try:
            result = float(value)
        except OverflowError:
            return None
        return result if math.isfinite(result) else None
    return parse_number(str(value))


def _raw_items(element: RawDataElement) -> Iterable[Dataset]:
    value = element.value or b""
    encoding = Encoding(element.is_implicit_VR, element.is_little_endian)
    if element.VR == "UN":
        # Source: DICOM PS3.5 section 6.2.2: UN of known length holds implicit VR little endian.
        encoding = IMPLICIT_LITTLE if encoding.little else encoding
    source, position = ByteSource(value), 0
    for _ in range(MAX_ITEMS):
        try:
            head = read_head(source, position, encoding)
            if head is None or head[0] != ITEM:
                return
            _, _, length, start = head
            if length == UNDEFINED:
                end, position = end_of_items(source, start, encoding, in_item=True)
            else:
                end = position = start + length
        except (DamageError, StructError):
            return
        found = scan(ByteSource(value[start:end]), 0, encoding)
        yield Dataset(dict(found.elements))
