"""Lossless codecs of shard images: one module a codec, one interface, one registry.

Comes in: `[rows, columns] uint16` images. Goes out: the bytes of a shard member, and the image back. Refuses: other
types and shapes, and bytes that are cut, changed or claim an absurd size.
"""

from radio_io.codecs.interface import MAX_PIXELS, Codec
from radio_io.codecs.registry import CODEC_NAMES, codec_of_extension, get_codec

__all__ = ["CODEC_NAMES", "MAX_PIXELS", "Codec", "codec_of_extension", "get_codec"]
