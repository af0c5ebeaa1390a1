"""Which anatomical region, side and view a header names.

Comes in: a DICOM dataset (or one text). Goes out: `RegionMatch`, made of words of the table only: free text of the
header is read for mapping and never comes out. Refuses nothing: what cannot be told is "Unknown" or None.

Sources in order of trust: codes (AnatomicRegionSequence, PrimaryAnatomicStructureSequence), BodyPartExamined, texts of
the modality (SeriesDescription, ProtocolName, ...), texts of the order (StudyDescription, ...). The first that names
one region gives it; later ones may make it finer (HAND, then "Finger 3"). Where the modality's and the order's texts
both name another region than BodyPartExamined does, they win: that attribute is often left at a default (15 % wrong
in Güld et al., Quality of DICOM header information for image categorization, SPIE 4685, 2002).
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pydicom
from pydicom.multival import MultiValue

from radio_io.dicom.region_reading import Reading, RegionReader, only
from radio_io.dicom.region_table import RegionSources, make_table, region_sources
from radio_io.dicom.region_text import words_of

UNKNOWN = "Unknown"
NO_SOURCE = "none"

_CODE_SOURCES = ("AnatomicRegionSequence", "PrimaryAnatomicStructureSequence")
_BODY_PART = "BodyPartExamined"
_MODALITY_TEXTS = (
    "SeriesDescription",
    "AcquisitionDeviceProcessingDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "PerformedProtocolCodeSequence",
    "AcquisitionProtocolName",
    "AcquisitionProtocolDescription",
)
_ORDER_TEXTS = (
    "ProcedureCodeSequence",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "StudyDescription",
    "RequestAttributesSequence",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionMatch:
    """What a header says about the place imaged.

    `region_source` is the keyword of the attribute that decided, or "none"; `laterality` is L, R, B (both) or
    U (unpaired); `view_position` is a word of the table, such as AP, PA, LAT, OBL, AX.
    """

    region: str
    region_source: str
    laterality: str | None
    view_position: str | None


@functools.lru_cache(maxsize=4)
def _rules_of(sources: RegionSources) -> "RegionRules":
    return RegionRules(sources)


class RegionRules:
    """Maps headers to regions by the built-in table and, before it, one of the user.

    Pickles as the texts of the tables, and a process makes them into rules once: units of work carry rules.

    Example:
        >>> rules = RegionRules.load()
        >>> rules.map_text("Knie re. ap")
        RegionMatch(region='Knee', region_source='text', laterality='R', view_position='AP')
        >>> rules.map_text("nothing to see").region
        'Unknown'
    """

    def __init__(self, sources: RegionSources) -> None:
        self._sources = sources
        self._table = make_table(sources)
        self._reader = RegionReader(self._table)

    def __reduce__(self) -> tuple[Callable[[RegionSources], "RegionRules"], tuple[RegionSources]]:
        return _rules_of, (self._sources,)

    @classmethod
    def load(cls, extra: Path | None = None) -> "RegionRules":
        """The built-in rules, extended by the TOML file `extra` (same form as `regions.toml`, see there).

        Raises:
            ConfigError: `extra` is missing, not TOML or of another form.
        """
        return cls(region_sources(extra))

    @property
    def regions(self) -> tuple[str, ...]:
        """Every region that `map_region` can name, "Unknown" last."""
        return (*self._table.regions, UNKNOWN)

    def map_text(self, text: str) -> RegionMatch:
        """What one text says on its own."""
        reading = self._reader.read(text)
        region = reading.region or only(reading.candidates) or UNKNOWN
        return self._match(region, NO_SOURCE if region == UNKNOWN else "text", reading.side, reading.view)

    def map_region(self, dataset: pydicom.Dataset) -> RegionMatch:
        """What the header says, from all its sources."""
        readings = list(self._readings(dataset))
        region, source = self._decide(readings)
        return self._match(region, source, self._laterality(dataset, readings), self._view(dataset, readings))

    def unmapped_text(self, dataset: pydicom.Dataset) -> str | None:
        """Folded words of BodyPartExamined, or else SeriesDescription, where no region was found; None where one was.

        This is free text of the header: show a value only when it was seen in many patients.
        """
        if self.map_region(dataset).region != UNKNOWN:
            return None
        for keyword in (_BODY_PART, _MODALITY_TEXTS[0]):
            for text in _texts(dataset, keyword):
                words = words_of(text)
                if words:
                    return " ".join(words)[:64]
        return None

    def _match(self, region: str, source: str, side: str | None, view: str | None) -> RegionMatch:
        """The match, with views named after the region where that decides (dorsopalmar is PA, dorsoplantar AP)."""
        view = self._table.views_by_region.get((view, region), view) if view is not None else None
        return RegionMatch(region=region, region_source=source, laterality=side, view_position=view)

    def _readings(self, dataset: pydicom.Dataset) -> Iterator[tuple[str, Reading]]:
        for keyword in _CODE_SOURCES:
            for item in _items(dataset, keyword):
                yield keyword, self._read_code(item)
        for keyword in (_BODY_PART, *_MODALITY_TEXTS, *_ORDER_TEXTS):
            for text in _texts(dataset, keyword):
                yield keyword, self._reader.read(text)

    def _read_code(self, item: pydicom.Dataset) -> Reading:
        """The coded region with its modifiers' side; the code's meaning where the code is not in the table."""
        codes = [_code(item), *(_code(modifier) for modifier in _items(item, "AnatomicRegionModifierSequence"))]
        return self._reader.read_codes(codes) or self._reader.read(_first_text(item, "CodeMeaning"))

    def _decide(self, readings: list[tuple[str, Reading]]) -> tuple[str, str]:
        named = [(source, reading.region) for source, reading in readings if reading.region is not None]
        if not named:
            return self._from_candidates(readings)
        source, region = named[0]
        if source == _BODY_PART:
            source, region = self._overruled(named) or (source, region)
        for later, reading in readings:
            finer = only(self._finer(region, reading))
            if finer is not None:
                return finer, later
        return region, source

    def _finer(self, region: str, reading: Reading) -> frozenset[str]:
        """The finer regions below `region` that a reading leaves open."""
        return (reading.candidates or frozenset()) & self._table.finer.get(region, frozenset())

    def _overruled(self, named: list[tuple[str, str]]) -> tuple[str, str] | None:
        """The region in which the modality's and the order's texts agree against BodyPartExamined."""
        claimed = named[0][1]
        modality = [(source, region) for source, region in named if source in _MODALITY_TEXTS]
        order = {region for source, region in named if source in _ORDER_TEXTS}
        texts = {region for _, region in modality} | order
        if claimed in texts or not modality or not order:
            return None
        source, region = modality[0]
        return (source, region) if texts == {region} else None

    def _from_candidates(self, readings: list[tuple[str, Reading]]) -> tuple[str, str]:
        """The one region that all ambiguous readings leave open ("upper limb" and "digit II": a finger)."""
        open_readings = [(source, reading.candidates) for source, reading in readings if reading.candidates]
        if open_readings:
            region = only(frozenset.intersection(*(candidates for _, candidates in open_readings)))
            if region is not None:
                return region, open_readings[-1][0]
        return UNKNOWN, NO_SOURCE

    def _laterality(self, dataset: pydicom.Dataset, readings: list[tuple[str, Reading]]) -> str | None:
        for keyword in ("ImageLaterality", "Laterality", "FrameLaterality"):
            for text in _texts(dataset, keyword):
                side = self._reader.read(text).side
                if side is not None:
                    return side
        return next((reading.side for _, reading in readings if reading.side is not None), None)

    def _view(self, dataset: pydicom.Dataset, readings: list[tuple[str, Reading]]) -> str | None:
        for item in _items(dataset, "ViewCodeSequence"):
            view = self._read_code(item).view
            if view is not None:
                return view
        for text in _texts(dataset, "ViewPosition"):
            view = self._reader.read(text).view
            if view is not None:
                return view
        return next((reading.view for _, reading in readings if reading.view is not None), None)


def _items(dataset: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    value = _value(dataset, keyword)
    if not isinstance(value, pydicom.Sequence):
        return []
    return [item for item in cast("Iterable[object]", value) if isinstance(item, pydicom.Dataset)]


def _texts(dataset: pydicom.Dataset, keyword: str) -> Iterator[str]:
    """Texts of an attribute: its values, or the meanings and descriptions in its items."""
    value = _value(dataset, keyword)
    if isinstance(value, pydicom.Sequence):
        for item in _items(dataset, keyword):
            for inner in ("CodeMeaning", "RequestedProcedureDescription", "ScheduledProcedureStepDescription"):
                yield from _texts(item, inner)
        return
    values = cast("Iterable[object]", value) if isinstance(value, MultiValue | list) else (value,)
    yield from (text for text in (str(item) for item in values if item is not None) if text and not text.isspace())


def _code(item: pydicom.Dataset) -> tuple[str, str]:
    value = _first_text(item, "CodeValue") or _first_text(item, "LongCodeValue")
    return _first_text(item, "CodingSchemeDesignator").strip().upper(), value.strip().upper()


def _first_text(dataset: pydicom.Dataset, keyword: str) -> str:
    return next(_texts(dataset, keyword), "")


def _value(dataset: pydicom.Dataset, keyword: str) -> object:
    """The attribute's value; None where it is absent or pydicom cannot read it."""
    try:
        return cast("object", dataset.get(keyword))
    except (ValueError, TypeError, AttributeError, LookupError, NotImplementedError, OverflowError):
        return None
