"""Decoding: exact pixels for every encoding, and a reason for everything that cannot be right."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.parse import read_file
from radio_io.errors import ImageRejectedError
from synthetic_dicom import dicom_bytes
from unit.dicom import make_dicom as make
from unit.dicom.make_dicom import dataset_of, encode, items, parsed, picture

LOSSLESS_KINDS = {
    "jpeg_lossless": make.LOSSLESS_SV1,
    "jpeg_ls": make.JPEG_LS,
    "jpeg_2000": make.JPEG_2000,
    "jp2": make.JPEG_2000,
    "htj2k": make.HTJ2K,
    "rle": make.RLE,
}
LOSSY_KINDS = {"jpeg": make.EXTENDED}


def decode(dataset, syntax=make.EXPLICIT, **options):
    return decode_pixels(parsed(dataset, syntax), **options)


def coded(pixels, kind, *, bits=None, syntax=None, data=None, attributes=None, **codec):
    """Decodes a dataset around one encoded frame; `precision` is that of the codestream."""
    if "precision" in codec:
        codec["bits"] = codec.pop("precision")
    data = encode(pixels, kind, **codec) if data is None else data
    dataset = dataset_of(pixels, bits=bits, frames=[data], **(attributes or {}))
    return decode(dataset, syntax or (LOSSLESS_KINDS | LOSSY_KINDS)[kind])


def reason_of(function, *arguments, **options):
    with pytest.raises(ImageRejectedError) as caught:
        function(*arguments, **options)
    return str(caught.value.reason)


def expect(stored, pixels, *, bits, source="header", lossy=False):
    np.testing.assert_array_equal(stored.pixels, pixels)
    assert stored.pixels.dtype == pixels.dtype
    assert (stored.bits_stored, stored.signed) == (bits, pixels.dtype.kind == "i")
    assert (stored.bits_source, stored.lossy) == (source, lossy)


def assert_whole_or_refused(whole, pixels, kind, *, data, bits):
    try:
        found = coded(pixels, kind, data=data, bits=bits).pixels
    except ImageRejectedError as error:
        found = str(error.reason)
    if isinstance(found, str):
        assert found in ("TRUNCATED", "CORRUPT_PIXELS")
    else:
        np.testing.assert_array_equal(found, whole.pixels)


# ---- right files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16, 24])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [make.IMPLICIT, make.EXPLICIT])
def test_reads_uncompressed_pixels_of_all_widths(bits, signed, syntax):
    pixels = picture(bits=bits, signed=signed)
    expect(decode(dataset_of(pixels, bits=bits), syntax), pixels, bits=bits)


def test_views_uncompressed_pixels_without_a_copy():
    dataset = dataset_of(picture())
    assert not decode(dataset).pixels.flags.owndata


@pytest.mark.parametrize("bits", [12, 24])
def test_reads_big_endian_words(bits):
    pixels = picture(bits=bits)
    dataset = dataset_of(pixels, bits=bits, PixelData=pixels.byteswap().tobytes())
    expect(decode(dataset, make.BIG_ENDIAN), pixels, bits=bits)


def test_reads_8_bits_in_big_endian_words():
    pixels = picture(bits=8)
    dataset = dataset_of(pixels, PixelData=pixels.view(np.uint16).byteswap().tobytes())
    dataset["PixelData"].VR = "OW"
    expect(decode(dataset, make.BIG_ENDIAN), pixels, bits=8)


def test_reads_8_bits_in_little_endian_words():
    pixels = picture(bits=8)
    dataset = dataset_of(pixels)
    dataset["PixelData"].VR = "OW"
    expect(decode(dataset), pixels, bits=8)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("kind", LOSSLESS_KINDS)
def test_decodes_every_lossless_codec_exactly(kind, bits):
    pixels = picture(bits=bits)
    options = {"precision": bits} if kind in ("jpeg_lossless", "jpeg_2000", "jp2") else {}
    expect(coded(pixels, kind, bits=bits, **options), pixels, bits=bits)


@pytest.mark.parametrize("kind", ["jpeg_lossless", "jpeg_ls", "jpeg_2000", "rle"])
def test_decodes_signed_pixels_exactly(kind):
    pixels = picture(bits=16, signed=True)
    expect(coded(pixels, kind), pixels, bits=16)


@pytest.mark.parametrize("predictor", range(1, 8))
def test_decodes_every_predictor_of_lossless_jpeg(predictor):
    pixels = picture(bits=12)
    stored = coded(pixels, "jpeg_lossless", bits=12, precision=12, predictor=predictor, syntax=make.LOSSLESS)
    expect(stored, pixels, bits=12)


@pytest.mark.parametrize(
    ("kind", "bits", "options", "syntax", "largest"),
    [
        ("jpeg", 8, {"level": 95}, make.BASELINE, 8),
        ("jpeg", 12, {"level": 95, "bits": 12}, make.EXTENDED, 100),
        ("jpeg_ls", 12, {"near": 3}, make.JPEG_LS_NEAR, 3),
        ("jpeg_2000", 12, {"level": 50, "reversible": False, "bits": 12}, make.JPEG_2000_LOSSY, 60),
    ],
)
def test_flags_lossy_codecs_and_stays_close(kind, bits, options, syntax, largest):
    pixels = picture(bits=bits)
    stored = decode(dataset_of(pixels, bits=bits, frames=[encode(pixels, kind, **options)]), syntax)
    assert stored.lossy
    assert stored.bits_stored == bits
    assert np.abs(stored.pixels.astype(int) - pixels).max() <= largest


@pytest.mark.parametrize(
    ("kind", "syntax", "lossy"),
    [
        ("jpeg_ls", make.JPEG_LS_NEAR, False),  # NEAR is 0 in the codestream, whatever the label allows
        ("jpeg_2000", make.JPEG_2000_LOSSY, True),  # a reversible codestream may still have been cut in quality
        ("jpeg_2000", make.JPEG_2000, False),
    ],
)
def test_asks_the_label_about_loss_only_where_the_codestream_is_silent(kind, syntax, lossy):
    pixels = picture()
    assert decode(dataset_of(pixels, frames=[encode(pixels, kind)]), syntax).lossy is lossy


@pytest.mark.parametrize("kind", [*LOSSLESS_KINDS, *LOSSY_KINDS])
def test_takes_a_second_opinion_where_imagecodecs_refuses(kind, monkeypatch):
    pixels = picture(bits=8 if kind == "jpeg" else 16)
    if kind == "htj2k":
        pixels = picture(bits=12)
    data = encode(pixels, kind)
    first = coded(pixels, kind, data=data)

    def refuse(*_arguments, **_options):
        raise RuntimeError("no")

    for name in ("jpeg8_decode", "jpegls_decode", "jpeg2k_decode", "htj2k_decode", "dicomrle_decode"):
        monkeypatch.setattr(imagecodecs, name, refuse)
    second = coded(pixels, kind, data=data)
    assert (first.decoder, second.decoder) == ("imagecodecs", "pydicom")
    assert np.abs(first.pixels.astype(int) - second.pixels).max() <= (1 if kind == "jpeg" else 0)


def test_reads_a_frame_of_many():
    pixels = np.stack([picture(seed=seed) for seed in range(3)])
    dataset = dataset_of(pixels, bits=12, NumberOfFrames=3)
    for frame in range(3):
        np.testing.assert_array_equal(decode(dataset, frame=frame).pixels, pixels[frame])
    assert reason_of(decode, dataset, frame=3) == "MULTI_FRAME"


def test_reads_a_file_from_disk_and_back(tmp_path):
    pixels = picture()
    path = tmp_path / "image.dcm"
    path.write_bytes(make.file_of(dataset_of(pixels, bits=12, frames=[encode(pixels, "jpeg_ls")]), make.JPEG_LS))
    expect(decode_pixels(read_file(path)), pixels, bits=12)


@pytest.mark.parametrize("syntax", [make.EXPLICIT, make.IMPLICIT, make.BIG_ENDIAN, make.DEFLATED])
def test_reads_whole_files_of_native_syntaxes(syntax):
    pixels = picture()
    dataset = dataset_of(pixels, bits=12)
    if syntax == make.BIG_ENDIAN:
        dataset["PixelData"].value = pixels.byteswap().tobytes()
    expect(decode_pixels(read_file(make.file_of(dataset, syntax))), pixels, bits=12)


BUNDLED = Path(__file__).resolve().parents[2] / "data" / "dicom"


@pytest.mark.parametrize(
    ("kind", "largest"), [("j2k", 0), ("jpeg_ls", 0), ("rle", 0), ("j2k_lossy", 9), ("jpeg_lossless", 0)]
)
def test_gives_one_real_leg_in_all_encodings(kind, largest):
    reference = decode_pixels(read_file(BUNDLED / "lower_leg_jpeg_lossless.dcm"))
    stored = decode_pixels(read_file(BUNDLED / f"lower_leg_{kind}.dcm"))
    assert np.abs(stored.pixels.astype(int) - reference.pixels).max() <= largest
    assert stored.lossy is (largest > 0)


# ---- bits, signs and overlays -------------------------------------------------------------------------------------


def test_masks_garbage_in_unused_high_bits():
    pixels = picture()
    garbage = np.random.default_rng(1).integers(0, 16, pixels.shape).astype(np.uint16) << 12
    expect(decode(dataset_of(pixels | garbage, bits=12)), pixels, bits=12)


def test_masks_high_bits_that_are_the_same_everywhere():
    pixels = picture()
    expect(decode(dataset_of(pixels | np.uint16(0xF000), bits=12)), pixels, bits=12)


def test_believes_values_that_run_over_the_stored_bits():
    pixels = picture(bits=14)
    expect(decode(dataset_of(pixels, bits=12)), pixels, bits=16, source="corrected")


def test_believes_values_of_a_radiograph_with_hard_edges():
    pixels = picture(300, 200, bits=14)
    pixels[:60] = 0
    pixels[:, 150:] = 16383
    expect(decode(dataset_of(pixels, bits=12)), pixels, bits=16, source="corrected")


def test_refuses_values_of_which_neither_reading_makes_a_picture():
    pixels = picture(bits=14)  # 14 bits in the right half, 12 bits and garbage in the left one
    garbage = np.random.default_rng(1).integers(0, 2, (120, 45)).astype(np.uint16) << 12
    pixels[:, :45] = picture()[:, :45] | garbage * (np.arange(120) % 16 == 0)[:, None].astype(np.uint16)
    assert reason_of(decode, dataset_of(pixels, bits=12)) == "HEADER_CONTRADICTION"


@pytest.mark.parametrize("position", [12, 13, 15])
def test_drops_an_overlay_in_the_high_bits(position):
    pixels = picture()
    overlay = np.zeros_like(pixels)
    overlay[20:60, 30:34] = 1 << position
    dataset = dataset_of(pixels | overlay, bits=12)
    expect(decode(dataset), pixels, bits=12)
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.add_new((0x6000, 0x0102), "US", position)
    expect(decode(dataset), pixels, bits=12)


@pytest.mark.parametrize("kind", ["jpeg_2000", "jpeg_ls", "jpeg_lossless", "rle"])
def test_drops_an_overlay_in_bit_15_under_compression(kind):
    pixels = picture()
    overlay = np.zeros_like(pixels)
    overlay[20:60, 30:34] = 1 << 15
    stored = coded(pixels | overlay, kind, bits=12)
    expect(stored, pixels, bits=12)


def test_drops_an_overlay_above_signed_values():
    pixels = picture(signed=True)
    overlay = np.zeros(pixels.shape, np.uint16)
    overlay[20:60, 30:34] = 1 << 15
    cells = (pixels.view(np.uint16) & np.uint16(0x0FFF)) | overlay
    dataset = dataset_of(cells.view(np.int16), bits=12)
    dataset.add_new((0x6002, 0x0102), "US", 15)
    expect(decode(dataset), pixels, bits=12)


def test_never_reads_overlay_planes_of_their_own():
    pixels = picture()
    dataset = dataset_of(pixels, bits=12)
    dataset.add_new((0x6000, 0x0100), "US", 1)
    dataset.add_new((0x6000, 0x0102), "US", 0)
    dataset.add_new((0x6000, 0x3000), "OW", b"\xff" * (pixels.size // 8))
    expect(decode(dataset), pixels, bits=12)


def test_shifts_values_at_the_top_of_the_cell():
    pixels = picture()
    expect(decode(dataset_of(pixels << 4, bits=12, HighBit=15)), pixels, bits=12)


def test_shifts_signed_values_at_the_top_of_the_cell():
    pixels = picture(signed=True)
    expect(decode(dataset_of(pixels << 4, bits=12, HighBit=15)), pixels, bits=12)


def test_drops_an_overlay_below_values_at_the_top_of_the_cell():
    pixels = picture()
    overlay = np.zeros_like(pixels)
    overlay[20:60, 30:34] = 1
    expect(decode(dataset_of(pixels << 4 | overlay, bits=12, HighBit=15)), pixels, bits=12)


def test_does_not_shift_where_the_values_are_at_the_bottom_in_truth():
    pixels = picture()
    expect(decode(dataset_of(pixels, bits=12, HighBit=15)), pixels, bits=12, source="corrected")


@pytest.mark.parametrize("kind", ["jpeg_lossless", "jpeg_2000"])
def test_does_not_shift_what_the_codestream_has_at_the_bottom(kind):
    pixels = picture()
    expect(coded(pixels, kind, bits=12, attributes={"HighBit": 15}), pixels, bits=12, source="corrected")


@pytest.mark.parametrize("high_bit", [7, 11, 31, -1])
def test_ignores_a_high_bit_that_cannot_be(high_bit):
    pixels = picture(bits=16)
    dataset = dataset_of(pixels, HighBit=high_bit % 65536)
    expect(decode(dataset), pixels, bits=16)


def test_extends_the_sign_of_negative_values():
    pixels = picture(signed=True)
    unextended = (pixels.view(np.uint16) & np.uint16(0x0FFF)).view(np.int16)
    expect(decode(dataset_of(unextended, bits=12)), pixels, bits=12)


def test_extends_the_sign_where_some_values_have_it_and_some_not():
    pixels = picture(signed=True)
    mixed = pixels.copy()
    mixed[::2] = (mixed[::2].view(np.uint16) & np.uint16(0x0FFF)).view(np.int16)
    expect(decode(dataset_of(mixed, bits=12)), pixels, bits=12)


def test_believes_positive_values_that_a_lying_sign_would_fold():
    pixels = picture().astype(np.int16)
    expect(decode(dataset_of(pixels, bits=12)), pixels, bits=16, source="corrected")


@pytest.mark.parametrize(("stored", "expected"), [(0, 16), (17, 16), (40, 16)])
def test_takes_the_whole_cell_where_bits_stored_cannot_be(stored, expected):
    pixels = picture(bits=16)
    dataset = dataset_of(pixels, BitsStored=stored, HighBit=15)
    expect(decode(dataset), pixels, bits=expected, source="corrected")


@pytest.mark.parametrize("missing", ["BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"])
def test_reads_on_without(missing):
    pixels = picture(bits=16)
    expect(decode(dataset_of(pixels, **{missing: None})), pixels, bits=16)


def test_believes_the_precision_of_the_codestream_below_bits_stored():
    pixels = picture(bits=12)
    stored = coded(pixels, "jpeg_lossless", bits=12, attributes={"BitsStored": 16, "HighBit": 15})
    np.testing.assert_array_equal(stored.pixels, pixels)


def test_takes_the_smaller_precision_of_the_codestream():
    pixels = picture(bits=12)
    data = encode(pixels, "jpeg_2000", bits=12)
    expect(coded(pixels, "jpeg_2000", data=data, bits=16), pixels, bits=12, source="codestream")


def test_takes_bits_stored_where_the_codestream_leaves_room():
    pixels = picture(bits=12)
    expect(coded(pixels, "jpeg_2000", bits=12), pixels, bits=12)


def test_believes_the_precision_of_the_codestream_where_bits_allocated_lies():
    pixels = picture(bits=12)
    data = encode(pixels, "jpeg_2000", bits=12)
    stored = coded(pixels, "jpeg_2000", data=data, attributes={"BitsAllocated": 8, "BitsStored": 8})
    expect(stored, pixels, bits=12, source="codestream")


@pytest.mark.parametrize("bits", [12, 13, 16])
def test_turns_unsigned_codestreams_of_signed_values(bits):
    pixels = picture(bits=bits, signed=True)
    pattern = pixels.view(np.uint16) & np.uint16((1 << bits) - 1)
    stored = coded(pixels, "jpeg_2000", data=encode(pattern, "jpeg_2000", bits=bits), bits=bits)
    expect(stored, pixels, bits=bits, source="corrected")


def test_turns_signed_codestreams_of_unsigned_values():
    pixels = picture(bits=16)
    stored = coded(pixels, "jpeg_2000", data=encode(pixels.view(np.int16), "jpeg_2000"), bits=16)
    expect(stored, pixels, bits=16, source="corrected")


def test_believes_a_signed_codestream_where_the_header_would_fold_it():
    pixels = picture(bits=12, signed=True)
    attributes = {"PixelRepresentation": 0, "BitsStored": 12}
    stored = coded(pixels, "jpeg_2000", bits=12, attributes=attributes)
    expect(stored, pixels, bits=16, source="corrected")


def test_clips_what_a_lossy_codec_overshoots():
    pixels = picture(bits=10)
    pixels[:60] = 1023
    pixels[60:] = 0
    stored = coded(pixels, "jpeg", bits=12, attributes={"BitsStored": 10, "HighBit": 9}, precision=12, level=70)
    assert stored.pixels.max() == 1023
    assert stored.bits_stored == 10
    assert stored.bits_source == "header"


# ---- completeness -------------------------------------------------------------------------------------------------

CUT_KINDS = {
    "jpeg_lossless": ("jpeg_lossless", {"bits": 12}, 12),
    "jpeg_lossless_4": ("jpeg_lossless", {"bits": 12, "predictor": 4}, 12),
    "jpeg_lossless_7": ("jpeg_lossless", {"bits": 12, "predictor": 7}, 12),
    "jpeg_baseline": ("jpeg", {}, 8),
    "jpeg_extended": ("jpeg", {"bits": 12}, 12),
    "jpeg_ls": ("jpeg_ls", {}, 12),
    "jpeg_ls_near": ("jpeg_ls", {"near": 2}, 12),
    "jpeg_2000": ("jpeg_2000", {}, 12),
    "jpeg_2000_lossy": ("jpeg_2000", {"level": 50, "reversible": False}, 12),
    "jp2": ("jp2", {}, 12),
    "htj2k": ("htj2k", {}, 12),
    "htj2k_resolutions": ("htj2k", {"tlm": True, "tilepart": imagecodecs.HTJ2K.TILEPART.RESOLUTIONS}, 12),
    "rle": ("rle", {}, 12),
}
SCENES = {
    "full": lambda pixels: pixels,
    "framed": lambda pixels: np.pad(pixels[30:-30, 20:-20], ((30, 30), (20, 20))),
    "black_top": lambda pixels: np.pad(pixels[60:], ((60, 0), (0, 0))),
    "black": lambda pixels: np.zeros_like(pixels),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", CUT_KINDS)
def test_never_takes_a_cut_codestream_for_an_image(name, scene):
    kind, options, bits = CUT_KINDS[name]
    pixels = SCENES[scene](picture(bits=bits))
    data = encode(pixels, kind, **options)
    whole = coded(pixels, kind, data=data, bits=bits)
    for share in (0.98, 0.9, 0.7, 0.5, 0.2, 0.05):
        cut = data[: int(len(data) * share)]
        assert reason_of(coded, pixels, kind, data=cut, bits=bits) in ("TRUNCATED", "CORRUPT_PIXELS"), share
        if kind == "rle":
            continue
        closed = cut + make.EOI  # somebody repaired the end
        assert_whole_or_refused(whole, pixels, kind, data=closed, bits=bits)


@pytest.mark.parametrize("name", CUT_KINDS)
def test_calls_a_file_cut_at_70_percent_truncated(name):
    kind, options, bits = CUT_KINDS[name]
    pixels = picture(200, 150, bits=bits)
    data = encode(pixels, kind, **options)
    assert reason_of(coded, pixels, kind, data=data[: len(data) * 7 // 10], bits=bits) == "TRUNCATED"


@pytest.mark.parametrize("name", [name for name in CUT_KINDS if name not in ("rle", "jp2")])
def test_accepts_a_missing_end_marker_where_nothing_else_is_missing(name):
    kind, options, bits = CUT_KINDS[name]
    pixels = picture(bits=bits)
    data = encode(pixels, kind, **options)
    whole = coded(pixels, kind, data=data, bits=bits)
    for end in (2, 1):
        stored = coded(pixels, kind, data=data[:-end], bits=bits)
        np.testing.assert_array_equal(stored.pixels, whole.pixels)


@pytest.mark.parametrize("missing", [3, 4, 5, 6, 10])
@pytest.mark.parametrize("name", [name for name in CUT_KINDS if name != "jp2" and name != "rle"])
def test_refuses_a_missing_end_marker_where_one_byte_more_is_missing(name, missing):
    kind, options, bits = CUT_KINDS[name]
    pixels = picture(bits=bits)
    data = encode(pixels, kind, **options)
    whole = coded(pixels, kind, data=data, bits=bits)
    assert_whole_or_refused(whole, pixels, kind, data=data[:-missing], bits=bits)  # it may have held padding only


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 7, b"\xff", b" " * 4])
@pytest.mark.parametrize("name", CUT_KINDS)
def test_tolerates_padding_after_the_end(name, padding):
    kind, options, bits = CUT_KINDS[name]
    if kind == "rle" and padding.strip(b"\0"):
        pytest.skip("RLE has no end marker: anything behind its last segment would be decoded")
    pixels = picture(bits=bits)
    data = encode(pixels, kind, **options)
    whole = coded(pixels, kind, data=data, bits=bits)
    np.testing.assert_array_equal(coded(pixels, kind, data=data + padding, bits=bits).pixels, whole.pixels)


def test_refuses_rle_that_decodes_to_too_few_pixels():
    pixels = picture()
    high, low = make.rle_segments(pixels)
    cut = make.rle_frame(pixels, segments=[high, low[: len(low) // 2 * 2 - 200]])
    assert reason_of(coded, pixels, "rle", data=cut, bits=12) in ("TRUNCATED", "CORRUPT_PIXELS")


def test_refuses_native_pixels_that_are_too_short():
    pixels = picture()
    for cut in (2, 1, 180, pixels.nbytes * 3 // 10):
        assert reason_of(decode, dataset_of(pixels, bits=12, PixelData=pixels.tobytes()[:-cut])) == "TRUNCATED"


# ---- items, frames and lengths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 17])
@pytest.mark.parametrize("kind", ["jpeg_lossless", "jpeg_ls", "jpeg_2000", "rle"])
def test_joins_the_fragments_of_a_frame(kind, count):
    pixels = picture()
    data = encode(pixels, kind)
    size = -(-len(data) // count) // 2 * 2 + 2
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    stored = decode(dataset_of(pixels, bits=12, frames=pieces), LOSSLESS_KINDS[kind])
    np.testing.assert_array_equal(stored.pixels, pixels)


def frames_of(kind="jpeg_ls", count=3):
    pixels = [picture(seed=seed) for seed in range(count)]
    return pixels, [encode(frame, kind) for frame in pixels]


@pytest.mark.parametrize("kind", ["jpeg_ls", "jpeg_2000", "rle"])
def test_finds_frames_by_their_offset_table(kind):
    pixels, frames = frames_of(kind)
    pieces, table = [], []
    for frame in frames:
        table.append(sum(8 + len(piece) + len(piece) % 2 for piece in pieces))
        pieces += [frame[:100], frame[100:]]
    value = items(pieces, table=struct.pack("<3I", *table))
    dataset = dataset_of(pixels[0], bits=12, frames=[], NumberOfFrames=3, PixelData=value)
    for index in range(3):
        stored = decode(dataset, LOSSLESS_KINDS[kind], frame=index)
        np.testing.assert_array_equal(stored.pixels, pixels[index])


@pytest.mark.parametrize("split", [False, True])
def test_finds_frames_without_an_offset_table(split):
    pixels, frames = frames_of()
    pieces = [part for frame in frames for part in ((frame[:100], frame[100:]) if split else (frame,))]
    dataset = dataset_of(pixels[0], bits=12, frames=pieces, NumberOfFrames=3)
    for index in range(3):
        np.testing.assert_array_equal(decode(dataset, make.JPEG_LS, frame=index).pixels, pixels[index])


@pytest.mark.parametrize("claimed", [1, 2, 4])
def test_refuses_a_number_of_frames_that_lies_about_fragments(claimed):
    pixels, frames = frames_of()
    dataset = dataset_of(pixels[0], bits=12, frames=frames, NumberOfFrames=claimed)
    assert reason_of(decode, dataset, make.JPEG_LS) == "HEADER_CONTRADICTION"


@pytest.mark.parametrize("claimed", [1, 2, 4, 9])
def test_refuses_a_number_of_frames_that_lies_about_native_pixels(claimed):
    pixels = np.stack([picture(seed=seed) for seed in range(3)])
    assert reason_of(decode, dataset_of(pixels, NumberOfFrames=claimed)) == "HEADER_CONTRADICTION"


def test_accepts_a_missing_offset_table():
    pixels = picture()
    value = items([])[8:] + items([encode(pixels, "jpeg_ls")])[8:]
    expect(decode(dataset_of(pixels, bits=12, frames=[], PixelData=value), make.JPEG_LS), pixels, bits=12)


@pytest.mark.parametrize("table", [b"\0\0\0\0", b"\x10\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\0\x08\0\0\0"])
def test_does_not_need_the_offset_table_of_a_single_frame(table):
    pixels = picture()
    value = items([encode(pixels, "jpeg_ls")], table=table)
    expect(decode(dataset_of(pixels, bits=12, frames=[], PixelData=value), make.JPEG_LS), pixels, bits=12)


def test_refuses_fragments_that_are_cut():
    pixels = picture()
    value = items([encode(pixels, "jpeg_ls")])[:-1000]
    assert reason_of(decode, dataset_of(pixels, frames=[], PixelData=value), make.JPEG_LS) == "TRUNCATED"


def test_refuses_fragments_whose_lengths_lie():
    pixels = picture()
    value = bytearray(items([encode(pixels, "jpeg_ls")]) + items([b"ab"])[8:])
    value[12:16] = struct.pack("<I", 1000)
    assert reason_of(decode, dataset_of(pixels, frames=[], PixelData=bytes(value)), make.JPEG_LS) == "CORRUPT_PIXELS"


def test_refuses_an_offset_table_without_fragments():
    dataset = dataset_of(picture(), frames=[])
    assert reason_of(decode, dataset, make.JPEG_LS) == "NO_PIXEL_DATA"


def test_reads_a_whole_file_whose_sequence_delimiter_is_missing():
    pixels = picture()
    data = make.file_of(dataset_of(pixels, bits=12, frames=[encode(pixels, "jpeg_ls")]), make.JPEG_LS)
    assert data.endswith(make.DELIMITER)
    expect(decode_pixels(read_file(data[: -len(make.DELIMITER)])), pixels, bits=12)


@pytest.mark.parametrize("kind", ["jpeg_lossless", "jpeg_ls", "jpeg_2000", "rle"])
def test_calls_a_whole_file_truncated_that_is_cut_within_its_fragments(kind):
    pixels = picture()
    data = make.file_of(dataset_of(pixels, bits=12, frames=[encode(pixels, kind)]), LOSSLESS_KINDS[kind])
    assert reason_of(decode_pixels, read_file(data[: len(data) * 7 // 10])) == "TRUNCATED"


def test_calls_a_whole_native_file_truncated_that_is_cut():
    data = make.file_of(dataset_of(picture(), bits=12))
    assert reason_of(decode_pixels, read_file(data[: len(data) * 7 // 10])) == "TRUNCATED"


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 180, b"\xff" * 512, b"ab"[:1]])
def test_tolerates_padding_after_native_pixels(padding):
    pixels = picture()
    expect(decode(dataset_of(pixels, bits=12, PixelData=pixels.tobytes() + padding)), pixels, bits=12)


def test_reads_an_odd_number_of_8_bit_pixels():
    pixels = picture(31, 33, bits=8)
    expect(decode(dataset_of(pixels, PixelData=pixels.tobytes() + b"\0")), pixels, bits=8)
    expect(decode(dataset_of(pixels)), pixels, bits=8)


def test_refuses_an_excess_that_is_no_padding():
    pixels = picture()
    dataset = dataset_of(pixels, bits=12, Rows=pixels.shape[0] - 10)
    assert reason_of(decode, dataset) == "HEADER_CONTRADICTION"


@pytest.mark.parametrize("columns", [89, 45])
def test_refuses_rows_of_another_length(columns):
    pixels = picture()
    pixels[-30:] = 0
    dataset = dataset_of(pixels, bits=12, Columns=columns)
    assert reason_of(decode, dataset) == "HEADER_CONTRADICTION"


def test_refuses_rows_and_columns_exchanged():
    pixels = picture(200, 150)
    assert reason_of(decode, dataset_of(pixels, bits=12, Rows=150, Columns=200)) == "HEADER_CONTRADICTION"


@pytest.mark.parametrize("kind", [*LOSSLESS_KINDS])
def test_refuses_a_size_that_contradicts_the_codestream(kind):
    pixels = picture(200, 150)
    for attributes in ({"Rows": 150, "Columns": 200}, {"Rows": 199}, {"Columns": 151}):
        reason = reason_of(coded, pixels, kind, bits=12, attributes=attributes)
        assert reason in ("HEADER_CONTRADICTION", "TRUNCATED", "CORRUPT_PIXELS")


# ---- labels that lie ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [make.EXPLICIT, make.IMPLICIT, make.JPEG_LS, make.JPEG_2000, make.RLE, make.HTJ2K])
@pytest.mark.parametrize("kind", ["jpeg_lossless", "jpeg_ls", "jpeg_2000"])
def test_decodes_by_the_codestream_whatever_the_label(kind, label):
    pixels = picture()
    expect(coded(pixels, kind, bits=12, syntax=label), pixels, bits=12)


def test_decodes_rle_under_another_label():
    pixels = picture()
    expect(coded(pixels, "rle", bits=12, syntax=make.LOSSLESS_SV1), pixels, bits=12)


def test_decodes_baseline_jpeg_labelled_lossless_and_flags_it():
    pixels = picture(bits=8)
    stored = coded(pixels, "jpeg", syntax=make.LOSSLESS_SV1)
    assert stored.lossy
    assert np.abs(stored.pixels.astype(int) - pixels).max() <= 8


def test_decodes_lossless_jpeg_labelled_baseline():
    pixels = picture(bits=8)
    expect(coded(pixels, "jpeg_lossless", syntax=make.BASELINE), pixels, bits=8)


def test_decodes_a_codestream_without_items():
    pixels = picture()
    expect(decode(dataset_of(pixels, bits=12, PixelData=encode(pixels, "jpeg_ls"))), pixels, bits=12)


@pytest.mark.parametrize("label", [make.LOSSLESS_SV1, make.JPEG_2000, make.RLE])
@pytest.mark.parametrize("encapsulated", [False, True])
def test_reads_plain_pixels_under_a_label_of_a_codec(label, encapsulated):
    pixels = picture()
    frames = [pixels.tobytes()] if encapsulated else None
    expect(decode(dataset_of(pixels, bits=12, frames=frames), label), pixels, bits=12)


def test_refuses_plain_bytes_of_another_length_under_a_label_of_a_codec():
    pixels = picture()
    dataset = dataset_of(pixels, bits=12, PixelData=pixels.tobytes() + b"\0" * 100)
    assert reason_of(decode, dataset, make.LOSSLESS_SV1) == "CORRUPT_PIXELS"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.110", "1.2.840.113619.5.2", "x"])
def test_refuses_syntaxes_that_it_does_not_know(syntax):
    dataset = dataset_of(picture(), frames=[b"\0\0\1\xb3" * 100])
    assert reason_of(decode, dataset, syntax) == "UNSUPPORTED_TRANSFER_SYNTAX"


def test_reads_big_endian_words_labelled_little_endian():
    pixels = picture()
    dataset = dataset_of(pixels, bits=12, PixelData=pixels.byteswap().tobytes())
    expect(decode(dataset), pixels, bits=12, source="corrected")


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("how", ["segments", "table"])
def test_puts_exchanged_rle_segments_into_order(bits, how):
    pixels = picture(bits=bits)
    high, low = make.rle_segments(pixels)
    if how == "segments":
        data = make.rle_frame(pixels, segments=[low, high])
    else:
        data = make.rle_frame(pixels, segments=[high, low], offsets=[64 + len(high), 64])
    expect(coded(pixels, "rle", data=data, bits=bits), pixels, bits=bits, source="corrected")


def test_reads_rle_segments_that_lie_in_another_order_than_the_table():
    pixels = picture()
    high, low = make.rle_segments(pixels)
    data = make.rle_frame(pixels, segments=[low, high], offsets=[64 + len(low), 64])
    expect(coded(pixels, "rle", data=data, bits=12), pixels, bits=12)


# ---- limits and kinds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Rows": 0}, "BAD_GEOMETRY"),
        ({"Columns": None}, "BAD_GEOMETRY"),
        ({"Rows": 65535, "Columns": 65535}, "DECOMPRESSION_BOMB"),
        ({"Rows": 20001}, "DECOMPRESSION_BOMB"),
        ({"Rows": 20000, "Columns": 20000, "BitsAllocated": 32}, "DECOMPRESSION_BOMB"),
        ({"Rows": 20000, "Columns": 20000}, "TRUNCATED"),
        ({"BitsAllocated": 1, "BitsStored": 1}, "UNSUPPORTED_PIXELS"),
        ({"BitsAllocated": 12}, "UNSUPPORTED_PIXELS"),
        ({"BitsAllocated": 64}, "UNSUPPORTED_PIXELS"),
        ({"BitsAllocated": None}, "UNSUPPORTED_PIXELS"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "NOT_GRAYSCALE"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "NOT_GRAYSCALE"),
        ({"PhotometricInterpretation": "YBR_FULL_422", "SamplesPerPixel": 3}, "NOT_GRAYSCALE"),
        ({"PixelData": b""}, "NO_PIXEL_DATA"),
    ],
)
def test_refuses_headers_that_cannot_be(attributes, reason):
    assert reason_of(decode, dataset_of(picture(), **attributes)) == reason


def test_refuses_a_dataset_without_pixels():
    dataset = dataset_of(picture())
    del dataset.PixelData
    assert reason_of(decode, dataset) == "NO_PIXEL_DATA"


@pytest.mark.parametrize(("keyword", "vr", "tag"), [("Float", "OF", 0x7FE00008), ("DoubleFloat", "OD", 0x7FE00009)])
def test_refuses_floating_point_pixels(keyword, vr, tag):
    dataset = dataset_of(picture())
    del dataset.PixelData
    dataset.add_new(tag, vr, b"\0" * 64)
    assert reason_of(decode, dataset) == "UNSUPPORTED_PIXELS"


@pytest.mark.parametrize("kind", ["jpeg_lossless", "jpeg_ls", "jpeg_2000", "htj2k"])
def test_decodes_no_codestream_that_is_larger_than_its_header(kind, monkeypatch):
    bomb = encode(np.zeros((3000, 3000), np.uint16), kind)

    def explode(*_arguments, **_options):
        raise AssertionError("decoded before the size was checked")

    for name in ("jpeg8_decode", "jpegls_decode", "jpeg2k_decode", "htj2k_decode"):
        monkeypatch.setattr(imagecodecs, name, explode)
    assert reason_of(coded, picture(), kind, data=bomb, bits=12) == "HEADER_CONTRADICTION"


def test_decodes_no_rle_that_cannot_hold_so_many_pixels(monkeypatch):
    pixels = picture()
    monkeypatch.setattr(imagecodecs, "dicomrle_decode", None)
    attributes = {"Rows": 19000, "Columns": 19000}
    assert reason_of(coded, pixels, "rle", bits=12, attributes=attributes) == "TRUNCATED"


def test_refuses_a_codestream_of_three_components():
    pixels = picture(bits=8)
    data = imagecodecs.jpeg8_encode(np.dstack([pixels] * 3), 90)
    assert reason_of(coded, pixels, "jpeg", data=data) == "HEADER_CONTRADICTION"


def test_refuses_a_truth_that_spans_32_bits_only_at_rendering():
    pixels = picture(bits=32)
    expect(decode(dataset_of(pixels)), pixels, bits=32)


@pytest.mark.parametrize("seed", range(4))
def test_gives_an_image_or_a_reason_for_any_damage(seed, capfd):
    random = np.random.default_rng(seed)
    for name, (kind, options, bits) in CUT_KINDS.items():
        pixels = picture(40, 30, bits=bits)
        whole = encode(pixels, kind, **options)
        for _ in range(25):
            data = bytearray(whole)
            for _ in range(random.integers(1, 4)):
                place = random.integers(0, len(data))
                if random.random() < 0.5:
                    data[place] ^= 1 << random.integers(0, 8)
                else:
                    data[place : place + random.integers(1, 9)] = random.bytes(random.integers(0, 9))
            try:
                stored = coded(pixels, kind, data=bytes(data), bits=bits)
            except ImageRejectedError:
                continue
            assert stored.pixels.shape == pixels.shape, name
    assert "Exception ignored" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["native", "rle"])
def test_does_not_doubt_the_row_length_of_a_nearly_empty_picture(kind):
    pixels = np.zeros((937, 828), np.uint16)
    pixels[27:54, 27:54] = np.random.default_rng(0).integers(0, 4096, (27, 27))
    stored = decode(dataset_of(pixels, bits=12)) if kind == "native" else coded(pixels, "rle", bits=12)
    expect(stored, pixels, bits=12)


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (2, 300), (300, 2), (3, 3), (1, 1)])
def test_reads_pictures_of_few_rows_or_columns(shape):
    pixels = np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)
    expect(decode(dataset_of(pixels, bits=12)), pixels, bits=12)


def test_calls_lossless_values_beyond_their_own_precision_corrupt():
    pixels = picture()
    data = bytearray(encode(pixels, "jpeg_lossless", bits=12))
    data[data.index(b"\xff\xc3") + 4] = 10
    assert reason_of(coded, pixels, "jpeg_lossless", data=bytes(data), bits=12) == "CORRUPT_PIXELS"


@pytest.mark.parametrize("missing", ["BitsAllocated", "PixelRepresentation", "Rows", "SamplesPerPixel"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_takes_or_refuses_what_lacks_an_attribute(missing, syntax):
    data = dicom_bytes({missing: None}, syntax=syntax)
    if missing in ("PixelRepresentation", "SamplesPerPixel"):
        assert decode_pixels(read_file(data)).pixels.tolist() == [[1, 2, 3], [4, 5, 6]]
    else:
        with pytest.raises(ImageRejectedError):
            decode_pixels(read_file(data))
