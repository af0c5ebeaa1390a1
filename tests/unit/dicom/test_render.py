"""Rendering: direction, exactness and the way back to stored values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.sequence import Sequence

from radio_io.dicom.decode import StoredPixels, decode_pixels
from radio_io.dicom.render import render, render_parameters, stored_values
from radio_io.errors import ImageRejectedError
from unit.dicom.make_dicom import dataset_of, parsed, picture


def radiograph(pixels, mode="modality", *, bits=None, **attributes):
    dataset = dataset_of(pixels, bits=bits, **attributes)
    stored = decode_pixels(parsed(dataset))
    return render(stored, render_parameters(dataset, stored), mode)


def lut(entries, first=0, bits=16, vr="US"):
    item = Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new(0x00283006, vr, bytes(entries) if vr == "OW" else [int(entry) for entry in entries])
    return Sequence([item])


@given(
    bits=st.integers(1, 16),
    signed=st.booleans(),
    slope=st.sampled_from([1.0, -1.0, 0.5, -10.0, 2.5, 1e-3, -7e5]),
    intercept=st.sampled_from([0.0, -1024.0, 3.25, 1e6]),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_gives_stored_values_back_exactly(bits, signed, slope, intercept, photometric, seed):
    low = -(1 << bits - 1) if signed else 0
    values = np.random.default_rng(seed).integers(low, low + (1 << bits), (7, 5))
    values.flat[:2] = low, low + (1 << bits) - 1
    pixels = values.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    stored = StoredPixels(
        pixels=pixels, bits_stored=bits, signed=signed, bits_source="header", lossy=False, decoder="numpy"
    )
    dataset = Dataset()
    dataset.PhotometricInterpretation = photometric
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    image = render(stored, render_parameters(dataset, stored))
    np.testing.assert_array_equal(stored_values(image), pixels)
    assert image.pixels.dtype == np.uint16
    assert image.pixels.max() < 1 << image.bits
    assert (image.rescale_slope, image.rescale_intercept) == (slope, intercept)


@given(low=st.integers(-(2**31), 2**31 - 1 - 65535), span=st.integers(0, 65535), inverse=st.booleans())
def test_gives_32_bit_values_back_that_span_16_bits(low, span, inverse):
    pixels = np.array([[low, low + span], [low + span // 2, low]], np.int32)
    stored = StoredPixels(
        pixels=pixels, bits_stored=32, signed=True, bits_source="header", lossy=False, decoder="numpy"
    )
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverse else "MONOCHROME2"
    np.testing.assert_array_equal(stored_values(render(stored, render_parameters(dataset, stored))), pixels)


def test_refuses_values_that_span_more_than_16_bits():
    with pytest.raises(ImageRejectedError, match="UNSUPPORTED_PIXELS"):
        radiograph(picture(bits=24))


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted", "conflict", "source"),
    [
        ("MONOCHROME1", None, True, False, "PhotometricInterpretation"),
        ("MONOCHROME2", None, False, False, "PhotometricInterpretation"),
        ("MONOCHROME1", "INVERSE", True, False, "PhotometricInterpretation"),
        ("MONOCHROME2", "IDENTITY", False, False, "PhotometricInterpretation"),
        ("MONOCHROME1", "IDENTITY", True, True, "PhotometricInterpretation"),
        ("MONOCHROME2", "INVERSE", False, True, "PhotometricInterpretation"),
        ("MONOCHROME1 ", "inverse", True, False, "PhotometricInterpretation"),
        ("MONOCHROME1", "LIN OD", True, False, "PhotometricInterpretation"),
        (None, "INVERSE", True, False, "PresentationLUTShape"),
        (None, "IDENTITY", False, False, "PresentationLUTShape"),
        (None, None, False, False, "default"),
        ("GREY", "", False, False, "default"),
    ],
)
@pytest.mark.parametrize("mode", ["modality", "voi"])
def test_inverts_once_by_photometric_interpretation(photometric, shape, inverted, conflict, source, mode):
    pixels = picture()
    image = radiograph(pixels, mode, bits=12, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    assert (image.inverted, image.polarity_conflict, image.polarity_source) == (inverted, conflict, source)
    low, high = np.unravel_index(pixels.argmin(), pixels.shape), np.unravel_index(pixels.argmax(), pixels.shape)
    assert (image.pixels[low] > image.pixels[high]) == inverted
    if mode == "modality":
        np.testing.assert_array_equal(image.pixels, 4095 - pixels if inverted else pixels)


def test_renders_the_same_picture_from_both_photometric_interpretations():
    pixels = picture()
    one = radiograph(pixels, bits=12, PhotometricInterpretation="MONOCHROME2")
    other = radiograph(4095 - pixels, bits=12, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize(("slope", "photometric", "inverted"), [
    (-10, "MONOCHROME2", True),
    (-10, "MONOCHROME1", False),
    (10, "MONOCHROME1", True),
    (0.01, "MONOCHROME2", False),
])  # fmt: skip
@pytest.mark.parametrize("mode", ["modality", "voi"])
def test_applies_the_sign_of_the_slope_before_the_inversion(slope, photometric, inverted, mode):
    pixels = picture()
    image = radiograph(
        pixels, mode, bits=12, RescaleSlope=slope, RescaleIntercept=100, PhotometricInterpretation=photometric
    )
    assert image.inverted == inverted
    low, high = np.unravel_index(pixels.argmin(), pixels.shape), np.unravel_index(pixels.argmax(), pixels.shape)
    assert (image.pixels[low] > image.pixels[high]) == inverted


@pytest.mark.parametrize("slope", ["", "0", "NaN", "1e400", None])
def test_takes_a_slope_that_cannot_be_meant_for_one(slope):
    dataset = dataset_of(picture(), bits=12)
    if slope is not None:
        dataset.add_new(0x00281053, "LO", slope)
    stored = decode_pixels(parsed(dataset))
    assert render_parameters(dataset, stored).rescale_slope == 1.0


def test_puts_signed_values_above_zero():
    pixels = picture(signed=True)
    image = radiograph(pixels, bits=12)
    np.testing.assert_array_equal(image.pixels, pixels.astype(int) + 2048)
    assert (image.offset, image.bits) == (-2048, 12)


def test_shares_the_bytes_of_the_file_where_nothing_changes():
    dataset = dataset_of(picture(), bits=12)
    stored = decode_pixels(parsed(dataset))
    assert np.shares_memory(render(stored, render_parameters(dataset, stored)).pixels, stored.pixels)


# ---- Modality LUT -------------------------------------------------------------------------------------------------


def test_applies_a_modality_lut_exactly_and_ignores_the_slope():
    pixels = picture(bits=10)
    entries = np.random.default_rng(0).integers(0, 4096, 1024)
    image = radiograph(pixels, bits=10, ModalityLUTSequence=lut(entries), RescaleSlope=-3)
    np.testing.assert_array_equal(image.pixels, entries[pixels])
    assert (image.modality_lut, image.bits, image.inverted) == (True, 12, False)
    with pytest.raises(ValueError, match="Modality LUT"):
        stored_values(image)


def test_inverts_after_the_modality_lut():
    pixels = picture(bits=10)
    entries = np.arange(1024)[::-1] * 4
    image = radiograph(pixels, bits=10, ModalityLUTSequence=lut(entries), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(image.pixels, 4095 - entries[pixels])


@pytest.mark.parametrize(("first", "signed"), [(100, False), (-2048, True), (-10, True), (63488, True)])
def test_takes_the_nearest_entry_outside_a_modality_lut(first, signed):
    pixels = picture(signed=signed)
    entries = np.random.default_rng(0).integers(0, 60000, 700)
    image = radiograph(pixels, bits=12, ModalityLUTSequence=lut(entries, first))
    true_first = first - 65536 if first > 32767 else first
    np.testing.assert_array_equal(image.pixels, entries[np.clip(pixels.astype(int) - true_first, 0, 699)])


def test_reads_0_entries_as_65536():
    pixels = picture(bits=16)
    entries = np.random.default_rng(0).permutation(65536)
    sequence = lut(entries)
    assert sequence[0].LUTDescriptor[0] == 0
    np.testing.assert_array_equal(radiograph(pixels, ModalityLUTSequence=sequence).pixels, entries[pixels])


def test_reads_8_bit_entries_in_words():
    pixels = picture(bits=8)
    entries = np.random.default_rng(0).integers(0, 256, 256).astype(np.uint8)
    image = radiograph(pixels, ModalityLUTSequence=lut(entries, bits=8, vr="OW"))
    np.testing.assert_array_equal(image.pixels, entries[pixels])


def test_reads_8_bit_entries_of_one_word_each():
    pixels = picture(bits=8)
    entries = np.random.default_rng(0).integers(0, 256, 256)
    image = radiograph(pixels, ModalityLUTSequence=lut(entries, bits=8))
    np.testing.assert_array_equal(image.pixels, entries[pixels])


@pytest.mark.parametrize("bits", [0, 8, 10, 16, 99])
def test_believes_the_entries_and_not_their_bits(bits):
    pixels = picture(bits=10)
    entries = np.arange(1024) * 4
    image = radiograph(pixels, bits=10, ModalityLUTSequence=lut(entries, bits=bits))
    np.testing.assert_array_equal(image.pixels, entries[pixels])
    assert image.bits == 12


def test_refuses_a_modality_lut_that_is_cut():
    sequence = lut(np.arange(1024))
    sequence[0].LUTDescriptor = [2000, 0, 16]
    with pytest.raises(ImageRejectedError, match="HEADER_CONTRADICTION"):
        radiograph(picture(bits=10), bits=10, ModalityLUTSequence=sequence)


@pytest.mark.parametrize("sequence", [Sequence([]), Sequence([Dataset()])])
def test_takes_an_empty_modality_lut_for_none(sequence):
    pixels = picture(bits=10)
    image = radiograph(pixels, bits=10, ModalityLUTSequence=sequence)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert not image.modality_lut


# ---- padding ------------------------------------------------------------------------------------------------------


def padded(value, *, signed):
    pixels = picture(bits=16 if not signed else 12, signed=signed)
    pixels[:10] = value
    return pixels


@pytest.mark.parametrize(
    ("signed", "cell", "vr", "value"),
    [
        (True, -2000, "SS", -2000),
        (True, -2000, "US", 63536),
        (False, 63536, "US", 63536),
        (False, 63536, "SS", -2000),
        (False, 0, "US", 0),
    ],
)
def test_finds_padding_whatever_its_vr(signed, cell, vr, value):
    pixels = padded(cell, signed=signed)
    dataset = dataset_of(pixels, bits=12 if signed else 16)
    dataset.add_new(0x00280120, vr, value)
    stored = decode_pixels(parsed(dataset))
    image = render(stored, render_parameters(dataset, stored))
    np.testing.assert_array_equal(image.padding_mask, pixels == cell)
    assert image.padding_value == cell
    np.testing.assert_array_equal(stored_values(image), pixels)


@pytest.mark.parametrize(("value", "limit"), [(0, 40), (40, 0)])
def test_finds_a_range_of_padding(value, limit):
    pixels = picture(bits=16)
    pixels[:10] = np.arange(90) % 60
    image = radiograph(pixels, PixelPaddingValue=value, PixelPaddingRangeLimit=limit)
    np.testing.assert_array_equal(image.padding_mask, pixels <= 40)


def test_has_no_mask_where_nothing_or_everything_is_padding():
    pixels = picture(bits=16)
    pixels[pixels == 7] = 8
    assert radiograph(pixels, PixelPaddingValue=7).padding_mask is None
    assert radiograph(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=65535).padding_mask is None


# ---- the window in units of the pixels -----------------------------------------------------------------------------


@pytest.mark.parametrize("function", [None, "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("slope", [1, -1, 0.5, -4])
@pytest.mark.parametrize("signed", [False, True])
def test_gives_a_window_that_makes_the_same_picture_of_the_pixels(function, photometric, slope, signed):
    pixels = picture(signed=signed)
    attributes = {
        "RescaleSlope": slope,
        "RescaleIntercept": 10,
        "PhotometricInterpretation": photometric,
        "WindowCenter": 10 + slope * (100 if signed else 2000),
        "WindowWidth": 900 * abs(slope),
        "VOILUTFunction": function,
    }
    image = radiograph(pixels, bits=12, **attributes)
    shown = radiograph(pixels, "voi", bits=12, **attributes)
    assert shown.window_center is None
    again = radiograph(
        image.pixels,
        "voi",
        bits=12,
        WindowCenter=image.window_center,
        WindowWidth=image.window_width,
        VOILUTFunction=image.voi_function,
    )
    assert shown.voi_applied == again.voi_applied == "WINDOW"
    np.testing.assert_allclose(again.pixels, shown.pixels, atol=1)


def test_gives_the_first_of_several_windows():
    image = radiograph(picture(), bits=12, WindowCenter=[100, 200], WindowWidth=[10, 20])
    assert (image.window_center, image.window_width, image.voi_function) == (100, 10, "LINEAR")


def test_gives_no_window_where_there_is_none():
    image = radiograph(picture(), bits=12, WindowCenter=100)
    assert (image.window_center, image.window_width, image.voi_function) == (None, None, None)
