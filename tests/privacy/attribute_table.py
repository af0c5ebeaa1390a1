"""Every attribute of the Basic Profile of DICOM PS3.15 beside what becomes of it here, as a page of Markdown.

attribute_page()  the text of docs/privacy_attributes.md; run this file to print it
"""

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as standard
from pydicom.datadict import dictionary_description, dictionary_has_tag, keyword_for_tag

from radio_io.privacy.attributes import ATTRIBUTES

LISTS = {
    "D": standard.D_TAGS,
    "Z": standard.Z_TAGS,
    "X": standard.X_TAGS,
    "U": standard.U_TAGS,
    "Z/D": standard.Z_D_TAGS,
    "X/Z": standard.X_Z_TAGS,
    "X/D": standard.X_D_TAGS,
    "X/Z/D": standard.X_Z_D_TAGS,
    "X/Z/U*": standard.X_Z_U_STAR_TAGS,
}
HEAD = """# What becomes of each attribute

Printed by `python tests/privacy/attribute_table.py`; a test compares. The first table is the whole allow-list
(`src/radio_io/privacy/attributes.py`): nothing else of a header is ever looked at. The second is the Basic Application
Level Confidentiality Profile (DICOM PS3.15 table E.1-1, 2026c, as listed by dicom-anonymizer 2.1): X remove, Z empty,
D dummy value, U new UID. None of its attributes is stored unchanged.

## The allow-list

| tag | attribute | Basic Profile | here | columns | reason |
|---|---|---|---|---|---|
"""


def basic_profile() -> dict[tuple[int, ...], str]:
    """Group and element (and the mask of repeating groups) -> the standard's action."""
    return {tuple(tag): action for action, tags in LISTS.items() for tag in tags}


def attribute_page() -> str:
    """The page."""
    lines = [
        f"| {_tag(rule.tag)} | {rule.keyword} | {rule.basic_profile or '-'} | {rule.action} | "
        f"{', '.join(rule.columns) or '-'} | {rule.reason} |"
        for rule in ATTRIBUTES.values()
    ]
    profile = [_profile_row(tag, action) for tag, action in sorted(basic_profile().items())]
    below = "\n\n## The Basic Profile\n\n| tag | attribute | Basic Profile | here |\n|---|---|---|---|\n"
    return HEAD + "\n".join(lines) + below + "\n".join(profile) + "\n"


def _profile_row(tag: tuple[int, ...], action: str) -> str:
    number = tag[0] << 16 | tag[1]
    rule = ATTRIBUTES.get(keyword_for_tag(number)) if len(tag) == 2 else None
    name = dictionary_description(number) if dictionary_has_tag(number) else "(not in the dictionary of pydicom 3.0)"
    if len(tag) > 2:
        name = {0x50: "Curves", 0x60: "Overlays"}.get(tag[0] >> 8, "Repeating group")
    return f"| {_tag(number)} | {name} | {action} | {rule.action if rule else 'drop, never read'} |"


def _tag(number: int) -> str:
    return f"({number >> 16:04X},{number & 0xFFFF:04X})"


if __name__ == "__main__":
    import sys

    sys.stdout.write(attribute_page())
