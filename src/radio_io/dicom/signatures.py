"""What a file without the DICM mark in its place is: DICOM that begins elsewhere, or another format.

Comes in: the first bytes of a file. Goes out: where DICOM begins in it, or a name of its format, or None. Refuses
nothing.
"""

import re
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

# What follows " not DICOM": the endings by which archives are known, see `radio_io.sources`.
_ARCHIVES: Final = (
    (b"PK\x03\x04", "a zip archive", ": its members are read where its name ends in .zip"),
    (b"PK\x05\x06", "a zip archive", ""),
    (b"PK\x07\x08", "a part of a zip archive", ": join the parts"),
    (b"\x1f\x8b", "a gzip file", ""),
    (b"BZh", "a bzip2 file", ": unpack it"),
    (b"\xfd7zXZ\x00", "an xz file", ": unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", ": unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip archive", ": unpack it"),
    (b"Rar!", "a RAR archive", ": unpack it"),
)
_TAR_MARK: Final = slice(257, 262)

# A header of a sender or of a broken transfer before the file has at most this many bytes.
SEARCHED_BYTES: Final = 1024
# The mark with the first element of the file meta information, that element without it, or one of the attributes with
# which a dataset begins in explicit VR little endian (SpecificCharacterSet, ImageType, InstanceCreationDate,
# SOPClassUID, SOPInstanceUID, StudyDate).
_START: Final = re.compile(
    rb"DICM(?=\x02\0\0\0UL\x04\0)|(?=\x02\0\0\0UL\x04\0)|"
    rb"(?=\x08\0(?:\x05\0CS|\x08\0CS|\x12\0DA|\x16\0UI|\x18\0UI|\x20\0DA).\0)",
    re.DOTALL,
)


def find_displaced_start(head: bytes) -> int | None:
    r"""Where the file meta information or the dataset begins behind foreign bytes; None where nothing says so.

    Example:
        >>> find_displaced_start(bytes(7) + b"DICM\x02\0\0\0UL\x04\0")
        11
    """
    found = _START.search(head[:SEARCHED_BYTES])
    return found.end() if found is not None else None


def archive_in_disguise(head: bytes) -> str | None:
    r"""What archive a file is that has no name of one; None for other files.

    DICOM that is found in it is only one of its members.

    Example:
        >>> archive_in_disguise(b"7z\xbc\xaf")
        'a 7-Zip archive, not DICOM: unpack it'
    """
    for signature, name, advice in _ARCHIVES:
        if head.startswith(signature):
            return f"{name}, not DICOM{advice}"
    if head[_TAR_MARK] == b"ustar":
        return "a tar archive, not DICOM: its members are read where its name ends in .tar"
    return None


def foreign_format(head: bytes) -> str | None:
    """The format of a file that begins with `head`, where it is one that is often found in exports.

    Example:
        >>> foreign_format(b"%PDF-1.7")
        'a PDF file, not DICOM'
    """
    archive = archive_in_disguise(head)
    if archive is not None:
        return archive
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
