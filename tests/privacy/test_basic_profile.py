"""The Basic Profile of PS3.15, as an independent tool lists it, against the allow-list and the page about it."""

from pathlib import Path

import pytest
from pydicom.datadict import keyword_for_tag

from privacy.attribute_table import attribute_page, basic_profile
from radio_io.privacy.attributes import ALLOWED_TAGS, ATTRIBUTES, Action

PROJECT = Path(__file__).parents[2]
OURS = PROJECT / "tests" / "unit" / "privacy" / "basic_profile_2026c.tsv"
PROFILE = basic_profile()
# The only attributes of the profile of which anything is stored, and as what.
STORED_IN_PART = {
    Action.PSEUDONYM: {
        "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
        "DeviceSerialNumber", "AccessionNumber",
    },
    Action.COARSEN: {"PatientSex", "PatientAge", "PatientBirthDate"},
    Action.SHIFT: {"StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"},
    Action.VOCABULARY: {
        "RequestAttributesSequence", "SeriesDescription", "StudyDescription", "ProtocolName",
        "AcquisitionProtocolDescription", "AcquisitionDeviceProcessingDescription", "RequestedProcedureDescription",
        "PerformedProcedureStepDescription", "ScheduledProcedureStepDescription",
    },
}  # fmt: skip


def test_the_table_of_the_tests_is_that_of_the_tool():
    rows = [line.split("\t") for line in OURS.read_text().splitlines() if not line.startswith("#")]
    ours = {
        tuple(int(part, 16) for part in ",".join([row[0], *row[2:]]).split(",")): row[1].replace("U*", "U")
        for row in rows
    }
    assert ours == {tag: action.replace("U*", "U") for tag, action in PROFILE.items()}
    assert len(PROFILE) > 640


@pytest.mark.parametrize("action", sorted(set(PROFILE.values())))
def test_stores_nothing_unchanged_of_what_the_profile_changes(action):
    tags = [tag for tag, each in PROFILE.items() if each == action and len(tag) == 2]
    rules = [
        ATTRIBUTES[name] for group, element in tags if (name := keyword_for_tag(group << 16 | element)) in ATTRIBUTES
    ]
    assert all(rule.action is not Action.KEEP for rule in rules)
    assert all(action.replace("*", "") == rule.basic_profile.replace("*", "") for rule in rules)


def test_stores_in_part_only_the_listed_exceptions():
    keywords = {keyword_for_tag(tag[0] << 16 | tag[1]) for tag in PROFILE if len(tag) == 2} & set(ATTRIBUTES)
    found = {action: {name for name in keywords if ATTRIBUTES[name].action is action} for action in Action}
    assert {action: names for action, names in found.items() if names} == STORED_IN_PART


def test_reads_no_repeating_group_of_the_profile():
    for group, element, *mask in (tag for tag in PROFILE if len(tag) > 2):
        assert not [
            tag
            for tag in ALLOWED_TAGS
            if (tag >> 16 & mask[0], tag & mask[1] & 0xFFFF) == (group & mask[0], element & mask[1])
        ]


def test_the_page_shows_the_tables_as_they_are():
    page = (PROJECT / "docs" / "privacy_attributes.md").read_text(encoding="utf-8")
    assert page == attribute_page(), "run: python tests/privacy/attribute_table.py > docs/privacy_attributes.md"
