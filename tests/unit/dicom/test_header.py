"""From headers to records: what is kept, what becomes of it, what is refused."""

import dataclasses
import pickle
import struct
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset

from radio_io.dicom.header import HeaderContext, HeaderRecord, ParsedFile, header_record, read_file, read_header
from radio_io.dicom.regions import RegionMatch, RegionRules
from radio_io.errors import ImageRejectedError, RejectReason
from radio_io.privacy.pseudonyms import Pseudonymizer
from synthetic_dicom import (
    BIG_ENDIAN,
    CR_STORAGE,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    RADIOGRAPH,
    UNDEFINED,
    dicom_bytes,
    element,
    encoded,
    sequence,
)

PSEUDONYMS = Pseudonymizer(bytes(range(32)))
STORAGE = "1.2.840.10008.5.1.4.1.1."


@dataclasses.dataclass
class FixedRegion:
    """A mapper that remembers what it was shown."""

    seen: list

    def map_region(self, dataset):
        self.seen.append(dataset)
        return RegionMatch(region="Knee", region_source="text", laterality="R", view_position="AP")


def context(**changes):
    values = {"pseudonyms": PSEUDONYMS, "region_rules": FixedRegion([])} | changes
    return HeaderContext(**values)


def record(changes=None, *, syntax=EXPLICIT, label="same", **settings):
    return header_record(read_file(dicom_bytes(changes, syntax=syntax, label=label)), context(**settings))


def rejected(changes, **settings):
    with pytest.raises(ImageRejectedError) as caught:
        record(changes, **settings)
    return caught.value


def test_describes_a_radiograph():
    assert record() == HeaderRecord(
        instance_key=PSEUDONYMS.instance("1.2.3.4.5.6"),
        patient_key=PSEUDONYMS.patient("4711"),
        study_key=PSEUDONYMS.study("1.2.3.4"),
        series_key=PSEUDONYMS.series("1.2.3.4.5"),
        modality="CR",
        sop_class_uid=CR_STORAGE,
        transfer_syntax_uid=EXPLICIT,
        rows=2,
        columns=3,
        number_of_frames=1,
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=12,
        high_bit=11,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        presentation_lut_shape=None,
        lossy=False,
        burned_in_annotation="unknown",
        region="Knee",
        region_source="text",
        laterality="R",
        view_position="AP",
        pixel_spacing_row_mm=0.15,
        pixel_spacing_column_mm=0.15,
        imager_spacing_row_mm=None,
        imager_spacing_column_mm=None,
        spacing_source="unspecified",
        pixels_square=True,
        kvp=70.0,
        exposure_mas=None,
        exposure_time_ms=None,
        distance_source_to_detector_mm=None,
        grid=None,
        manufacturer="Siemens",
        model="Ysio Max",
        device_key=PSEUDONYMS.device("SN-99", "Siemens"),
        patient_sex="F",
        patient_age_years=47,
        study_date_shifted=date(2020, 3, 11) - timedelta(PSEUDONYMS.date_shift_days(PSEUDONYMS.patient("4711"))),
        study_year=None,
        is_synthetic=False,
        accession_key=None,
    )


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_gives_one_record_whether_pixels_were_read_or_not(tmp_path, syntax):
    data = dicom_bytes(syntax=syntax)
    (tmp_path / "file").write_bytes(data)
    settings = context()
    header = read_header(tmp_path / "file", settings)
    assert header == header_record(read_file(data), settings)
    assert dataclasses.replace(header, transfer_syntax_uid=EXPLICIT) == record()


def test_context_and_record_pickle():
    settings = context(region_rules=RegionRules.load())
    again = pickle.loads(pickle.dumps(settings))
    parsed = read_file(dicom_bytes())
    assert header_record(parsed, again) == pickle.loads(pickle.dumps(header_record(parsed, settings)))


def test_maps_regions_with_the_rules():
    found = record(region_rules=RegionRules.load())
    assert (found.region, found.region_source) == ("Knee", "SeriesDescription")
    assert (found.laterality, found.view_position) == ("R", "AP")


def test_shows_the_mapper_plain_text_of_allow_listed_attributes_only():
    mapper = FixedRegion([])
    code = encoded("CodeValue", "T-D8800") + encoded("CodeMeaning", "Unterarm") + encoded("PatientName", "Muster")
    record(
        {
            "AnatomicRegionSequence": ("SQ", sequence(code)),
            "SeriesDescription": "HÜFTE".encode(),
            0x00091010: ("LO", b"x"),
        },
        region_rules=mapper,
    )
    (seen,) = mapper.seen
    assert {element.keyword for element in seen} == {"AnatomicRegionSequence", "SeriesDescription"}
    assert seen.SeriesDescription == "HÜFTE"
    assert {element.keyword for element in seen.AnatomicRegionSequence[0]} == {"CodeValue", "CodeMeaning"}


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"SOPClassUID": STORAGE + "88.11"}, RejectReason.NOT_AN_IMAGE, "a structured report"),
        ({"SOPClassUID": STORAGE + "88.59"}, RejectReason.NOT_AN_IMAGE, "a key object selection"),
        ({"SOPClassUID": STORAGE + "11.1"}, RejectReason.NOT_AN_IMAGE, "a presentation state"),
        ({"SOPClassUID": STORAGE + "66.4"}, RejectReason.NOT_AN_IMAGE, "a segmentation"),
        ({"SOPClassUID": STORAGE + "9.1.1"}, RejectReason.NOT_AN_IMAGE, "a waveform"),
        ({"SOPClassUID": STORAGE + "481.2"}, RejectReason.NOT_AN_IMAGE, "a radiotherapy dose"),
        ({"SOPClassUID": STORAGE + "481.5"}, RejectReason.NOT_AN_IMAGE, "a radiotherapy plan"),
        ({"SOPClassUID": STORAGE + "104.1"}, RejectReason.NOT_AN_IMAGE, "an encapsulated document"),
        ({"SOPClassUID": None, "Modality": "SR"}, RejectReason.NOT_AN_IMAGE, "a structured report"),
        ({"SOPClassUID": "1.2.3", "Modality": "RTSTRUCT"}, RejectReason.NOT_AN_IMAGE, "a radiotherapy structure set"),
        ({"OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity": 0}, RejectReason.NOT_AN_IMAGE, "a DICOMDIR"),
        ({"Modality": "CT"}, RejectReason.WRONG_MODALITY, "Modality CT, expected CR, DX, RG"),
        ({"Modality": "Muster, Erika"}, RejectReason.WRONG_MODALITY, "Modality OTHER, expected CR, DX, RG"),
        (
            {"Modality": None, "SOPClassUID": "1.2.3"},
            RejectReason.WRONG_MODALITY,
            "Modality absent, expected CR, DX, RG",
        ),
        ({"PixelData": None}, RejectReason.NO_PIXEL_DATA, "no PixelData element, or an empty one"),
        (
            {"PixelData": None, "FloatPixelData": ("OF", bytes(24))},
            RejectReason.UNSUPPORTED_PIXELS,
            "pixels in floating point, expected integers",
        ),
        ({"PixelData": b""}, RejectReason.NO_PIXEL_DATA, "no PixelData element, or an empty one"),
        ({"SamplesPerPixel": 3}, RejectReason.NOT_GRAYSCALE, "SamplesPerPixel 3, expected 1"),
        ({"PhotometricInterpretation": "RGB"}, RejectReason.NOT_GRAYSCALE, "PhotometricInterpretation RGB, "),
        ({"PhotometricInterpretation": "Muster"}, RejectReason.NOT_GRAYSCALE, "PhotometricInterpretation unknown, "),
        ({"PhotometricInterpretation": None}, RejectReason.NOT_GRAYSCALE, "PhotometricInterpretation absent, "),
        ({"NumberOfFrames": "96"}, RejectReason.MULTI_FRAME, "NumberOfFrames 96, expected 1"),
        ({"Rows": 0}, RejectReason.BAD_GEOMETRY, "Rows 0, Columns 3; both have to be 1 to 65535"),
        ({"Columns": None}, RejectReason.BAD_GEOMETRY, "Rows 2, Columns None; both have to be 1 to 65535"),
        ({"Rows": ("IS", b"70000")}, RejectReason.BAD_GEOMETRY, "Rows 70000, Columns 3; both have to be 1 to 65535"),
        ({"Rows": ("SS", b"\xff\xff")}, RejectReason.BAD_GEOMETRY, "Rows -1, Columns 3; both have to be 1 to 65535"),
        ({"BurnedInAnnotation": "YES"}, RejectReason.BURNED_IN_ANNOTATION, "BurnedInAnnotation YES"),
    ],
)
def test_refuses_with_a_reason(changes, reason, detail):
    error = rejected(changes)
    assert error.reason is reason
    assert error.detail.startswith(detail)


def test_checks_in_a_fixed_order():
    """Each of these files has all the faults of the ones after it."""
    faults = [
        (RejectReason.NOT_AN_IMAGE, {"SOPClassUID": STORAGE + "88.11"}),
        (RejectReason.WRONG_MODALITY, {"Modality": "CT"}),
        (RejectReason.NO_PIXEL_DATA, {"PixelData": None}),
        (RejectReason.NOT_GRAYSCALE, {"SamplesPerPixel": 3}),
        (RejectReason.MULTI_FRAME, {"NumberOfFrames": "2"}),
        (RejectReason.BAD_GEOMETRY, {"Rows": 0}),
        (RejectReason.BURNED_IN_ANNOTATION, {"BurnedInAnnotation": "YES"}),
    ]
    for index, (reason, _) in enumerate(faults):
        changes = {}
        for _, fault in faults[index:]:
            changes |= fault
        assert rejected(changes).reason is reason


def test_says_that_a_header_breaks_off_before_its_pixels():
    data = dicom_bytes().replace(encoded("KVP", "70"), element(0x00180060, "DS", b"70", length=60_000))
    with pytest.raises(ImageRejectedError) as caught:
        header_record(read_file(data), context())
    assert caught.value.reason is RejectReason.BAD_HEADER
    assert "(0018,0060) claims 60000 bytes" in caught.value.detail


def test_takes_other_modalities_and_all_where_asked_for():
    assert record({"Modality": "XA"}, modalities=frozenset({"XA"})).modality == "XA"
    assert record({"Modality": "CT"}, modalities=None).modality == "CT"
    assert record({"Modality": "Muster"}, modalities=None).modality == "OTHER"
    assert record({"Modality": None, "SOPClassUID": "1.2.3"}, modalities=None).modality is None


@pytest.mark.parametrize("modality", [None, "", " "])
def test_tells_an_empty_modality_from_the_sop_class(modality):
    assert record({"Modality": modality}).modality == "CR"


def test_takes_several_frames_where_asked_for():
    for frames in ("first", "all"):
        assert record({"NumberOfFrames": "96"}, frames=frames).number_of_frames == 96


@pytest.mark.parametrize("written", ["1", "0", "-3", "", "one"])
def test_takes_a_meaningless_number_of_frames_for_one(written):
    assert record({"NumberOfFrames": written}).number_of_frames == 1


def test_takes_burned_in_annotation_where_allowed():
    assert record({"BurnedInAnnotation": "YES"}, allow_burned_in=True).burned_in_annotation == "yes"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"BurnedInAnnotation": "NO"}, "no"),
        ({}, "unknown"),
        ({"ConversionType": "DF"}, "suspected"),
        ({"SOPClassUID": STORAGE + "7"}, "suspected"),
        ({"ImageType": "DERIVED\\SECONDARY\\SCREEN SAVE"}, "suspected"),
    ],
)
def test_says_how_likely_text_is_in_the_pixels(changes, expected):
    assert record(changes).burned_in_annotation == expected


@pytest.mark.parametrize("written", ["MONOCHROME1", " monochrome1 ", "MONOCHROME1\0"])
def test_reads_defined_terms_in_any_spelling(written):
    assert record({"PhotometricInterpretation": written}).photometric_interpretation == "MONOCHROME1"


@pytest.mark.parametrize("syntax", ["50", "51", "81", "91", "93", "112", "203", "103"])
def test_knows_lossy_syntaxes(syntax):
    assert record(label=f"1.2.840.10008.1.2.4.{syntax}").lossy


@pytest.mark.parametrize("syntax", ["57", "70", "80", "90", "92", "110", "201", "202"])
def test_knows_lossless_syntaxes(syntax):
    label = f"1.2.840.10008.1.2.4.{syntax}"
    assert not record(label=label).lossy
    assert record({"LossyImageCompression": "01"}, label=label).lossy
    assert not record({"LossyImageCompression": "00"}, label=label).lossy


@pytest.mark.parametrize(
    ("flag", "ratio", "method", "expected"),
    [
        (None, "10.5", None, True),
        (None, "1.5\\12", "ISO_15444_1\\ISO_10918_1", True),
        (None, None, "ISO_10918_1", True),
        ("", "10.5", "ISO_10918_1", True),
        ("", "", "ISO_10918_1", True),
        ("00", "10.5", None, True),
        ("01", "1", None, True),
        ("00", None, "ISO_10918_1", False),
        ("00", "1", "ISO_10918_1", False),
        (None, "1.0", None, False),
        (None, "0.4", "", False),
        (None, "much", None, False),
        ("", "", "", False),
    ],
)
def test_knows_a_loss_by_its_ratio_and_method(flag, ratio, method, expected):
    names = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
    changes = {name: value for name, value in zip(names, (flag, ratio, method), strict=True) if value is not None}
    assert record(changes).lossy is expected


@pytest.mark.parametrize(
    ("pixel", "imager", "calibration", "expected"),
    [
        ("0.15\\0.15", None, None, (0.15, None, "unspecified", True)),
        ("0.15\\0.15", "0.15\\0.15", None, (0.15, 0.15, "detector", True)),
        ("0.15\\0.15", "0.1500\\0.15001", None, (0.15, 0.15, "detector", True)),
        ("0.13\\0.13", "0.15\\0.15", None, (0.13, 0.15, "calibrated", True)),
        ("0.13\\0.13", "0.15\\0.15", "GEOMETRY", (0.13, 0.15, "geometry", True)),
        ("0.13\\0.13", "0.15\\0.15", "FIDUCIAL", (0.13, 0.15, "fiducial", True)),
        ("0.13\\0.13", "0.15\\0.15", "Muster", (0.13, 0.15, "calibrated", True)),
        (None, "0.2\\0.2", None, (None, 0.2, "detector", True)),
        ("0.000\\0.000", None, None, (None, None, None, None)),
        ("0.000\\0.000", "0.2\\0.2", None, (None, 0.2, "detector", True)),
        ("0.2\\0.1", None, None, (0.2, None, "unspecified", False)),
        ("0,15\\0,15", None, None, (0.15, None, "unspecified", True)),
        ("0.150000000000000001\\0.15", None, None, (0.15, None, "unspecified", True)),
        ("0.15", None, None, (None, None, None, None)),
        ("0.15\\0.15\\0.15", None, None, (None, None, None, None)),
        ("NaN\\NaN", None, None, (None, None, None, None)),
        ("1e400\\1e400", None, None, (None, None, None, None)),
        ("-0.15\\-0.15", None, None, (None, None, None, None)),
        ("150\\150", None, None, (None, None, None, None)),
        ("", None, None, (None, None, None, None)),
    ],
)
def test_gives_spacings_with_their_provenance(pixel, imager, calibration, expected):
    found = record({"PixelSpacing": pixel, "ImagerPixelSpacing": imager, "PixelSpacingCalibrationType": calibration})
    assert (
        found.pixel_spacing_row_mm,
        found.imager_spacing_row_mm,
        found.spacing_source,
        found.pixels_square,
    ) == expected


def test_keeps_rows_and_columns_of_spacings_apart():
    found = record({"PixelSpacing": "0.2\\0.1", "ImagerPixelSpacing": "0.4\\0.3"})
    assert (found.pixel_spacing_row_mm, found.pixel_spacing_column_mm) == (0.2, 0.1)
    assert (found.imager_spacing_row_mm, found.imager_spacing_column_mm) == (0.4, 0.3)


def test_takes_the_spacing_of_a_scanned_film():
    found = record({"PixelSpacing": None, "NominalScannedPixelSpacing": "0.175\\0.175"})
    assert (found.pixel_spacing_row_mm, found.spacing_source) == (0.175, "scanner")


@pytest.mark.parametrize(("ratio", "square"), [("1\\1", True), ("2\\1", False), ("0\\0", None), ("1", None)])
def test_flags_pixels_that_are_not_square_by_their_ratio(ratio, square):
    assert record({"PixelSpacing": None, "PixelAspectRatio": ratio}).pixels_square is square


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Exposure": "12"}, (12.0, None)),
        ({"Exposure": "12", "ExposureInuAs": "12345"}, (12.345, None)),
        ({"ExposureInuAs": "0", "Exposure": "12"}, (12.0, None)),
        ({"ExposureInmAs": 1.25, "Exposure": "1"}, (1.25, None)),
        ({"ExposureTime": "8", "XRayTubeCurrent": "250"}, (2.0, 8.0)),
        ({"ExposureTimeInuS": "8250"}, (None, 8.25)),
        ({"ExposureTimeInms": 8.25, "ExposureTime": "8"}, (None, 8.25)),
        ({"Exposure": "-1", "ExposureTime": "NaN"}, (None, None)),
        ({"Exposure": "1e30"}, (None, None)),
        ({"Exposure": ""}, (None, None)),
    ],
)
def test_gives_the_finest_exposure(changes, expected):
    found = record(changes)
    assert (found.exposure_mas, found.exposure_time_ms) == expected


@pytest.mark.parametrize(("written", "expected"), [("125", 125.0), ("70.5 ", 70.5), ("0", None), ("70kV", None)])
def test_gives_the_tube_voltage(written, expected):
    assert record({"KVP": written}).kvp == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("FIXED", "FIXED"),
        ("reciprocating\\FOCUSED\\FOCUSED", "RECIPROCATING+FOCUSED"),
        ("NONE", "NONE"),
        ("Muster's own", None),
        ("Muster\\FIXED", "FIXED"),
        ("", None),
    ],
)
def test_gives_defined_terms_of_the_grid_only(written, expected):
    assert record({"Grid": written}).grid == expected


@pytest.mark.parametrize(
    ("sex", "expected"),
    [("M", "M"), ("f", "F"), ("O ", "O"), ("FEMALE", "F"), ("", None), ("U", None), ("?", None), ("W", None)],
)
def test_gives_the_sex_in_three_letters(sex, expected):
    assert record({"PatientSex": sex}).patient_sex == expected


@pytest.mark.parametrize(
    ("age", "born", "studied", "expected"),
    [
        ("047Y", None, "20200311", 47),
        ("089Y", None, "20200311", 89),
        ("090Y", None, "20200311", 90),
        ("101Y", None, "20200311", 90),
        ("006M", None, "20200311", 0),
        ("", "19800312", "20200311", 39),
        (None, "19800311", "20200311", 40),
        (None, "19200101", "20200311", 90),
        (None, "1980.03.11", "2020.03.11", 40),
        (None, "20210101", "20200311", None),
        (None, "18990101", "20390311", None),
        (None, "00000000", "20200311", None),
        (None, "19800311", "00000000", None),
        ("no age", "19800311", "20200311", 40),
    ],
)
def test_gives_the_age_in_whole_years_up_to_ninety(age, born, studied, expected):
    changes = {"PatientAge": age, "PatientBirthDate": born, "StudyDate": studied}
    assert record(changes).patient_age_years == expected


def test_follows_the_date_policy():
    shift = timedelta(PSEUDONYMS.date_shift_days(record().patient_key))
    assert record(date_policy="shift").study_date_shifted == date(2020, 3, 11) - shift
    assert record(date_policy="shift").study_year is None
    assert (record(date_policy="year").study_date_shifted, record(date_policy="year").study_year) == (None, 2020)
    assert (record(date_policy="drop").study_date_shifted, record(date_policy="drop").study_year) == (None, None)


@pytest.mark.parametrize("keyword", ["SeriesDate", "AcquisitionDate", "ContentDate"])
def test_takes_another_date_where_the_studys_is_unusable(keyword):
    assert record({"StudyDate": "00000000", keyword: "20190101"}, date_policy="year").study_year == 2019


def test_moves_all_dates_of_a_patient_alike():
    first, second = record(), record({"StudyDate": "20200411", "StudyInstanceUID": "9.9"})
    assert second.study_date_shifted - first.study_date_shifted == timedelta(31)


def test_never_joins_patients_without_an_id():
    empty = {"PatientID": "", "StudyInstanceUID": "1.2.3.4"}
    assert record(empty).patient_key == record(empty | {"SOPInstanceUID": "7.7"}).patient_key
    assert record(empty).patient_key != record(empty | {"StudyInstanceUID": "1.2.3.5"}).patient_key
    nothing = {"PatientID": None, "StudyInstanceUID": None, "SeriesInstanceUID": None, "SOPInstanceUID": None}
    one, other = record(nothing), record(nothing | {"KVP": "71"})
    assert record(nothing) == one
    for key in ("patient_key", "study_key", "series_key", "instance_key"):
        assert getattr(one, key) != getattr(other, key)


def test_finds_the_content_alike_with_and_without_pixels(tmp_path):
    data = dicom_bytes({"PatientID": None, "SOPInstanceUID": "", "StudyInstanceUID": None, "SeriesInstanceUID": None})
    (tmp_path / "file").write_bytes(data)
    assert read_header(tmp_path / "file", context()) == header_record(read_file(data), context())


HOSTILE = ["../../etc/passwd", "a/b\\c.d", "." * 300, "1.2." * 75, "\udc80\udfff", "日本", "%00", "';drop table images"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_turns_hostile_identifiers_into_plain_keys(hostile):
    raw = hostile.encode("utf-8", "surrogatepass")
    names = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    found = record({**dict.fromkeys(names, raw), "DeviceSerialNumber": raw})
    for key in (found.patient_key, found.study_key, found.series_key, found.instance_key, found.device_key):
        assert len(key) == 32
        assert set(key) <= set("0123456789abcdef")


def test_hides_private_uids_of_class_and_syntax():
    found = record({"SOPClassUID": "1.3.46.670589.5.0.1.1"}, label="1.2.840.113619.5.2", modalities=None)
    assert (found.sop_class_uid, found.transfer_syntax_uid) == ("OTHER", "OTHER")


def test_takes_the_class_of_the_meta_group_where_the_dataset_has_none():
    assert record({"SOPClassUID": None}).sop_class_uid == CR_STORAGE


def test_marks_synthetic_data():
    assert record({"SyntheticData": "YES"}).is_synthetic
    assert not record({"SyntheticData": "NO"}).is_synthetic


MARKER = "Zyxwv"


def planted():
    """Every text attribute of the dictionary's patient, study, device and order groups, each with a marker."""
    kept = {"SpecificCharacterSet", "PhotometricInterpretation", "Modality", "SOPClassUID", "Rows", "Columns"}
    groups = {0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x0040, 0x0054}
    texts = {"AE", "AS", "CS", "DA", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT", "DT"}
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in texts and tag >> 16 in groups and keyword not in kept:
            yield tag, (vr, f"{MARKER}{tag:08X}".encode())


def test_stores_the_accession_number_as_a_pseudonym():
    assert record({"AccessionNumber": " A-77 "}).accession_key == PSEUDONYMS.accession("A-77")
    assert record({"AccessionNumber": " "}).accession_key is None


def test_lets_no_planted_value_through():
    """More than a thousand attributes hold a marker; the record holds none, in any form."""
    changes = dict(planted())
    assert len(changes) > 1000
    changes[0x00091010] = ("LO", f"{MARKER}private".encode())
    changes[0x60003000] = ("OW", f"{MARKER}overlay".encode())
    code = b"".join(encoded(keyword, f"{MARKER}code") for keyword in ("CodeValue", "CodingSchemeDesignator"))
    nested = sequence(code + encoded("CodeMeaning", f"{MARKER}meaning") + encoded("PatientName", MARKER))
    for keyword in ("AnatomicRegionSequence", "ViewCodeSequence", "ProcedureCodeSequence", "IconImageSequence"):
        changes[keyword] = ("SQ", nested)
    data = MARKER.encode() * 25 + bytes(3) + dicom_bytes({0x00020016: ("AE", MARKER.encode()), **changes})[128:]
    parsed = read_file(data)
    for policy in ("shift", "year", "drop"):
        found = header_record(parsed, context(region_rules=RegionRules.load(), date_policy=policy, modalities=None))
        assert MARKER.lower() not in repr(found).lower()
        assert MARKER.encode().hex() not in repr(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"Modality": MARKER},
        {"PhotometricInterpretation": MARKER},
        {"SOPClassUID": MARKER, "Modality": MARKER},
        {"PixelData": None, "PatientID": ("LO", MARKER.encode())},
        {"BurnedInAnnotation": f"YES {MARKER}"},
    ],
)
def test_lets_no_planted_value_into_a_reject(changes):
    assert MARKER not in str(rejected(changes))


@st.composite
def mutations(draw):
    """A radiograph with a few bytes changed, cut out, doubled or moved."""
    code = sequence(encoded("CodeValue", "T-D8800") + encoded("CodeMeaning", "Knie"), undefined=True)
    data = bytearray(
        dicom_bytes(
            {"AnatomicRegionSequence": ("SQ", sequence(encoded("CodeValue", "A")))},
            syntax=draw(st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])),
            label=draw(st.sampled_from(["same", None, EXPLICIT, "1.2.840.10008.1.2.4.70"])),
        )
    )
    if draw(st.booleans()):
        place = draw(st.integers(132, len(data)))
        data[place:place] = element(0x00081110, "SQ", code, length=UNDEFINED)
    for _ in range(draw(st.integers(1, 6))):
        place, size = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        change = draw(st.sampled_from(["bytes", "cut", "double", "end", "length"]))
        if change == "bytes":
            data[place : place + size] = draw(st.binary(min_size=size, max_size=size))
        elif change == "cut":
            del data[place : place + size]
        elif change == "double":
            data[place:place] = data[place : place + size * 10]
        elif change == "end":
            del data[max(place, 100) :]
        else:
            data[place : place + 4] = struct.pack("<L", draw(st.sampled_from([0, 1, 0xFFFF, 0x7FFFFFFF, UNDEFINED])))
    return bytes(data)


RULES = context(region_rules=RegionRules.load(), modalities=None, frames="all", allow_burned_in=True)


@settings(max_examples=500)
@given(data=mutations())
def test_ends_every_mutation_as_a_record_or_a_reject(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutation.dcm"
    path.write_bytes(data)
    outcomes = []
    for read in (lambda: read_header(path, RULES), lambda: header_record(read_file(data), RULES)):
        try:
            outcomes.append(read())
        except ImageRejectedError as error:
            outcomes.append(error.reason)
    assert outcomes[0] == outcomes[1]


def test_takes_a_dataset_made_by_hand():
    dataset = Dataset()
    for keyword, value in RADIOGRAPH.items():
        setattr(dataset, keyword, value.split("\\") if keyword in {"ImageType", "PixelSpacing"} else value)
    found = header_record(ParsedFile(dataset=dataset, transfer_syntax_uid=EXPLICIT), context())
    assert found == record()
