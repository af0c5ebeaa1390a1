"""Event files that TensorBoard reads, written without it (its package takes seconds to import).

Comes in: numbers and PNG pictures with tags and steps. Goes out: a file of records, each whole on the disk when the
call returns to the operating system. A resumed run begins a new file; TensorBoard then drops what earlier files say of
the steps that are done again.

Source: tensorflow/core/util/event.proto and core/framework/summary.proto (field numbers); TFRecord as in
tensorflow.org/tutorials/load_data/tfrecord (length, masked CRC-32C of it, data, masked CRC-32C of that).
"""

import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli, reversed
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SESSION_START = 1


class EventFile:
    """Appends events of a run from `first_step` on."""

    def __init__(self, folder: Path, *, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("events.out.tfevents.*")))
        # TensorBoard reads the files of a folder in the order of their names.
        self._file = (folder / f"events.out.tfevents.{number:010}.radio").open("wb")
        self._write(_field(3, _BYTES, b"brain.Event:2"))
        started = _field(1, _VARINT, _SESSION_START)
        self._write(_field(2, _VARINT, first_step) + _field(7, _BYTES, started))

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        """Add a number for each tag."""
        summary = b"".join(
            _field(1, _BYTES, _field(1, _BYTES, tag.encode()) + _field(2, _FIXED32, struct.pack("<f", value)))
            for tag, value in values.items()
        )
        self._write(_field(2, _VARINT, step) + _field(5, _BYTES, summary))

    def picture(self, tag: str, png: bytes, step: int) -> None:
        """Add a grey picture."""
        width, height = struct.unpack(">II", png[16:24])
        image = _field(1, _VARINT, height) + _field(2, _VARINT, width) + _field(3, _VARINT, 1) + _field(4, _BYTES, png)
        value = _field(1, _BYTES, tag.encode()) + _field(4, _BYTES, image)
        self._write(_field(2, _VARINT, step) + _field(5, _BYTES, _field(1, _BYTES, value)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, fields: bytes) -> None:
        event = _field(1, _FIXED64, struct.pack("<d", time.time())) + fields
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked_crc32c(length) + event + _masked_crc32c(event))
        self._file.flush()


def _field(number: int, kind: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    head = _varint(number << 3 | kind)
    if isinstance(value, int):
        return head + _varint(value)
    return head + (_varint(len(value)) if kind == _BYTES else b"") + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _table() -> tuple[int, ...]:
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C of some bytes.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked_crc32c(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
