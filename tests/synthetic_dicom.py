"""Bytes of small radiographs, written element by element so that a test can make any of them wrong."""

import struct
import zlib
from collections.abc import Mapping

from pydicom.datadict import dictionary_VR, tag_for_keyword

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}
UNDEFINED = 0xFFFFFFFF

Value = bytes | str | int | float | tuple[str, bytes] | None

RADIOGRAPH: Mapping[str, Value] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "ImageType": "ORIGINAL\\PRIMARY",
    "SOPClassUID": CR_STORAGE,
    "SOPInstanceUID": "1.2.3.4.5.6",
    "StudyDate": "20200311",
    "Modality": "CR",
    "Manufacturer": "SIEMENS",
    "SeriesDescription": "Knie re. ap",
    "ManufacturerModelName": "Ysio Max",
    "PatientName": "Muster^Erika",
    "PatientID": "4711",
    "PatientSex": "F",
    "PatientAge": "047Y",
    "KVP": "70",
    "DeviceSerialNumber": "SN-99",
    "StudyInstanceUID": "1.2.3.4",
    "SeriesInstanceUID": "1.2.3.4.5",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": 2,
    "Columns": 3,
    "PixelSpacing": "0.15\\0.15",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "PixelData": b"\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\x06\x00",
}


def element(tag: int, vr: str, value: bytes, *, syntax: str = EXPLICIT, length: int | None = None) -> bytes:
    """One encoded element; `length` may lie."""
    order = ">" if syntax == BIG_ENDIAN else "<"
    if len(value) % 2:
        value += b"\0" if vr in {"UI", "OB", "UN"} else b" "
    length = len(value) if length is None else length
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<L", length) + value
    if vr in LONG:
        return head + vr.encode() + b"\0\0" + struct.pack(order + "L", length) + value
    return head + vr.encode() + struct.pack(order + "H", length) + value


def encoded(keyword: str | int, value: Value, syntax: str = EXPLICIT) -> bytes:
    """An element from its keyword; a tuple gives another VR than the dictionary's."""
    tag = keyword if isinstance(keyword, int) else tag_for_keyword(keyword)
    assert tag is not None
    if isinstance(value, tuple):
        return element(tag, *value, syntax=syntax)
    vr = "OW" if tag == 0x7FE00010 else dictionary_VR(tag)[:2]
    if isinstance(value, int | float):
        order = ">" if syntax == BIG_ENDIAN else "<"
        raw = struct.pack(order + NUMBERS[vr], value) if vr in NUMBERS else str(value).encode()
    else:
        raw = value.encode("latin-1") if isinstance(value, str) else value or b""
    return element(tag, vr, raw, syntax=syntax)


def dataset_bytes(changes: Mapping[str | int, Value] | None = None, *, syntax: str = EXPLICIT) -> bytes:
    """The radiograph's dataset with changes; None removes an element."""
    values: dict[str | int, Value] = {**RADIOGRAPH, **(changes or {})}
    present = {
        (key if isinstance(key, int) else tag_for_keyword(key)): (key, value)
        for key, value in values.items()
        if value is not None
    }
    return b"".join(encoded(key, value, syntax) for _, (key, value) in sorted(present.items()))


def meta_bytes(label: str | None) -> bytes:
    """File meta information; without TransferSyntaxUID where `label` is None."""
    body = element(0x00020002, "UI", CR_STORAGE.encode())
    if label is not None:
        body += element(0x00020010, "UI", label.encode())
    return element(0x00020000, "UL", struct.pack("<L", len(body))) + body


def dicom_bytes(
    changes: Mapping[str | int, Value] | None = None, *, syntax: str = EXPLICIT, label: str | None = "same"
) -> bytes:
    """A whole file: the dataset in `syntax`, labelled so unless `label` says otherwise (None: no label)."""
    body = dataset_bytes(changes, syntax=EXPLICIT if syntax == DEFLATED else syntax)
    if syntax == DEFLATED:
        body = deflated(body)
    return bytes(128) + b"DICM" + meta_bytes(syntax if label == "same" else label) + body


def deflated(data: bytes) -> bytes:
    """A raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def sequence(*items: bytes, undefined: bool = False) -> bytes:
    """The value of a sequence in little endian, with its delimiters where the lengths are undefined."""
    if not undefined:
        return b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item for item in items)
    head, tail = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED), struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    return b"".join(head + item + tail for item in items) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
