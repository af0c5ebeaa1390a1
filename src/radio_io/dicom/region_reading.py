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
_PLACES = frozenset({"region", "group"})


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
        """The table's concepts in the text.

        Nothing that follows a title (a name) or "without"; no region that follows "with" after another was named.
        """
        found: list[Concept] = []
        start, secondary = 0, False
        while start < len(words):
            length, concepts = self.table.phrases.find(words, start)
            kinds = {concept.kind for concept in concepts}
            if kinds & {"title", "without"}:
                start = self._after_name(words, start + length)
                continue
            whole = start == 0 and length == len(words)
            start += max(1, length)
            if "with" in kinds:
                secondary = any(concept.kind == "region" for concept in found)
            elif "ignore" not in kinds:
                alone = [c for c in concepts if c.whole_text and whole]
                several = [c for c in concepts if not c.whole_text and not (secondary and c.kind in _PLACES)]
                found.extend(alone or several)
                secondary = secondary and not kinds & _PLACES
        return found

    def _after_name(self, words: list[str], start: int) -> int:
        """Where the text goes on after the word at `start`, or after further titles and the word that follows them."""
        length, concepts = self.table.phrases.find(words, start)
        return start if any(concept.kind == "title" for concept in concepts) else start + max(1, length)

    def _resolve(self, concepts: list[Concept]) -> Reading:
        spoken = _languages(concepts)
        heard = [concept for concept in concepts if _counts(concept, spoken)]
        side = _side({concept.name for concept in heard if concept.kind == "side"})
        heard = [concept for concept in heard if side is not None or not concept.needs_side]
        view = only(frozenset(concept.name for concept in heard if concept.kind == "view"))
        regions = {concept.name for concept in heard if concept.kind == "region"}
        if view is not None:
            regions = {self.table.regions_by_view.get((view, region), region) for region in regions}
        groups = [self.table.groups[concept.name] for concept in heard if concept.kind == "group"]
        candidates = self._candidates(regions, [group.regions for group in groups])
        region = only(candidates)
        if region is None and not regions and len(groups) == 1:
            region = groups[0].default
        return Reading(region=region, candidates=candidates, side=side, view=view)

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
    spoken = frozenset[str]().union(*(c.languages for c in concepts if c.kind in _PLACES))
    if spoken:
        return spoken
    return spoken.union(*(c.languages for c in concepts if c.kind == "marker" or c.weight >= _EVIDENCE_WEIGHT))


def _counts(concept: Concept, spoken: frozenset[str]) -> bool:
    """Whether a side or view is meant: a word of any language, a long word, or one whose language is spoken."""
    if concept.kind not in {"side", "view"} or not concept.languages:
        return True
    return concept.weight >= _EVIDENCE_WEIGHT or bool(concept.languages & spoken)


def _side(sides: set[str]) -> str | None:
    if "B" in sides or {"L", "R"} <= sides:
        return "B"
    return next(iter(sides)) if len(sides) == 1 else None
