"""What a report says about a finding, by rules: present, absent, or nothing that is sure.

Comes in: rules (a TOML file) and the text of a report, German or English. Goes out: the `Verdict` of the whole. A
statement counts only where it is plain: a mention beside words of doubt, history, question or plan decides nothing.
Refuses rule files that lack something or hold no regular expressions.

Source: Chapman et al., A Simple Algorithm for Identifying Negated Findings and Diseases in Discharge Summaries (NegEx),
Journal of Biomedical Informatics 34 (2001): cues before and after a mention, ended by other words.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any

from radio_io.errors import ConfigError, UsageError

SHIPPED = ("fracture", "foreign_material")
LISTS = (
    "finding",
    "confirming",
    "contrary",
    "negated_before",
    "negated_after",
    "unsure",
    "scope_end",
    "ignored",
    "absent",
    "abbreviations",
)
REQUIRED = ("finding", "negated_before")
_PLACEHOLDER = "\u2024"
"""A one-dot leader stands for the dot of an abbreviation while sentences are cut."""


class Statement(StrEnum):
    """What a text says."""

    PRESENT = "present"
    ABSENT = "absent"
    UNSURE = "unsure"
    """The finding is mentioned, with doubt, as history, or as a question."""
    NOTHING = "nothing"
    """The finding is not mentioned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRules:
    """Compiled rules of one finding.

    Attributes:
        name: Of the finding.
        labels: What a report that says present or absent is labelled.
        finding: A mention.
        confirming: Words of which a sentence needs one to say present (none given: it needs none).
        contrary: Words that keep a sentence from saying present, though not from saying absent.
        negated_before, negated_after: Cues that negate a mention after or before them in the same clause.
        unsure: Words that make every mention in their sentence decide nothing.
        scope_end: Words and marks at which a negation ends.
        ignored: Passages that look like a mention or a cue and are none.
        absent: Statements that say absent without naming the finding.
        abbreviations: Words whose dot ends no sentence.
    """

    name: str
    labels: Mapping[Statement, str]
    finding: re.Pattern[str]
    confirming: re.Pattern[str]
    contrary: re.Pattern[str]
    negated_before: re.Pattern[str]
    negated_after: re.Pattern[str]
    unsure: re.Pattern[str]
    scope_end: re.Pattern[str]
    ignored: re.Pattern[str]
    absent: re.Pattern[str]
    abbreviations: re.Pattern[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a text says, and the sentence that decided it (which is the report's text: never let it out)."""

    statement: Statement
    sentence: str


def load_rules(source: str | Path) -> ReportRules:
    """The rules of a shipped name (`fracture`, `foreign_material`) or of a TOML file.

    Raises:
        UsageError: There is no such file.
        ConfigError: It lacks something or holds what is no regular expression.
    """
    if str(source) in SHIPPED:
        text = resources.files("radio_io.labels").joinpath("rules", f"{source}.toml").read_text(encoding="utf-8")
        shown = str(source)
    else:
        shown = Path(source).name
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            known = ", ".join(SHIPPED)
            raise UsageError(f"cannot read the rules {shown}: {type(error).__name__}; shipped are {known}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown}: not readable as TOML ({error})") from None
    return _compiled(values, shown)


def read_report(rules: ReportRules, text: str) -> Verdict:
    """What a whole report says: present if a sentence plainly says so, absent if one does and none is in doubt."""
    found: dict[Statement, str] = {}
    for sentence in sentences(rules, text):
        found.setdefault(read_sentence(rules, sentence), sentence)
    for statement in (Statement.PRESENT, Statement.UNSURE, Statement.ABSENT):
        if statement in found:
            return Verdict(statement=statement, sentence=found[statement])
    return Verdict(statement=Statement.NOTHING, sentence="")


def read_sentence(rules: ReportRules, sentence: str) -> Statement:
    """What one sentence says."""
    plain = rules.ignored.sub(" ", " ".join(sentence.casefold().split()))
    mentions = list(rules.finding.finditer(plain))
    unsure = rules.unsure.search(plain) is not None or plain.rstrip().endswith("?")
    if not mentions:
        said = rules.absent.search(plain) is not None
        return Statement.ABSENT if said and not unsure else Statement.NOTHING
    if unsure:
        return Statement.UNSURE
    negated = [_is_negated(rules, plain, mention) for mention in mentions]
    if all(negated):
        return Statement.ABSENT
    # "No dislocation, fracture of the radius" and "no dislocation, fracture or effusion" cannot be told apart by rules:
    # only sentences without any negation say present.
    plainly = not any(negated) and not _hangs_on_negation(rules, plain, mentions)
    confirmed = rules.confirming.search(plain) is not None and rules.contrary.search(plain) is None
    return Statement.PRESENT if plainly and confirmed else Statement.UNSURE


def sentences(rules: ReportRules, text: str) -> Iterator[str]:
    """The sentences of a text; abbreviations and ordinals end none."""
    whole = rules.abbreviations.sub(lambda found: found[0].replace(".", _PLACEHOLDER), text)
    whole = re.sub(r"(?<=\d)\.(?=\s*\S)", _PLACEHOLDER, whole)  # 5. Rippe, 3.5 cm
    for line in re.split(r"(?<=[.!?;])\s+|[\r\n]+|;", whole):
        sentence = line.replace(_PLACEHOLDER, ".").strip()
        if sentence:
            yield sentence


def _is_negated(rules: ReportRules, plain: str, mention: re.Match[str]) -> bool:
    before = plain[: mention.start()]
    ends = [end.end() for end in rules.scope_end.finditer(before)]
    clause = before[max(ends, default=0) :]
    after = rules.scope_end.split(plain[mention.end() :], maxsplit=1)[0]
    return rules.negated_before.search(clause) is not None or rules.negated_after.search(after) is not None


def _hangs_on_negation(rules: ReportRules, plain: str, mentions: list[re.Match[str]]) -> bool:
    """Whether a negation stands before a mention, with the end of its scope between: it may reach further."""
    return any(rules.negated_before.search(plain[: mention.start()]) for mention in mentions)


def _compiled(values: Mapping[str, Any], shown: str) -> ReportRules:
    missing = [name for name in REQUIRED if not values.get(name)]
    unknown = sorted(set(values) - {"name", "present", "absent_label", *LISTS})
    if missing or unknown:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has unknown keys {', '.join(unknown)}"
        raise ConfigError(f"{shown} {wrong}; rules have the lists {', '.join(LISTS)}")
    given = {name: values.get(name, []) for name in LISTS} | {"confirming": values.get("confirming", [""]) or [""]}
    patterns = {name: _pattern(parts, name, shown) for name, parts in given.items()}
    labels = {
        Statement.PRESENT: str(values.get("present", "present")),
        Statement.ABSENT: str(values.get("absent_label", "absent")),
    }
    return ReportRules(name=str(values.get("name", Path(shown).stem)), labels=labels, **patterns)


def _pattern(parts: Any, name: str, shown: str) -> re.Pattern[str]:  # noqa: ANN401 - whatever the file holds
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):  # pyright: ignore[reportUnknownVariableType]
        raise ConfigError(f"{shown}: {name} must be a list of regular expressions")
    try:
        for part in parts:
            re.compile(part)
        flags = re.IGNORECASE if name == "abbreviations" else re.NOFLAG
        return re.compile("|".join(f"(?:{part})" for part in parts) or r"(?!)", flags)
    except re.error as error:
        raise ConfigError(f"{shown}: {name} holds no regular expression: {error}") from None
