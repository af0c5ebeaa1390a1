"""Look-up tables of the Modality LUT and VOI LUT modules.

Comes in: a sequence item. Goes out: `LookupTable`. Refuses a Modality LUT that is shorter than it says, since the
picture would be wrong without it; VOI LUTs of that kind count as absent.
Source: DICOM PS3.3 C.11.1.1 and C.11.2.1.1 (LUT Descriptor: entries, first value mapped, bits of an entry).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from radio_io.dicom.values import items, numbers
from radio_io.errors import ImageRejectedError, RejectReason

FULL: Final = 1 << 16
SIGN: Final = 1 << 15
_LUT_DATA: Final = Tag(0x00283006)


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupTable:
    """A table whose first entry belongs to the input `first`; inputs outside take the nearest entry.

    `entries` is `[count]` uint16, below `2**bits`.
    """

    entries: NDArray[np.uint16]
    first: int
    bits: int

    def look_up(self, inputs: NDArray[np.generic]) -> NDArray[np.uint16]:
        """Returns the entries for integer inputs of any shape, as uint16."""
        size = inputs.dtype.itemsize
        if size > 2:
            indices = np.clip(inputs.astype(np.int64) - self.first, 0, len(self.entries) - 1)
            return self.entries[indices]
        # All possible inputs in the order of their bit patterns, so that one gather does it.
        possible = np.arange(1 << 8 * size, dtype=np.uint32).astype(f"u{size}").view(inputs.dtype)
        indices = np.clip(possible.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.take(self.entries[indices], inputs.view(f"u{size}"))


def modality_lut(dataset: Dataset, *, signed: bool) -> LookupTable | None:
    """Returns the Modality LUT, or None where there is none.

    Its descriptor names the bits in which an entry is kept (8 or 16), not the range of its output: that is as many bits
    as its greatest entry needs (Source: DICOM PS3.3 C.11.1.1.1).

    Raises:
        ImageRejectedError: HEADER_CONTRADICTION where there is one that cannot be applied.
    """
    item = next(iter(items(dataset, "ModalityLUTSequence")), None)
    if item is None or (not numbers(item, "LUTDescriptor") and not numbers(item, "LUTData")):
        return None
    table = read_table(item, signed=signed)
    if table is None:
        detail = "the Modality LUT has fewer entries than its descriptor says, or no descriptor"
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)
    return replace(table, bits=max(int(table.entries.max()).bit_length(), 1))


def read_table(item: Dataset, *, signed: bool) -> LookupTable | None:
    """Reads a table whose first input is signed or not; None where descriptor and data do not belong together.

    The number of entries 0 means 65,536. A first input of the wrong sign is a matter of VR (US or SS) and turned.
    Entries of 8 bits may lie in bytes; entries that exceed the bits announced are believed, not the descriptor.
    """
    descriptor = [int(value) for value in numbers(item, "LUTDescriptor") if value is not None]
    if len(descriptor) != 3:
        return None
    count, first, bits = descriptor
    count = count % FULL or FULL
    first = (first + SIGN) % FULL - SIGN if signed else first % FULL
    entries = _entries(item, count, bits)
    if entries is None:
        return None
    needed = int(entries.max()).bit_length()
    return LookupTable(entries=entries, first=first, bits=max(bits if 1 <= bits <= 16 else 16, needed))


def _entries(item: Dataset, count: int, bits: int) -> NDArray[np.uint16] | None:
    """Reads LUTData (US or OW) as it was written: as words, or as bytes where there are too few for words."""
    data, order = _lut_bytes(item)
    if len(data) >= 2 * count:
        return np.frombuffer(data, f"{order}u2", count).astype(np.uint16)
    if bits <= 8 and len(data) >= count:
        words = np.frombuffer(data, np.uint16, len(data) // 2)
        data = data if order == "<" else words.byteswap().tobytes()
        return np.frombuffer(data, np.uint8, count).astype(np.uint16)
    return None


def _lut_bytes(item: Dataset) -> tuple[bytes, str]:
    """Returns the bytes of LUTData and their byte order, whether pydicom has converted them already or not."""
    if _LUT_DATA not in item:
        return b"", "<"
    element = item.get_item(_LUT_DATA)
    value = cast("object", element.value)
    if isinstance(element, RawDataElement):
        return element.value or b"", "<" if element.is_little_endian else ">"
    if isinstance(value, bytes):
        return value, ">" if item.original_encoding[1] is False else "<"
    words = cast("Sequence[int]", value if isinstance(value, Sequence) else [value or 0])
    return np.asarray(words, np.int64).astype("<u2").tobytes(), "<"
