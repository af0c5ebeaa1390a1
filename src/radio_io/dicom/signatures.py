"""What a file without the DICM mark is, for the detail of its reject.

Comes in: the first bytes of a file. Goes out: a name of its format, or None. Refuses nothing.
"""

from typing import Final

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "a JPEG file"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 codestream"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
    (b"\x89PNG", "a PNG file"),
    (b"GIF8", "a GIF file"),
    (b"BM", "a BMP file"),
    (b"II*\0", "a TIFF file"),
    (b"MM\0*", "a TIFF file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF file"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"SQLite format 3", "a SQLite database"),
    (b"<?xml", "an XML file"),
    (b"<!DOCTYPE", "an HTML file"),
    (b"<html", "an HTML file"),
    (b"RIFF", "a RIFF file"),
    (b"\x5c\x01\x10\x00\x00\x00\x00\x00", "a NIfTI file"),
)


def foreign_format(head: bytes) -> str | None:
    """The format of a file that begins with `head`, where it is one that is often found in exports.

    Example:
        >>> foreign_format(b"%PDF-1.7")
        'a PDF file, not DICOM'
    """
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return f"{name}, not DICOM"
    if head and not head.strip(b"\0"):
        return "zeros only, not DICOM"
    return "a text file, not DICOM" if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    """Printable, and three quarters ASCII: other bytes are letters of some character set, or a binary file."""
    text = head.removeprefix(b"\xef\xbb\xbf")
    if not text or any(byte < 32 and byte not in b"\t\r\n\f\x1b" for byte in text):
        return False
    return sum(byte < 128 for byte in text) * 4 >= len(text) * 3
