"""The index that DALI's `readers.webdataset` wants beside a tar.

Comes in: the members of each sample with their places. Goes out: the text of the `.idx` file, as `wds2idx` writes it
(version 1.2: a line a sample, for each member its extension, offset, size and name).
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a tar: its name, and where its content lies."""

    name: str
    offset: int
    size: int


def encode_index(samples: Sequence[tuple[Member, ...]]) -> bytes:
    r"""The index of a tar with these samples.

    Example:
        >>> encode_index([(Member("ab.jph", 512, 9), Member("ab.json", 1536, 2))])
        b'v1.2 1\njph 512 9 ab.jph json 1536 2 ab.json\n'
    """
    lines = [f"v1.2 {len(samples)}"]
    lines += [
        " ".join(f"{m.name.partition('.')[2]} {m.offset} {m.size} {m.name}" for m in sample) for sample in samples
    ]
    return ("\n".join(lines) + "\n").encode()
