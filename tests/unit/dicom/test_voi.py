"""VOI LUTs and windows: the standard's formulas, a fixed choice, and never a blank picture."""

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.pixels.processing import apply_windowing
from pydicom.sequence import Sequence

from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.render import render, render_parameters, stored_values
from radio_io.dicom.voi import Window, read_voi
from unit.dicom.make_dicom import dataset_of, parsed, picture
from unit.dicom.test_render import lut

TOP = 65535


def shown(pixels, *, bits=12, **attributes):
    dataset = dataset_of(pixels, bits=bits, **attributes)
    stored = decode_pixels(parsed(dataset))
    return render(stored, render_parameters(dataset, stored), "voi")


def linear(x, center, width):
    """DICOM PS3.3 C.11.2.1.2.1, to the letter."""
    if x <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if x > center - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (center - 0.5)) / (width - 1) + 0.5


def linear_exact(x, center, width):
    """DICOM PS3.3 C.11.2.1.3.2, to the letter."""
    if x <= center - width / 2:
        return 0.0
    if x > center + width / 2:
        return 1.0
    return (x - center) / width + 0.5


def sigmoid(x, center, width):
    """DICOM PS3.3 C.11.2.1.3.1, to the letter."""
    return 1 / (1 + np.exp(-4 * (x - center) / width))


@pytest.mark.parametrize(
    ("function", "formula", "windows"),
    [
        ("LINEAR", linear, [(2048, 4096), (2048, 1), (0, 100), (128, 2), (100.5, 17.25)]),
        ("LINEAR_EXACT", linear_exact, [(2048, 4096), (2048, 1), (0, 100), (128, 0.5), (127.5, 255)]),
        ("SIGMOID", sigmoid, [(2048, 4096), (2048, 1), (100, 1e-3), (-50, 100)]),
    ],
)
def test_computes_each_function_by_the_standard(function, formula, windows):
    values = np.arange(-200, 4400, dtype=np.float64)
    for center, width in windows:
        curve = Window(center=center, width=width, function=function).curve(values)
        with np.errstate(over="ignore"):
            expected = [formula(value, center, width) for value in values]
        np.testing.assert_allclose(curve, expected, atol=1e-12)


@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (2048, 1), (2048, 2), (600, 300)])
def test_gives_the_values_of_the_standards_notes(center, width):
    # PS3.3 C.11.2.1.2.1, note 4: center 2048, width 4096 becomes "if x <= 0, else if x > 4095" for the identity.
    window = Window(center=center, width=width, function="LINEAR")
    lowest, highest = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    assert window.curve(np.array([lowest, highest + 1e-9])).tolist() == [0, 1]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("slope", [1, -2])
def test_agrees_with_pydicom(function, slope):
    pixels = picture()
    center, width = 10 + slope * 2000, 1500
    attributes = {"WindowCenter": center, "WindowWidth": width, "VOILUTFunction": function}
    image = shown(pixels, RescaleSlope=slope, RescaleIntercept=10, **attributes)
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsStored, dataset.PixelRepresentation = 16, 0
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    expected = apply_windowing(pixels * float(slope) + 10, dataset)
    np.testing.assert_allclose(image.pixels, expected, atol=0.51)


def test_spreads_a_window_over_16_bits():
    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    image = shown(pixels, WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_array_equal(image.pixels, np.floor(pixels / 4095 * TOP + 0.5))
    assert (image.bits, image.voi_applied) == (16, "WINDOW")
    with pytest.raises(ValueError, match="window"):
        stored_values(image)


def test_inverts_after_the_window():
    pixels = picture()
    plain = shown(pixels, WindowCenter=1500, WindowWidth=700)
    inverse = shown(pixels, WindowCenter=1500, WindowWidth=700, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(inverse.pixels, TOP - plain.pixels)


def test_applies_the_window_to_the_output_of_a_modality_lut():
    pixels = picture(bits=10)
    entries = np.arange(1024) * 40
    image = shown(pixels, bits=10, ModalityLUTSequence=lut(entries), WindowCenter=20000, WindowWidth=30000)
    expected = [linear(value, 20000, 30000) for value in entries]
    np.testing.assert_array_equal(image.pixels, np.floor(np.array(expected) * TOP + 0.5)[pixels])


@pytest.mark.parametrize(("first", "signed"), [(0, False), (500, False), (-2048, True), (63488, True)])
def test_applies_a_voi_lut_exactly(first, signed):
    pixels = picture(signed=signed)
    entries = np.random.default_rng(0).integers(0, 4096, 4096)
    image = shown(pixels, VOILUTSequence=lut(entries, first, bits=12))
    true_first = first - 65536 if first > 32767 else first
    index = np.clip(pixels.astype(int) - true_first, 0, 4095)
    np.testing.assert_array_equal(image.pixels, np.floor(entries[index] / 4095 * TOP + 0.5))
    assert image.voi_applied == "VOI_LUT"


def test_applies_a_voi_lut_to_modality_values():
    pixels = picture()
    entries = np.random.default_rng(0).integers(0, 1024, 2049)
    image = shown(pixels, VOILUTSequence=lut(entries, -1024, bits=10), RescaleSlope=0.5, RescaleIntercept=-1024)
    index = np.rint(pixels * 0.5 - 1024).astype(int) + 1024
    np.testing.assert_array_equal(image.pixels, np.floor(entries[index] / 1023 * TOP + 0.5))


def test_prefers_the_first_voi_lut_to_windows():
    sequence = Sequence([*lut(np.arange(4096), bits=12), *lut(np.arange(4096)[::-1], bits=12)])
    image = shown(picture(), VOILUTSequence=sequence, WindowCenter=[100, 200], WindowWidth=[50, 60])
    assert image.voi_applied == "VOI_LUT"
    np.testing.assert_array_equal(image.pixels, np.floor(picture() / 4095 * TOP + 0.5))


def test_prefers_the_first_window_of_several():
    image = shown(picture(), WindowCenter=[1500, 2000], WindowWidth=[700, 60])
    np.testing.assert_array_equal(image.pixels, shown(picture(), WindowCenter=1500, WindowWidth=700).pixels)


@pytest.mark.parametrize(
    ("center", "width"),
    [(-5000, 100), (60000, 200), (1e30, 1), (-1e30, 1e3), (100000, 99999)],
)
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_never_shows_one_brightness_where_a_window_misses_the_data(center, width, function):
    pixels = picture()
    image = shown(pixels, WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    if image.voi_applied == "PERCENTILES":
        low, high = np.percentile(pixels, [0.5, 99.5])
        assert np.abs(image.pixels - np.clip((pixels - low) / (high - low), 0, 1) * TOP).max() < 300
    assert len(np.unique(image.pixels)) > 100
    assert 10_000 < image.pixels.mean() < 55_000


def test_never_shows_one_brightness_where_a_voi_lut_misses_the_data():
    image = shown(picture(), VOILUTSequence=lut(np.arange(100), first=60000, bits=12))
    assert image.voi_applied == "PERCENTILES"
    image = shown(picture(), VOILUTSequence=lut(np.arange(100), first=60000), WindowCenter=2000, WindowWidth=2000)
    assert image.voi_applied == "WINDOW"


def test_shows_a_narrow_window_within_the_data_as_it_is():
    image = shown(picture(), WindowCenter=2000, WindowWidth=1)
    assert image.voi_applied == "WINDOW"
    assert set(np.unique(image.pixels)) == {0, TOP}


def test_shows_robust_percentiles_where_there_is_nothing_else():
    image = shown(picture())
    assert image.voi_applied == "PERCENTILES"
    assert (image.pixels.min(), image.pixels.max()) == (0, TOP)


def test_leaves_padding_out_of_the_percentiles():
    pixels = picture(bits=10).astype(np.uint16)
    pixels[:40] = 4000
    with_padding, without = shown(pixels), shown(pixels, PixelPaddingValue=4000)
    assert with_padding.pixels[60:].max() < TOP // 3
    assert without.pixels[60:].max() == TOP


def test_shows_a_constant_image_without_an_error():
    assert len(np.unique(shown(np.full((20, 20), 7, np.uint16)).pixels)) == 1


@pytest.mark.parametrize(
    ("attributes", "count"),
    [
        ({"WindowCenter": "1", "WindowWidth": "0"}, 0),
        ({"WindowCenter": "1", "WindowWidth": "-5"}, 0),
        ({"WindowCenter": "1", "WindowWidth": "0.5"}, 0),
        ({"WindowCenter": "1", "WindowWidth": "0.5", "VOILUTFunction": "LINEAR_EXACT"}, 1),
        ({"WindowCenter": ["1", "2"], "WindowWidth": "5"}, 1),
        ({"WindowCenter": ["1", "2"], "WindowWidth": ["0", "5"]}, 1),
        ({"WindowCenter": "1", "WindowWidth": "5", "VOILUTFunction": "CUBIC"}, 1),
        ({"WindowWidth": "5"}, 0),
    ],
)
def test_takes_only_windows_that_can_be_meant(attributes, count):
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    assert len(read_voi(dataset).windows) == count


@pytest.mark.parametrize("descriptor", [[200, 0, 16], [100, 0], []])
def test_takes_a_voi_lut_that_is_cut_for_none(descriptor):
    sequence = lut(np.arange(100))
    sequence[0].LUTDescriptor = descriptor
    dataset = Dataset()
    dataset.VOILUTSequence = sequence
    assert read_voi(dataset).tables == ()
