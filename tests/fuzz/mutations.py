"""Seeded damage to DICOM files: bits, cuts, lying lengths, elements swapped, doubled, dropped and replaced.

bases()        whole files, one in each encoding, small enough for thousands of copies
mutate()       one of them, damaged; the same seed gives the same bytes
"""

import os
import random
import struct
from pathlib import Path

from radio_io.dicom.elements import EXPLICIT_LITTLE, DamageError, read_head
from radio_io.dicom.source import ByteSource
from synthetic_dicom import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, dicom_bytes
from unit.dicom import make_dicom as make

REAL_FILES = Path(__file__).parents[1] / "data" / "dicom"
CORPUS = Path(os.environ.get("RADIO_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus")) / "files"
LARGEST = 250_000
CODECS = {
    "jpeg_lossless": make.LOSSLESS_SV1,
    "jpeg_ls": make.JPEG_LS,
    "jpeg_2000": make.JPEG_2000,
    "jp2": make.JPEG_2000,
    "htj2k": make.HTJ2K,
    "rle": make.RLE,
}
NUMBERS = (0, 1, 2, 8, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
# Attributes whose values decide how many pixels there are and what they mean.
PIXEL_TAGS = [0x00280000 | element for element in (2, 4, 8, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103, 0x106, 0x120)]
PIXEL_TAGS += [0x00281052, 0x00281053, 0x00281050, 0x00281051, 0x20500020, 0x00080016, 0x00080018, 0x00080060]


def bases():
    """Files in every encoding: synthetic ones, the bundled ones and, where there, small ones of the corpus."""
    files = [dicom_bytes(syntax=syntax) for syntax in (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)]
    pixels = make.picture(96, 80)
    files += [make.file_of(make.dataset_of(pixels, bits=12, SOPInstanceUID="1.2.9.1"))]
    for number, (codec, syntax) in enumerate(CODECS.items()):
        dataset = make.dataset_of(
            pixels, bits=12, frames=[make.encode(pixels, codec)], SOPInstanceUID=f"1.2.9.2.{number}"
        )
        files.append(make.file_of(dataset, syntax))
    small = make.picture(96, 80, bits=8)
    dataset = make.dataset_of(small, frames=[make.encode(small, "jpeg")], SOPInstanceUID="1.2.9.3")
    files.append(make.file_of(dataset, make.BASELINE))
    folders = [REAL_FILES, *([CORPUS] if CORPUS.is_dir() else [])]
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return files + [path.read_bytes() for path in paths if path.stat().st_size <= LARGEST]


def mutate(data, seed):
    """The file with one to three kinds of damage."""
    chance = random.Random(seed)
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        changed = bytearray(chance.choice(DAMAGES)(changed, chance))
        if not changed:
            break
    return bytes(changed)


def _heads(data):
    """(tag, position, value, end) of the elements at the top level, as far as explicit little endian goes."""
    source = ByteSource(bytes(data))
    position, found = (132 if data[128:132] == b"DICM" else 0), []
    try:
        while (head := read_head(source, position, EXPLICIT_LITTLE)) is not None and len(found) < 500:
            tag, _, length, value = head
            end = min(value + length, len(data))
            found.append((tag, position, value, end))
            if end <= position:
                break
            position = end
    except (DamageError, struct.error):
        pass
    return found


def _flip_bits(data, chance):
    for _ in range(chance.choice((1, 1, 4, 30))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _flip_header_bits(data, chance):
    for _ in range(chance.choice((1, 2, 8))):
        data[chance.randrange(min(len(data), 2000))] ^= 1 << chance.randrange(8)
    return data


def _truncate(data, chance):
    return data[: chance.randrange(len(data))]


def _append(data, chance):
    return data + chance.randbytes(chance.choice((1, 2, 100, 5000)))


def _insert(data, chance):
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.choice((1, 2, 8, 300))) + data[at:]


def _cut_out(data, chance):
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.choice((1, 2, 16, 1000)) :]


def _zero(data, chance):
    at, length = chance.randrange(len(data)), chance.choice((4, 64, 3000))
    end = min(at + length, len(data))
    data[at:end] = bytes(end - at)
    return data


def _lie_about_length(data, chance):
    heads = _heads(data)
    if not heads:
        return _flip_bits(data, chance)
    _, position, value, _ = chance.choice(heads)
    number = chance.choice(NUMBERS) if chance.random() < 0.7 else chance.getrandbits(32)
    width = 4 if value - position == 12 else 2
    data[value - width : value] = struct.pack("<I", number)[:width]
    return data


def _swap_elements(data, chance):
    heads = _heads(data)
    if len(heads) < 2:
        return _flip_bits(data, chance)
    first, second = sorted(chance.sample(heads, 2), key=lambda head: head[1])
    parts = (data[: first[1]], data[second[1] : second[3]], data[first[3] : second[1]])
    return b"".join((*parts, data[first[1] : first[3]], data[second[3] :]))


def _double_element(data, chance):
    heads = _heads(data)
    if not heads:
        return _append(data, chance)
    _, start, _, end = chance.choice(heads)
    return data[:end] + data[start:end] + data[end:]


def _drop_element(data, chance):
    heads = _heads(data)
    if not heads:
        return _cut_out(data, chance)
    _, start, _, end = chance.choice(heads)
    return data[:start] + data[end:]


def _change_pixel_attribute(data, chance):
    heads = [head for head in _heads(data) if head[0] in PIXEL_TAGS]
    if not heads:
        return _flip_header_bits(data, chance)
    _, _, value, end = chance.choice(heads)
    length = end - value
    number = chance.choice(NUMBERS) if chance.random() < 0.6 else chance.getrandbits(16)
    data[value:end] = (struct.pack("<I", number) * (length // 4 + 1))[:length]
    return data


def _retag(data, chance):
    heads = _heads(data)
    if not heads:
        return _flip_bits(data, chance)
    _, position, _, _ = chance.choice(heads)
    tag = chance.choice((0x00020010, 0x7FE00010, 0x7FE00008, 0xFFFEE000, 0x60003000, 0x00283000, *PIXEL_TAGS))
    data[position : position + 4] = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    return data


DAMAGES = (
    _flip_bits,
    _flip_header_bits,
    _truncate,
    _append,
    _insert,
    _cut_out,
    _zero,
    _lie_about_length,
    _lie_about_length,
    _swap_elements,
    _double_element,
    _drop_element,
    _change_pixel_attribute,
    _change_pixel_attribute,
    _retag,
)
