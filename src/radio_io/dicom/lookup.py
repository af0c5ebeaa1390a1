"""Look-up tables of the Modality LUT and VOI LUT modules.

Comes in: a sequence item. Goes out: `LookupTable`. Refuses a Modality LUT that is shorter than it says, since the
picture would be wrong without it; VOI LUTs of that kind count as absent.
Source: DICOM PS3.3 C.11.1.1 and C.11.2.1.1 (LUT Descriptor: entries, first value mapped, bits of an entry).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from radio_io.dicom.pixel_header import UNREADABLE, finite, values
from radio_io.errors import ImageRejectedError, RejectReason

FULL: Final = 1 << 16
SIGN: Final = 1 << 15


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

    Raises:
        ImageRejectedError: HEADER_CONTRADICTION where there is one that cannot be applied.
    """
    items = sequence_items(dataset, "ModalityLUTSequence")
    if not items:
        return None
    table = read_table(items[0], signed=signed, little_endian=is_little_endian(dataset))
    if table is None:
        detail = "the Modality LUT has fewer entries than its descriptor says, or no descriptor"
        raise ImageRejectedError(RejectReason.HEADER_CONTRADICTION, detail)
    return table


def read_table(item: Dataset, *, signed: bool, little_endian: bool) -> LookupTable | None:
    """Reads a table whose first input is signed or not; None where descriptor and data do not belong together.

    The number of entries 0 means 65,536. A first value of the wrong sign is a matter of VR (US or SS) and turned.
    Entries of 8 bits may lie in bytes; entries that exceed the bits announced are believed, not the descriptor.
    """
    descriptor = [finite(value) for value in values(item, "LUTDescriptor")]
    if len(descriptor) != 3 or None in descriptor:
        return None
    count, first, bits = (int(cast("float", value)) for value in descriptor)
    count = count % FULL or FULL
    first = (first + SIGN) % FULL - SIGN if signed else first % FULL
    entries = _entries(item, count, bits, little_endian)
    if entries is None:
        return None
    needed = int(entries.max()).bit_length()
    return LookupTable(entries=entries, first=first, bits=max(bits if 1 <= bits <= 16 else 16, needed))


def _entries(item: Dataset, count: int, bits: int, little_endian: bool) -> NDArray[np.uint16] | None:
    try:
        data = cast("object", item["LUTData"].value)
    except UNREADABLE:
        return None
    if isinstance(data, bytes):
        if len(data) >= 2 * count:
            return np.frombuffer(data, "<u2" if little_endian else ">u2", count).astype(np.uint16)
        if bits <= 8 and len(data) >= count:
            return np.frombuffer(data, np.uint8, count).astype(np.uint16)
        return None
    numbers = cast("Sequence[int]", data if isinstance(data, Sequence) else [data])
    if len(numbers) >= count:
        return np.asarray(numbers[:count], np.int64).astype(np.uint16)
    packed = np.asarray(numbers, np.int64).astype("<u2" if little_endian else ">u2").view(np.uint8)
    return packed[:count].astype(np.uint16) if bits <= 8 and len(packed) >= count else None


def sequence_items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Returns the items of a sequence; an empty list where it is absent or unreadable."""
    return [item for item in values(dataset, keyword) if isinstance(item, Dataset)]


def is_little_endian(dataset: Dataset) -> bool:
    """Tells the byte order in which a dataset was read."""
    return dataset.original_encoding[1] is not False
