"""What a codestream says about itself, whatever the transfer syntax claims.

Comes in: nothing. Goes out: the types that the parsers of JPEG, JPEG-LS, JPEG 2000 and RLE share.
"""

from dataclasses import dataclass
from enum import StrEnum

from radio_io.errors import ImageRejectedError, RejectReason


class CodestreamKind(StrEnum):
    """The real encoding of a frame; the label in the header may say something else."""

    JPEG_DCT = "jpeg_dct"
    JPEG_LOSSLESS = "jpeg_lossless"
    JPEG_LS = "jpeg_ls"
    JPEG_2000 = "jpeg_2000"
    HTJ2K = "htj2k"
    RLE = "rle"


@dataclass(frozen=True, kw_only=True, slots=True)
class CodestreamInfo:
    """The facts in a codestream's own headers.

    `data` is the bare codestream: cut out of its boxes, without padding, with its end marker. `end_added` is true
    where that marker was missing, so that the decoder has to prove that nothing else is. `signed` and `lossy` are
    None where the codestream cannot say. `scans` counts the scans of a JPEG.
    """

    kind: CodestreamKind
    data: bytes
    rows: int
    columns: int
    components: int
    precision: int
    signed: bool | None = None
    lossy: bool | None = None
    end_added: bool = False
    scans: int = 1


def truncated(detail: str) -> ImageRejectedError:
    """Returns the reject for a codestream that ends too early."""
    return ImageRejectedError(RejectReason.TRUNCATED, detail)


def corrupt(detail: str) -> ImageRejectedError:
    """Returns the reject for a codestream that contradicts its own format."""
    return ImageRejectedError(RejectReason.CORRUPT_PIXELS, detail)
