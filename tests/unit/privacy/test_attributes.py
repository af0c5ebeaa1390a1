"""The allow-list against the dictionary, the Basic Profile of PS3.15 and the record."""

import dataclasses
from pathlib import Path

import pytest
from pydicom.datadict import keyword_for_tag

from radio_io.dicom.header import HeaderRecord
from radio_io.privacy.attributes import ALLOWED_TAGS, ATTRIBUTES, Action

PROFILE = Path(__file__).with_name("basic_profile_2026c.tsv")
UNCHANGED = {Action.KEEP}
IDENTITY = {"instance_key", "patient_key", "study_key", "series_key", "device_key", "accession_key"}
# Told from the file meta information, which is not part of the dataset.
FROM_META = {"transfer_syntax_uid"}


def basic_profile():
    """Tag -> action of the standard's table (single tags; repeating groups are never allow-listed)."""
    rows = [line.split("\t") for line in PROFILE.read_text().splitlines() if not line.startswith("#")]
    return {int(row[0].replace(",", ""), 16): row[1] for row in rows if len(row) == 2}


def test_the_standards_table_is_whole():
    profile = basic_profile()
    assert len(profile) > 600
    assert profile[0x00100010] == "Z"  # PatientName
    assert profile[0x0008103E] == "X"  # SeriesDescription
    assert profile[0x00080018] == "U"  # SOPInstanceUID


@pytest.mark.parametrize("rule", ATTRIBUTES.values(), ids=lambda rule: rule.keyword)
def test_names_the_tag_of_the_dictionary(rule):
    assert keyword_for_tag(rule.tag) == rule.keyword


@pytest.mark.parametrize("rule", ATTRIBUTES.values(), ids=lambda rule: rule.keyword)
def test_states_the_action_of_the_standard(rule):
    assert rule.basic_profile == basic_profile().get(rule.tag, "")


@pytest.mark.parametrize("tag", sorted(basic_profile()), ids=lambda tag: f"{tag:08X}")
def test_keeps_nothing_unchanged_that_the_standard_removes(tag):
    rule = ATTRIBUTES.get(keyword_for_tag(tag))
    assert rule is None or rule.action not in UNCHANGED


def test_gives_a_reason_for_each():
    assert all(rule.reason for rule in ATTRIBUTES.values())


def test_allows_no_private_group_overlay_curve_or_pixels():
    assert not [tag for tag in ALLOWED_TAGS if tag >> 16 & 1]
    assert not [tag for tag in ALLOWED_TAGS if tag >> 24 in {0x50, 0x60} or tag >> 16 == 0x7FE0]


def test_allows_exactly_the_reviewed_attributes():
    """Adding an attribute takes a second look: change this list in the same commit, and say why."""
    unchanged = {rule.keyword for rule in ATTRIBUTES.values() if rule.action is Action.KEEP}
    assert unchanged == {
        "SOPClassUID", "Modality", "SyntheticData", "BurnedInAnnotation", "Rows", "Columns", "NumberOfFrames",
        "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
        "PhotometricInterpretation", "PresentationLUTShape", "LossyImageCompression", "PixelSpacing",
        "PixelSpacingCalibrationType", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio", "KVP",
        "Exposure", "ExposureInuAs", "ExposureInmAs", "XRayTubeCurrent", "ExposureTime", "ExposureTimeInuS",
        "ExposureTimeInms", "DistanceSourceToDetector", "Grid",
    }  # fmt: skip
    assert len(ATTRIBUTES) == 78


def test_explains_every_column_of_the_record_and_no_other():
    explained = {column for rule in ATTRIBUTES.values() for column in rule.columns}
    columns = {field.name for field in dataclasses.fields(HeaderRecord)}
    assert explained == columns - FROM_META


def test_stores_identifiers_as_pseudonyms_only():
    for rule in ATTRIBUTES.values():
        if rule.action is Action.KEEP:
            assert not IDENTITY & set(rule.columns)
