"""What one text or code says about region, side and view.

Comes in: a `RegionTable`, then texts and codes. Goes out: a `Reading` for each. Refuses nothing: words that are not in
the table say nothing, words that contradict each other leave the question open.
"""

from dataclasses import dataclass

from radio_io.dicom.region_table import Concept, RegionTable
from radio_io.dicom.region_text import words_of

_CODE_SCHEMES = frozenset({"SCT", "SRT", "SNM3", "99SDM"})
_CACHE_SIZE = 20_000
_LONGEST_TEXT = 400
_EVIDENCE_WEIGHT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """`region` where exactly one is named, else the `candidates` left open; None where nothing is said."""

    region: str | None = None
    candidates: frozenset[str] | None = None
    side: str | None = None
    view: str | None = None


class RegionReader:
    """Reads texts and codes by a table and remembers texts, since a hospital has few different ones; pickles."""

    def __init__(self, table: RegionTable) -> None:
        self.table = table
        self._cache: dict[str, Reading] = {}

    def __getstate__(self) -> RegionTable:
        return self.table

    def __setstate__(self, state: RegionTable) -> None:
        self.table = state
        self._cache = {}

    def read(self, text: str) -> Reading:
        """What `text` says."""
        reading = self._cache.get(text)
        if reading is None:
            reading = self._resolve(self._concepts(words_of(text[:_LONGEST_TEXT])))
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            self._cache[text] = reading
        return reading

    def read_codes(self, codes: list[tuple[str, str]]) -> Reading | None:
        """What (scheme, value) codes say together, the region first; None where the first is not in the table."""
        found = [self.table.codes.get(value, []) if scheme in _CODE_SCHEMES else [] for scheme, value in codes]
        if not found or not found[0]:
            return None
        return self._resolve([concept for concepts in found for concept in concepts])

    def _concepts(self, words: list[str]) -> list[Concept]:
        """The table's concepts in the text; nothing that follows a title (a name) or "without"."""
        found: list[Concept] = []
        start = 0
        while start < len(words):
            length, concepts = self.table.phrases.find(words, start)
            kinds = {concept.kind for concept in concepts}
            if kinds & {"title", "without"}:
                start += length
                start += max(1, self.table.phrases.find(words, start)[0])
                continue
            if "ignore" not in kinds:
                whole = start == 0 and length == len(words)
                found.extend(concept for concept in concepts if whole or not concept.whole_text)
            start += max(1, length)
        return found

    def _resolve(self, concepts: list[Concept]) -> Reading:
        spoken = _languages(concepts)
        heard = [concept for concept in concepts if _counts(concept, spoken)]
        regions = {concept.name for concept in heard if concept.kind == "region"}
        groups = [self.table.groups[concept.name] for concept in heard if concept.kind == "group"]
        candidates = self._candidates(regions, [group.regions for group in groups])
        region = only(candidates)
        if region is None and not regions and len(groups) == 1:
            region = groups[0].default
        return Reading(
            region=region,
            candidates=candidates,
            side=_side({concept.name for concept in heard if concept.kind == "side"}),
            view=only(frozenset(concept.name for concept in heard if concept.kind == "view")),
        )

    def _candidates(self, regions: set[str], groups: list[frozenset[str]]) -> frozenset[str] | None:
        """What named regions and groups leave open together; None where nothing was named."""
        left = {name for name in regions if not self.table.finer_in_text.get(name, frozenset()) & regions}
        if len(left) > 1:
            return frozenset(left)
        if not left:
            shared = frozenset.intersection(*groups) if groups else None
            return shared or (frozenset.union(*groups) if groups else None)
        (region,) = left
        for group in groups:
            if region not in group:
                return self.table.finer.get(region, frozenset()) & group or frozenset({region}) | group
        return frozenset({region})


def only(names: frozenset[str] | None) -> str | None:
    """The one name in the set; None where there are none or several."""
    return next(iter(names)) if names is not None and len(names) == 1 else None


def _languages(concepts: list[Concept]) -> frozenset[str]:
    """The languages a text is written in, as far as its region tells, else its longer words."""
    spoken = frozenset[str]().union(*(c.languages for c in concepts if c.kind in {"region", "group"}))
    if spoken:
        return spoken
    return spoken.union(*(c.languages for c in concepts if c.kind == "marker" or c.weight >= _EVIDENCE_WEIGHT))


def _counts(concept: Concept, spoken: frozenset[str]) -> bool:
    """Whether a side or view is meant: its language is spoken, or it is a long word in a text of no language."""
    if concept.kind not in {"side", "view"} or not concept.languages:
        return True
    return bool(concept.languages & spoken) or (not spoken and concept.weight >= _EVIDENCE_WEIGHT)


def _side(sides: set[str]) -> str | None:
    if "B" in sides or {"L", "R"} <= sides:
        return "B"
    return next(iter(sides)) if len(sides) == 1 else None
