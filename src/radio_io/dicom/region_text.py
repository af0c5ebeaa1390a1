"""Free text of headers as folded words, and phrases found among them.

Comes in: text of a header in any spelling and encoding accident. Goes out: folded words (lower case, no accents;
`?` where a character was lost), the spellings under which a term can appear, and the longest phrases in a text.
Refuses nothing: text without words gives none.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

LOST = "?"
"""Stands in a folded word for one character that an encoding accident destroyed."""

_Value = TypeVar("_Value")

_UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "œ": "oe"}
_LOST_CHARACTERS = re.compile(r"(?<=[^\W\d_])[\ufffd?]+|\ufffd+(?=[^\W\d_])")
_MISREAD_UTF8 = re.compile("[\xc3\xc2][\x80-\xbf]")
_C1_CONTROL = re.compile("[\x80-\x9f]")
_CAMEL = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])")
_THREE_QUARTERS = re.compile(r"(?<![\d.,/])3/4(?![\d/])|¾")  # how an oblique view is written in French
_WORD = re.compile(r"[a-z?]+\d*|\d+")
_GLUED_NUMBER = re.compile(r"^([a-z?]{2,}?)(\d+)$")
_DIGIT_LETTERS = re.compile(r"(?<=\d)(?=[a-z])")
_MINIMUM_LOST_LENGTH = 4
_MINIMUM_WILDCARD_LENGTH = 3
_MINIMUM_STEM_LENGTH = 2


def repair(text: str) -> str:
    """`text` with UTF-8 that was read as latin-1, and DOS code page 437, read as they were meant."""
    if _MISREAD_UTF8.search(text):
        try:
            return text.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return text
    if _C1_CONTROL.search(text):
        return _C1_CONTROL.sub(lambda match: match.group().encode("latin-1").decode("cp437"), text)
    return text


def fold(text: str) -> str:
    """Lower case without accents; `?` for each lost character inside a word.

    Example:
        >>> fold("Schädel"), fold("SCH\ufffdDEL"), fold("Muñeca")
        ('schadel', 'sch?del', 'muneca')
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("œ", "oe"))
    return _LOST_CHARACTERS.sub(LOST, "".join(letter for letter in decomposed if not unicodedata.combining(letter)))


def words_of(text: str) -> list[str]:
    """Folded words of `text`; `2Eb` gives two words, `C7` stays one, `KneeAP` gives two.

    Example:
        >>> words_of("HWS 2Eb. a.p."), words_of("KneeAP_LT"), words_of("L5/S1")
        (['hws', '2', 'eb', 'a', 'p'], ['knee', 'ap', 'lt'], ['l5', 's1'])
    """
    text = _THREE_QUARTERS.sub(" trois quarts ", text)
    folded = _DIGIT_LETTERS.sub(" ", fold(_CAMEL.sub(" ", repair(text)))).replace("_", " ")
    words: list[str] = []
    for word in _WORD.findall(folded):
        glued = _GLUED_NUMBER.match(word)
        words.extend(glued.groups() if glued else (word,))
    return [word for word in words if word != LOST]


def spellings(term: str) -> Iterator[str]:
    """The folded term first, then the ways in which it appears when accents were rewritten or lost.

    Example:
        >>> list(spellings("Schädel"))
        ['schadel', 'schaedel', 'sch?del', 'sch del', 'schdel']
    """
    plain = " ".join(words_of_term(term))
    yield plain
    lowered = unicodedata.normalize("NFC", term.lower())
    if lowered.isascii():
        return
    for variant in (
        "".join(_UMLAUTS.get(letter, letter) for letter in lowered),
        "".join(letter if letter.isascii() else LOST for letter in lowered),
        re.sub(r"(?<=[a-z])[^\x00-\x7f](?=[a-z])", " ", lowered),
        re.sub(r"(?<=[a-z])[^\x00-\x7f]+", "", lowered),
    ):
        folded = " ".join(words_of_term(variant))
        minimum = _MINIMUM_WILDCARD_LENGTH if LOST in folded else _MINIMUM_LOST_LENGTH
        if folded != plain and len(folded.rstrip("*")) >= minimum:
            yield folded


def words_of_term(term: str) -> list[str]:
    """Folded words of a table's term; a `*` at the end of a word stays."""
    return re.findall(r"[a-z?]+\d*\*?|\d+\*?", fold(term))


@dataclass(slots=True)
class PhraseTree(Generic[_Value]):
    """Phrases by their words; finds the longest at each place of a text, whole words before beginnings."""

    values: list[_Value] = field(default_factory=list)
    children: "dict[str, PhraseTree[_Value]]" = field(default_factory=dict)
    stems: "dict[str, PhraseTree[_Value]]" = field(default_factory=dict)

    def add(self, words: list[str], value: _Value) -> None:
        """Store `value` under the phrase; words ending in `*` stand for all with that beginning."""
        node = self
        for word in words:
            branch, name = (node.stems, word[:-1]) if word.endswith("*") else (node.children, word)
            node = branch.setdefault(name, PhraseTree())
        node.values.append(value)

    def get(self, words: list[str]) -> list[_Value]:
        """Values stored under exactly this phrase; empty where there are none."""
        node: PhraseTree[_Value] | None = self
        for word in words:
            branch, name = (node.stems, word[:-1]) if word.endswith("*") else (node.children, word)
            node = branch.get(name)
            if node is None:
                return []
        return node.values

    def find(self, words: list[str], start: int) -> tuple[int, list[_Value]]:
        """Number of words of the longest phrase that begins at `start`, and its values; (0, []) where none does."""
        best = (0, self.values)
        if start == len(words):
            return best
        for child in self._matching(words[start]):
            length, values = child.find(words, start + 1)
            if values and length + 1 > best[0]:
                best = (length + 1, values)
        return best

    def _matching(self, word: str) -> "Iterator[PhraseTree[_Value]]":
        """Children for the whole word, then for its beginnings, the longest first."""
        for whole in dict.fromkeys((word, word.rstrip(LOST))):  # "Knie?" may be a question
            if whole in self.children:
                yield self.children[whole]
        if self.stems:
            for length in range(len(word), _MINIMUM_STEM_LENGTH - 1, -1):
                stem = self.stems.get(word[:length])
                if stem is not None:
                    yield stem
