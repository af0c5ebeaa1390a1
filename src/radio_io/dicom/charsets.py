"""Decodes the texts of headers, whose declared character set is often missing or wrong.

Comes in: encoded bytes and the values of SpecificCharacterSet. Goes out: a string, always: what fits no character set
is read as Latin-1, which maps every byte. Refuses nothing.
"""

from typing import Final

from pydicom.charset import decode_bytes, python_encoding

from radio_io.dicom.quiet import quiet_pydicom

_ESCAPE: Final = b"\x1b"
_DEFAULT: Final = "latin_1"
# Single-byte sets give every byte a meaning, so a wrong label never shows; valid UTF-8 is hardly ever an accident.
_MULTI_BYTE: Final = frozenset({"utf8", "gb18030", "gbk", "gb2312", "euc_kr", "shift_jis", "iso_ir_58"})


def decode_text(value: bytes, character_sets: tuple[str, ...]) -> str:
    """The text of `value`.

    Example:
        >>> decode_text("HÜFTE".encode("latin-1"), ())
        'HÜFTE'
        >>> decode_text("HÜFTE".encode("utf-8"), ("ISO_IR 100",))
        'HÜFTE'
    """
    encodings = [python_encoding.get(name, _DEFAULT) for name in character_sets] or [_DEFAULT]
    if _ESCAPE in value:
        return _decode_escaped(value, encodings)
    order = [encodings[0], "utf8"] if encodings[0].lower() in _MULTI_BYTE else ["utf8", encodings[0]]
    for encoding in order:
        try:
            return value.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return value.decode(_DEFAULT)


def _decode_escaped(value: bytes, encodings: list[str]) -> str:
    """Text with code extensions (DICOM PS3.5 section 6.1.2.5), which change the character set within a value."""
    with quiet_pydicom():
        try:
            return decode_bytes(value, encodings, {0x5C})
        except (UnicodeError, LookupError):
            return value.decode(_DEFAULT)
