"""Lenient and exact reading of single values."""

import logging
import warnings
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from radio_io.dicom import values
from radio_io.dicom.parse import read_file
from synthetic_dicom import BIG_ENDIAN, EXPLICIT, IMPLICIT, dicom_bytes, encoded, sequence

VRS = [None, "US", "DS", "IS", "LO", "SQ", "UN", "OB", "FD", "PN", "ZZ"]


def read(changes, syntax=EXPLICIT):
    return read_file(dicom_bytes(changes, syntax=syntax)).dataset


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1", 1.0),
        ("+0.5 ", 0.5),
        ("-10", -10.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1E-3", 0.001),
        ("0,15", 0.15),
        ("0.123456789012345678", 0.123456789012345678),
        ("12\0", 12.0),
        ("", None),
        (" ", None),
        ("NaN", None),
        ("inf", None),
        ("1e400", None),
        ("1e99999", None),
        ("1_000", None),
        ("0x10", None),
        ("1.2.3", None),
        ("1,234.5", None),
        ("0,15,0,15", None),
        ("٣", None),
        ("-", None),
        ("12 mm", None),
        ("9" * 65, None),
    ],
)
def test_reads_a_decimal_string_or_says_none(written, expected):
    assert values.parse_number(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("20200311", date(2020, 3, 11)),
        ("1997.06.09", date(1997, 6, 9)),
        ("1997-06-09", date(1997, 6, 9)),
        ("20200311120000.000000", date(2020, 3, 11)),
        ("20200229", date(2020, 2, 29)),
        ("20210229", None),
        ("00000000", None),
        ("18000101", None),
        ("99991231", None),
        ("1997.06-09", None),
        ("202003", None),
        ("", None),
        ("20200311-20200312", None),
        ("heute", None),
        ("²0200311", None),
    ],
)
def test_reads_a_date_or_says_none(written, expected):
    assert values.parse_date(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("045Y", 45),
        ("45Y", 45),
        ("062", 62),
        ("62", 62),
        ("018M", 1),
        ("011M", 0),
        ("012M", 1),
        ("024M", 2),
        ("052W", 0),
        ("053W", 1),
        ("364D", 0),
        ("730D", 1),
        ("102Y", 102),
        ("131Y", None),
        ("999Y", None),
        ("Y", None),
        ("", None),
        ("45 years", None),
        ("-45", None),
    ],
)
def test_reads_an_age_or_says_none(written, expected):
    assert values.parse_age_years(written) == expected


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_reads_numbers_of_every_encoding(syntax):
    dataset = read({"Rows": 2128, "ExposureTimeInms": 6.25, "PixelSpacing": "0.16\\0.17"}, syntax)
    assert values.integer(dataset, "Rows") == 2128
    assert values.number(dataset, "ExposureTimeInms") == 6.25
    assert values.numbers(dataset, "PixelSpacing") == (0.16, 0.17)


def test_takes_the_first_usable_of_several_values():
    dataset = read({"KVP": "\\NaN\\81\\70", "Modality": "\\DX\\CR"})
    assert values.number(dataset, "KVP") == 81
    assert values.text(dataset, "Modality") == "DX"


def test_reads_an_identifier_as_a_whole():
    assert values.identifier(read({"PatientID": " 47\\11 "}), "PatientID") == "47\\11"


@pytest.mark.parametrize(
    ("vr", "raw", "expected"),
    [
        ("IS", b"2128", 2128),
        ("DS", b"2128.0", 2128),
        ("UN", b"\x50\x08", 2128),
        ("OB", b"\x50\x08", 2128),
        ("UL", b"\x50\x08\x00\x00", 2128),
        ("SS", b"\xff\xff", -1),
        ("US", b"", None),
        ("US", b"\x01", None),
        ("LO", b"many", None),
        ("FD", b"\0\0\0\0\0\0\xf8\x7f", None),
        ("DS", b"2127.5", None),
        ("IS", b"99999999999999999999", None),
    ],
)
def test_reads_rows_under_a_wrong_vr(vr, raw, expected):
    dataset = Dataset({BaseTag(0x00280010): RawDataElement(BaseTag(0x00280010), vr, len(raw), raw, 0, False, True)})
    assert values.integer(dataset, "Rows") == expected


@pytest.mark.parametrize(
    ("character_set", "raw", "expected"),
    [
        (None, "HÜFTE".encode("latin-1"), "HÜFTE"),
        ("ISO_IR 100", "HÜFTE".encode("latin-1"), "HÜFTE"),
        ("ISO_IR 192", "HÜFTE".encode("latin-1"), "HÜFTE"),
        ("ISO_IR 192", "膝".encode(), "膝"),
        ("ISO_IR 100", "膝".encode(), "膝"),
        ("ISO_IR 144", "Колено".encode("iso8859_5"), "Колено"),
        ("GB18030", "膝".encode("gb18030"), "膝"),
        ("\\ISO 2022 IR 87", b"\x1b$B\x49\x28\x1b(B", "膝"),
        ("ISO_IR 999", b"Hand\xfc", "Handü"),
        ("\xff\xfe", b"Hand", "Hand"),
        ("ISO 2022 IR 87", b"\x1b$B\xff\xff\x1b", None),
    ],
)
def test_reads_texts_of_declared_missing_and_wrong_character_sets(character_set, raw, expected):
    dataset = read({"SpecificCharacterSet": character_set, "SeriesDescription": raw})
    found = values.text(dataset, "SeriesDescription")
    assert found == expected if expected is not None else isinstance(found, str)


def test_reads_an_item_of_known_and_of_undefined_length():
    code = encoded("CodeValue", "T-D8800") + encoded("CodeMeaning", "Forearm")
    nested = encoded("AnatomicRegionModifierSequence", ("SQ", sequence(encoded("CodeValue", "G-A101"))))
    for undefined in (False, True):
        dataset = read({"AnatomicRegionSequence": ("SQ", sequence(code + nested, code, undefined=undefined))})
        first, second = values.items(dataset, "AnatomicRegionSequence")
        assert values.text(first, "CodeMeaning") == values.text(second, "CodeMeaning") == "Forearm"
        (modifier,) = values.items(first, "AnatomicRegionModifierSequence")
        assert values.text(modifier, "CodeValue") == "G-A101"


def test_reads_a_sequence_that_is_called_unknown():
    """PS3.5 6.2.2: under UN the items are implicit VR little endian."""
    code = encoded("CodeValue", "T-D8800", IMPLICIT)
    dataset = read({"AnatomicRegionSequence": ("UN", sequence(code))})
    (item,) = values.items(dataset, "AnatomicRegionSequence")
    assert values.text(item, "CodeValue") == "T-D8800"


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_keeps_what_can_be_read_of_a_broken_sequence(cut):
    value = sequence(encoded("CodeValue", "A"), encoded("CodeValue", "B"))
    tag = BaseTag(0x00082218)
    broken = value[: len(value) - cut]
    dataset = Dataset({tag: RawDataElement(tag, "SQ", len(broken), broken, 0, False, True)})
    found = [values.text(item, "CodeValue") for item in values.items(dataset, "AnatomicRegionSequence")]
    assert found in (["A", "B"], ["A", None], ["A"], [None], [])


def test_reads_converted_elements_alike():
    dataset = Dataset()
    dataset.Rows = 5
    dataset.PixelSpacing = ["0.1", "0.2"]
    dataset.KVP = None
    dataset.Modality = "DX"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PatientName = "A^B"
    dataset.ViewCodeSequence = Sequence([Dataset()])
    assert values.integer(dataset, "Rows") == 5
    assert values.numbers(dataset, "PixelSpacing") == (0.1, 0.2)
    assert values.number(dataset, "KVP") is None
    assert values.text(dataset, "Modality") == "DX"
    assert values.texts(dataset, "ImageType") == ("ORIGINAL", "PRIMARY")
    assert values.text(dataset, "PatientName") == "A^B"
    assert len(values.items(dataset, "ViewCodeSequence")) == 1
    assert values.items(dataset, "Rows") == ()
    assert values.texts(dataset, "ViewCodeSequence") == ()


def test_says_nothing_about_what_is_absent():
    dataset = Dataset()
    assert values.text(dataset, "Modality") is None
    assert values.number(dataset, "KVP") is None
    assert values.integer(dataset, "Rows") is None
    assert values.day(dataset, "StudyDate") is None
    assert values.items(dataset, "ViewCodeSequence") == ()
    assert values.identifier(dataset, "PatientID") == ""


@given(raw=st.binary(max_size=80), vr=st.sampled_from(VRS))
def test_never_raises_warns_or_logs(raw, vr):
    keywords = ["Rows", "PixelSpacing", "SeriesDescription", "StudyDate", "ViewCodeSequence", "SpecificCharacterSet"]
    tags = [BaseTag(0x00280010), BaseTag(0x00280030), BaseTag(0x0008103E), BaseTag(0x00080020), BaseTag(0x00540220)]
    dataset = Dataset({tag: RawDataElement(tag, vr, len(raw), raw, 0, vr is None, True) for tag in tags})
    dataset._dict[BaseTag(0x00080005)] = RawDataElement(BaseTag(0x00080005), vr, len(raw), raw, 0, vr is None, True)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger().addHandler(handler)
    readers = [values.texts, values.term, values.numbers, values.integer, values.day, values.items, values.identifier]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for keyword in keywords:
                for reader in readers:
                    reader(dataset, keyword)
    finally:
        logging.getLogger().removeHandler(handler)
    assert not records


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_reads_every_finite_number_exactly(number):
    assert values.parse_number(repr(number)) == number
