"""Builds DICOM datasets, right ones and wrong ones, for the tests of reading, decoding and rendering.

picture()      a smooth synthetic picture with noise, of any size, number of bits and sign
dataset_of()   a dataset around pixels (native) or around encoded frames
encode()       one frame in any codec
items()        the value of encapsulated PixelData
parsed()       what the decoder takes
file_of()      the bytes of a Part 10 file
"""

import io
import struct

import imagecodecs
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, generate_uid

from radio_io.dicom.parse import ParsedFile

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
BASELINE = "1.2.840.10008.1.2.4.50"
EXTENDED = "1.2.840.10008.1.2.4.51"
LOSSLESS = "1.2.840.10008.1.2.4.57"
LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
JPEG_2000_LOSSY = "1.2.840.10008.1.2.4.91"
HTJ2K = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"

ITEM = b"\xfe\xff\x00\xe0"
DELIMITER = b"\xfe\xff\xdd\xe0\0\0\0\0"
EOI = b"\xff\xd9"


def picture(rows=120, columns=90, *, bits=12, signed=False, seed=0, noise=0.004):
    """`[rows, columns]` integers that fill most of the range of `bits`, smooth but for a little noise."""
    y, x = np.mgrid[:rows, :columns]
    wave = 0.5 + 0.33 * np.sin(x / columns * 5 + 0.3) * np.cos(y / rows * 4) + 0.1 * np.sin((x + 2 * y) / columns * 9)
    wave += np.random.default_rng(seed).normal(0, noise, wave.shape)
    values = np.clip(np.rint(wave * (2**bits - 1)), 0, 2**bits - 1).astype(np.int64)
    width = 8 if bits <= 8 else 16 if bits <= 16 else 32
    if signed:
        return (values - 2 ** (bits - 1)).astype(f"i{width // 8}")
    return values.astype(f"u{width // 8}")


def dataset_of(pixels, *, bits=None, frames=None, **attributes):
    """A dataset around native pixels; `frames` (encoded fragments) or attributes replace what would be right.

    Attributes set to None are left out.
    """
    size = pixels.dtype.itemsize
    signed = pixels.dtype.kind == "i"
    bits = bits or 8 * size
    values = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
        "SOPInstanceUID": generate_uid(entropy_srcs=["radio", str(pixels.shape)]),
        "Modality": "CR",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "BitsAllocated": 8 * size,
        "BitsStored": bits,
        "HighBit": (attributes.get("BitsStored") or bits) - 1,
        "PixelRepresentation": int(signed),
    } | attributes
    data = values.pop("PixelData", None)
    if data is None:
        data = items(frames) if frames is not None else pixels.tobytes()
    dataset = Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.add_new(0x7FE00010, "OB" if frames is not None or size == 1 else "OW", data)
    return dataset


def encode(pixels, kind, **options):
    """One frame as a codestream: jpeg_lossless, jpeg, jpeg_ls, jpeg_2000, jp2, htj2k or rle."""
    if kind == "rle":
        return rle_frame(pixels)
    if kind == "jpeg_lossless":
        bits = options.pop("bits", 8 * pixels.dtype.itemsize)
        options = {"predictor": 1} | options
        return imagecodecs.jpeg8_encode(_unsigned(pixels), lossless=True, bitspersample=bits, **options)
    if kind == "jpeg":
        return imagecodecs.jpeg8_encode(_unsigned(pixels), options.pop("level", 95), **_bits(options))
    if kind == "jpeg_ls":
        return imagecodecs.jpegls_encode(_unsigned(pixels), options.pop("near", 0))
    if kind in ("jpeg_2000", "jp2"):
        options = {"reversible": True, "codecformat": "j2k" if kind == "jpeg_2000" else "jp2"} | options
        return imagecodecs.jpeg2k_encode(pixels, options.pop("level", None), **_bits(options))
    assert kind == "htj2k"
    return imagecodecs.htj2k_encode(pixels, reversible=True, **options)


def rle_segments(pixels):
    """The RLE segments of a frame, high byte first, each of even length."""
    planes = pixels.astype(pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(*pixels.shape, -1)
    segments = [imagecodecs.packbits_encode(planes[..., index].copy()) for index in range(planes.shape[-1])]
    return [segment + b"\0" * (len(segment) % 2) for segment in segments]


def rle_frame(pixels, *, segments=None, offsets=None):
    """An RLE frame, with its segments or its table replaced."""
    segments = segments or rle_segments(pixels)
    if offsets is None:
        offsets = [64 + sum(len(part) for part in segments[:index]) for index in range(len(segments))]
    return struct.pack("<16I", len(offsets), *offsets, *[0] * (15 - len(offsets))) + b"".join(segments)


def items(fragments, *, table=b"", delimiter=False):
    """The value of encapsulated PixelData: offset table, then fragments, as readers keep it (without delimiter)."""
    value = b"".join(
        ITEM + struct.pack("<I", len(part) + len(part) % 2) + part + b"\0" * (len(part) % 2)
        for part in [table, *fragments]
    )
    return value + (DELIMITER if delimiter else b"")


def parsed(dataset, syntax=EXPLICIT):
    """A parsed file around a dataset."""
    return ParsedFile(dataset=dataset, transfer_syntax_uid=syntax)


def file_of(dataset, syntax=EXPLICIT):
    """The bytes of a Part 10 file with that transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.1")
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", generate_uid())
    meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta = meta
    if dataset["PixelData"].value[:4] == ITEM:
        dataset["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _unsigned(pixels):
    return pixels.view(f"u{pixels.dtype.itemsize}")


def _bits(options):
    """Renames `bits` to the name that imagecodecs gives it."""
    bits = options.pop("bits", None)
    return options if bits is None else options | {"bitspersample": bits}
