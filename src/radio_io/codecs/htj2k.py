"""Codec `htj2k`: High-Throughput JPEG 2000, reversible, 16 bits always, one tile-part a resolution, in a JPH box.

Comes in: `[rows, columns] uint16`. Goes out: a JPH file whose first bytes hold the smaller resolutions. Refuses: bytes
that are cut or changed so far that they do not decode, and sizes above `MAX_PIXELS`.

The precision is 16 whatever the image uses, since decoders differ in how they scale other precisions. The encoder's
comment is left out, since it names a version.

Source: ISO/IEC 15444-15; OpenJPH through imagecodecs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radio_io.codecs import jph
from radio_io.codecs.interface import Strips, check_image, check_size, strip_rows
from radio_io.errors import CodecError

# Full, half, quarter and eighth size; an eighth of 2000 x 1500 is 1.9 % of the bytes.
NUM_LEVELS = 4
# Low bands overshoot the range of the pixels by less than 3 * 2**16; at this precision OpenJPH does not wrap them.
ROOMY_PRECISION = 20
MIDDLE = np.uint16(0x8000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Htj2kCodec:
    """Reversible HTJ2K with tile-parts by resolution."""

    name: str = "htj2k"
    extension: str = "jph"

    def encode(self, pixels: NDArray[np.uint16]) -> bytes:
        """The JPH file of `pixels`, `[rows, columns] uint16`."""
        check_image(pixels)
        rows, columns = pixels.shape
        codestream = imagecodecs.htj2k_encode(
            np.ascontiguousarray(pixels), reversible=True, tlm=True, tilepart=imagecodecs.HTJ2K.TILEPART.RESOLUTIONS
        )
        return jph.wrap(codestream, rows=rows, columns=columns)

    def decode(self, encoded: bytes) -> NDArray[np.uint16]:
        """The image in `encoded`, `[rows, columns] uint16`.

        Raises:
            CodecError: The bytes are cut, changed, too large or of another format.
        """
        pixels = _decode_shifted(encoded)
        pixels ^= MIDDLE
        return pixels

    def decode_strips(self, encoded: bytes, step: int, *, is_checked: bool = False) -> Strips:
        """The same image in strips, see `Codec`: it is decoded as a whole, its values are moved strip by strip.

        Raises:
            CodecError: The bytes are cut, changed, too large or of another format.
        """
        del is_checked  # there is no checksum in a codestream
        pixels = _decode_shifted(encoded)
        shape = pixels.shape[0], pixels.shape[1]
        return Strips(shape=shape, parts=_strips(pixels, strip_rows(shape, step)))

    def decode_reduced(self, prefix: bytes, skip: int) -> NDArray[np.uint16]:
        """The image at `2**-skip` of its size, rounded up, from at least the first `level_sizes[skip]` bytes.

        Low bands undershoot 0 and overshoot 65535; such values are clipped, as OpenJPEG and DALI do.

        Raises:
            CodecError: Too few bytes, or bytes that were changed.
        """
        stream = jph.parse(jph.unwrap(prefix))
        check_size(stream.rows, stream.columns)
        wide = _decode_wide(jph.reduced(stream, skip, precision=ROOMY_PRECISION))
        wide -= (1 << (ROOMY_PRECISION - 1)) - (1 << 15)
        return np.clip(wide, 0, 65535, out=wide).astype(np.uint16)

    def reduced_image(self, prefix: bytes, skip: int) -> bytes:
        """A JPH file of the image at `2**-skip` of its size, cut from a prefix without decoding, for any decoder.

        Raises:
            CodecError: Too few bytes, or bytes that were changed.
        """
        stream = jph.parse(jph.unwrap(prefix))
        codestream = jph.reduced(stream, skip)
        return jph.wrap(codestream, rows=-(-stream.rows >> skip), columns=-(-stream.columns >> skip))

    def level_sizes(self, encoded: bytes) -> tuple[int, ...]:
        """How many of the first bytes hold the image at full, half, quarter and eighth size."""
        stream = jph.parse(jph.unwrap(encoded))
        size = jph.BOX_SIZE + stream.header_size
        ends: list[int] = []
        for part in stream.parts:
            size += len(part)
            ends.append(size)
        return (len(encoded), *ends[-2 : -NUM_LEVELS - 1 : -1])


def _decode_shifted(encoded: bytes) -> NDArray[np.uint16]:
    """The image, the highest bit of each pixel turned over."""
    codestream = jph.unwrap(encoded)
    stream = jph.parse(codestream)
    if len(stream.parts) != stream.levels + 1:
        raise CodecError(f"image in codec htj2k: {len(stream.parts)} whole tile-parts, expected {stream.levels + 1}")
    check_size(stream.rows, stream.columns)
    pixels = _decode_signed(codestream)
    if not pixels[-1].any():
        _decode_wide(jph.reduced(stream, 0, precision=ROOMY_PRECISION))
    return pixels.view(np.uint16)


def _strips(shifted: NDArray[np.uint16], step: int) -> Iterator[NDArray[np.uint16]]:
    room = np.empty((min(step, len(shifted)), shifted.shape[1]), np.uint16)
    for row in range(0, len(shifted), step):
        rows = shifted[row : row + step]
        yield np.bitwise_xor(rows, MIDDLE, out=room[: len(rows)])


def _decode_signed(codestream: memoryview) -> NDArray[np.int16]:
    """The image less 32768, from a codestream declared as signed; its last row is 0 where decoding stopped early.

    imagecodecs 2026.3.6 swallows an error of OpenJPH among the rows and returns zeros from there on. Zero is what air
    is stored as, but the centre of a signed image, which hardly any last row consists of; `_decode_wide` decides then.
    Both can go once imagecodecs raises.
    """
    position = len(jph.SOC) + jph.SIZ_PRECISION
    declared = bytearray(codestream)
    declared[position] |= 0x80
    return _decode_codestream(declared).view(np.int16)


def _decode_wide(codestream: bytes) -> NDArray[np.int32]:
    """The image plus 2**19, from a codestream declared as 20 bits; no row of it is 0 unless decoding stopped early."""
    pixels = _decode_codestream(codestream)
    if not pixels[-1].all():
        raise CodecError("image in codec htj2k: some rows do not decode; the bytes were changed")
    return pixels.view(np.int32)


def _decode_codestream(codestream: bytes | bytearray) -> NDArray[np.generic]:
    try:
        return np.asarray(imagecodecs.htj2k_decode(codestream))
    except (imagecodecs.Htj2kError, ValueError, RuntimeError) as error:
        raise CodecError(f"image in codec htj2k: does not decode ({error})") from None


HTJ2K: Final = Htj2kCodec()
