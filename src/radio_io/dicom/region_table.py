"""The table of regions, sides and views, read from TOML and compiled for look-up.

Comes in: `regions.toml` and, before it, a file of the user in the same form. Goes out: `RegionTable`.
Refuses, with `ConfigError`: files that are not TOML, unknown sections or keys, terms that are not text, region names
that differ from a known one only in case or blanks, and groups or refinements of regions that do not exist.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal, cast

from radio_io.dicom.region_text import PhraseTree, spellings, words_of_term
from radio_io.errors import ConfigError

Kind = Literal["region", "group", "side", "view", "ignore", "title", "without", "with", "marker"]

_SIGNS = "=+"
LANGUAGES = ("en", "de", "fr", "es")
_LISTS = ("any", *LANGUAGES)
_SECTIONS: dict[str, Kind] = {"regions": "region", "groups": "group", "sides": "side", "views": "view"}
_WORD_KINDS: dict[str, Kind] = {"ignore": "ignore", "titles": "title", "without": "without", "with": "with"}
_REGION_NAME = re.compile(r"[A-Z][A-Za-z /-]{1,30}")
_SHORT_NAME = re.compile(r"[A-Z][A-Z0-9]{0,11}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """What a term or code stands for.

    `languages` are those that use the term; for sides and views empty where it means this in any. `whole_text` terms
    count only alone, `needs_side` terms only beside a side.
    """

    kind: Kind
    name: str
    languages: frozenset[str] = frozenset()
    weight: int = 0  # characters of the term: short ones need evidence of their language
    whole_text: bool = False
    needs_side: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The regions that one word may mean, and what it means alone."""

    regions: frozenset[str]
    default: str | None


@dataclass(kw_only=True, slots=True)
class RegionTable:
    """Everything `regions.toml` says, ready for look-up."""

    phrases: PhraseTree[Concept] = field(default_factory=PhraseTree[Concept])
    codes: dict[str, list[Concept]] = field(default_factory=dict[str, list[Concept]])
    groups: dict[str, Group] = field(default_factory=dict[str, Group])
    finer: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    finer_in_text: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    views_by_region: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    regions_by_view: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    regions: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One term of one file, before its spellings are worked out."""

    term: str
    kind: Kind
    name: str
    language: str | None


RegionSources = tuple[tuple[str, str], ...]
"""TOML texts with what they are called in messages; the terms of the first come before those of the next."""


def region_sources(extra: Path | None = None) -> RegionSources:
    """The text of the built-in table, and before it that of the file `extra`.

    Raises:
        ConfigError: `extra` cannot be read.
    """
    builtin = (resources.files("radio_io.dicom").joinpath("regions.toml").read_text(encoding="utf-8"), "regions.toml")
    if extra is None:
        return (builtin,)
    try:
        return ((extra.read_text(encoding="utf-8"), str(extra)), builtin)
    except OSError as error:
        raise ConfigError(f"cannot read the regions file {extra}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the regions file {extra} is not TOML: {error}") from error


def make_table(sources: RegionSources) -> RegionTable:
    """The table that these texts make.

    Raises:
        ConfigError: One is no TOML, or of another form.
    """
    documents = [(_parse_toml(text, origin), origin) for text, origin in sources]
    table = RegionTable()
    for document, origin in reversed(documents):
        _collect_regions(document, origin, table)
    taken: set[tuple[str, Kind]] = set()
    for document, origin in documents:
        _add_terms(list(_entries(document, origin)), table.phrases, taken)
        _add_codes(document, origin, table)
    for document, origin in documents:
        _add_groups(document, origin, table)
        _add_refinements(document, origin, table)
        _add_views_by_region(document, origin, table)
    return table


def _parse_toml(text: str, origin: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the regions file {origin} is not TOML: {error}") from error


def _collect_regions(document: Mapping[str, object], origin: str, table: RegionTable) -> None:
    """Check section and region names; a region that is almost a known one is a slip of the pen."""
    known_sections = {*_SECTIONS, "refinements", "words", "markers"}
    for section in document:
        if section not in known_sections:
            raise ConfigError(
                f"{origin}: unknown section [{section}]; expected one of {', '.join(sorted(known_sections))}"
            )
    by_folded = {name.casefold().replace(" ", ""): name for name in table.regions}
    for name in _mapping(document.get("regions", {}), origin, "regions"):
        known = by_folded.get(name.casefold().replace(" ", ""))
        if known is not None and known != name:
            raise ConfigError(f"{origin}: region {name!r} is written {known!r}; use that spelling")
        if known is None and not _REGION_NAME.fullmatch(name):
            raise ConfigError(f"{origin}: region name {name!r}; expected a capital, then letters, blanks, '/' or '-'")
        if known is None:
            table.regions.append(name)
    for section in ("sides", "views"):
        for name in _mapping(document.get(section, {}), origin, section):
            if not _SHORT_NAME.fullmatch(name):
                raise ConfigError(f"{origin}: [{section}.{name}]: expected capitals, such as [sides.L] or [views.AP]")


def _entries(document: Mapping[str, object], origin: str) -> Iterator[_Entry]:
    for section, kind in _SECTIONS.items():
        for name, body in _mapping(document.get(section, {}), origin, section).items():
            where = f"{section}.{name}"
            lists = _mapping(body, origin, where)
            unknown = set(lists) - {*_LISTS, "codes", "regions", "default", "by_region", "region_of"}
            if unknown:
                raise ConfigError(
                    f"{origin}: [{where}]: unknown key {min(unknown)!r}; expected {', '.join(_LISTS)}, codes"
                )
            for language in _LISTS:
                for term in _texts(lists.get(language, []), origin, f"{where}.{language}"):
                    yield _Entry(term=term, kind=kind, name=name, language=None if language == "any" else language)
    for key, kind in _WORD_KINDS.items():
        words = _mapping(document.get("words", {}), origin, "words")
        for term in _texts(words.get(key, []), origin, f"words.{key}"):
            yield _Entry(term=term, kind=kind, name=key, language=None)
    for language, terms in _mapping(document.get("markers", {}), origin, "markers").items():
        for term in _texts(terms, origin, f"markers.{language}"):
            yield _Entry(term=term, kind="marker", name=language, language=language)


def _add_terms(entries: list[_Entry], phrases: PhraseTree[Concept], taken: set[tuple[str, Kind]]) -> None:
    """Add every spelling of every term; a spelling taken from an earlier file, or by a term as written, stays.

    One word may be a side and a view and a region at once; within regions, groups and words to ignore it is one only.
    """
    spelt: list[tuple[int, str, _Entry]] = []
    for entry in entries:
        spelt.extend(
            (order > 0, spelling, entry) for order, spelling in enumerate(spellings(entry.term.lstrip(_SIGNS)))
        )
    spelt.sort(key=lambda item: item[0])
    merged: dict[tuple[str, Kind, str, str], set[str | None]] = {}
    own: dict[tuple[str, Kind], str] = {}
    for _, spelling, entry in spelt:
        slot = (spelling, "region" if entry.kind in {"group", "ignore"} else entry.kind)
        if slot in taken or (own.setdefault(slot, entry.name) != entry.name and slot[1] == "region"):
            continue
        sign = entry.term[0] if entry.term[0] in _SIGNS else ""
        key = (spelling, entry.kind, entry.name, sign)
        merged.setdefault(key, set()).add(entry.language)
    taken.update(own)
    for (spelling, kind, name, sign), languages in merged.items():
        tags = frozenset(tag for tag in languages if tag is not None)
        concept = Concept(
            kind=kind,
            name=name,
            languages=frozenset() if None in languages and kind in {"side", "view"} else tags,
            weight=len(spelling.replace(" ", "")),
            whole_text=sign == "=",
            needs_side=sign == "+",
        )
        phrases.add(words_of_term(spelling), concept)


def _add_codes(document: Mapping[str, object], origin: str, table: RegionTable) -> None:
    for section, kind in _SECTIONS.items():
        for name, body in _mapping(document.get(section, {}), origin, section).items():
            where = f"{section}.{name}"
            for code in _texts(_mapping(body, origin, where).get("codes", []), origin, f"{where}.codes"):
                concepts = table.codes.setdefault(code.upper(), [])
                if all(concept.kind != kind for concept in concepts):
                    concepts.append(Concept(kind=kind, name=name))


def _add_groups(document: Mapping[str, object], origin: str, table: RegionTable) -> None:
    for name, body in _mapping(document.get("groups", {}), origin, "groups").items():
        lists = _mapping(body, origin, f"groups.{name}")
        regions = _known(_texts(lists.get("regions", []), origin, f"groups.{name}.regions"), origin, table)
        default = lists.get("default")
        if default is not None and default not in regions:
            raise ConfigError(f"{origin}: [groups.{name}]: default {default!r} is not one of its regions")
        if regions:
            table.groups.setdefault(name, Group(regions=frozenset(regions), default=cast("str | None", default)))
        elif name not in table.groups:
            raise ConfigError(f"{origin}: [groups.{name}] needs `regions`, the list of those it may mean")


def _add_refinements(document: Mapping[str, object], origin: str, table: RegionTable) -> None:
    rules = document.get("refinements", [])
    if not isinstance(rules, list):
        raise ConfigError(f"{origin}: refinements must be written as [[refinements]]")
    for rule in cast("list[object]", rules):
        body = _mapping(rule, origin, "refinements")
        (general,) = _known([str(body.get("general"))], origin, table)
        special = frozenset(_known(_texts(body.get("special", []), origin, "refinements.special"), origin, table))
        table.finer[general] = table.finer.get(general, frozenset()) | special
        if body.get("same_text") is True:
            table.finer_in_text[general] = table.finer_in_text.get(general, frozenset()) | special


def _add_views_by_region(document: Mapping[str, object], origin: str, table: RegionTable) -> None:
    for name, body in _mapping(document.get("views", {}), origin, "views").items():
        where = f"views.{name}.by_region"
        for view, regions in _mapping(_mapping(body, origin, where).get("by_region", {}), origin, where).items():
            for region in _known(_texts(regions, origin, where), origin, table):
                table.views_by_region.setdefault((name, region), view)
        renamed = _mapping(_mapping(body, origin, where).get("region_of", {}), origin, where)
        for region, meant in renamed.items():
            _known([region, str(meant)], origin, table)
            table.regions_by_view.setdefault((name, region), str(meant))


def _known(names: list[str], origin: str, table: RegionTable) -> list[str]:
    for name in names:
        if name not in table.regions:
            raise ConfigError(f"{origin}: unknown region {name!r}; expected one of {', '.join(table.regions)}")
    return names


def _mapping(value: object, origin: str, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ConfigError(f'{origin}: {where} is {type(value).__name__}; expected a table, such as [regions."Knee"]')
    return cast("dict[str, object]", value)


def _texts(value: object, origin: str, where: str) -> list[str]:
    items = cast("list[object]", value) if isinstance(value, list) else None
    if items is None or not all(isinstance(item, str) and (words_of_term(item) or item.isalnum()) for item in items):
        raise ConfigError(f"{origin}: {where} must be a list of texts with letters or digits in each")
    return cast("list[str]", items)
