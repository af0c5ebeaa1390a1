"""The allow-list: every attribute that is read for a record, what becomes of it, and why that is safe.

Comes in: nothing. Goes out: `ATTRIBUTES`, one row an attribute, and `ALLOWED_TAGS`. Refuses everything else: the
header reader skips an attribute without a row here, private groups, overlays, curves, icons, the file meta header's
titles and the preamble included, before its value is looked at.

`basic_profile` is the action of the Basic Application Level Confidentiality Profile (DICOM PS3.15 table E.1-1, 2026c):
X remove, Z empty, D dummy value, U new UID, combined where it depends on the type; empty where the standard lets the
attribute stay. An attribute with an action there is never stored unchanged.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Action(StrEnum):
    """What becomes of an attribute's value."""

    KEEP = "keep"
    """Stored as a number, or as a defined term of the standard; anything else becomes NULL or OTHER."""
    VOCABULARY = "vocabulary"
    """Mapped to a word of a table of this project; the text itself is dropped."""
    COARSEN = "coarsen"
    """Stored with less detail."""
    PSEUDONYM = "pseudonym"
    """Stored as a keyed hash."""
    SHIFT = "shift"
    """A date: moved back by a patient's number of weeks, or cut to the year, or dropped."""
    DROP = "drop"
    """Read to decide or to compute something; nothing of it is stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeRule:
    """One row of the allow-list; `columns` are the fields of `HeaderRecord` that depend on the attribute."""

    keyword: str
    tag: int
    action: Action
    basic_profile: str
    columns: tuple[str, ...]
    reason: str


_KEEP, _VOCABULARY, _COARSEN = Action.KEEP, Action.VOCABULARY, Action.COARSEN
_PSEUDONYM, _SHIFT, _DROP = Action.PSEUDONYM, Action.SHIFT, Action.DROP

_UIDS = "technical identifier; one-way under the key"
_PLACE = "names the region, side or view; only words of the region table are stored"
_FREE_TEXT = "free text, may name people; " + _PLACE
_FALLBACK = "stands in where the identifier above it is empty"
_REGION = "region region_source laterality view_position"
_SPACING = "pixel_spacing_row_mm pixel_spacing_column_mm spacing_source pixels_square"
_IMAGER = "imager_spacing_row_mm imager_spacing_column_mm spacing_source pixels_square"
_DATES = "study_date_shifted study_year"

# keyword, tag, action, Basic Profile, columns, reason
_ROWS: tuple[tuple[str, int, Action, str, str, str], ...] = (
    # identity
    ("PatientID", 0x00100020, _PSEUDONYM, "Z/D", "patient_key study_date_shifted", "joins the images of a patient"),
    ("IssuerOfPatientID", 0x00100021, _PSEUDONYM, "X", "patient_key", "tells equal IDs of two hospitals apart"),
    ("StudyInstanceUID", 0x0020000D, _PSEUDONYM, "U", "study_key patient_key", _UIDS),
    ("SeriesInstanceUID", 0x0020000E, _PSEUDONYM, "U", "series_key study_key patient_key", _UIDS),
    ("SOPInstanceUID", 0x00080018, _PSEUDONYM, "U", "instance_key series_key study_key patient_key", _UIDS),
    (
        "AccessionNumber",
        0x00080050,
        _PSEUDONYM,
        "Z",
        "accession_key",
        "joins labels from reports; one-way under the key",
    ),
    # kind
    ("SOPClassUID", 0x00080016, _KEEP, "", "sop_class_uid modality", "registered UIDs of kinds of image"),
    ("Modality", 0x00080060, _KEEP, "", "modality", "defined terms"),
    ("SyntheticData", 0x0008001C, _KEEP, "", "is_synthetic", "YES or NO"),
    ("BurnedInAnnotation", 0x00280301, _KEEP, "", "burned_in_annotation", "YES or NO"),
    ("ConversionType", 0x00080064, _DROP, "", "burned_in_annotation", "tells scans and screen captures"),
    ("ImageType", 0x00080008, _DROP, "", "burned_in_annotation", "tells screen saves"),
    ("OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity", 0x00041200, _DROP, "", "", "tells a DICOMDIR"),
    ("SpecificCharacterSet", 0x00080005, _DROP, "", "", "needed to read texts"),
    # pixels
    ("Rows", 0x00280010, _KEEP, "", "rows", "number"),
    ("Columns", 0x00280011, _KEEP, "", "columns", "number"),
    ("NumberOfFrames", 0x00280008, _KEEP, "", "number_of_frames", "number"),
    ("SamplesPerPixel", 0x00280002, _KEEP, "", "samples_per_pixel", "number"),
    ("BitsAllocated", 0x00280100, _KEEP, "", "bits_allocated", "number"),
    ("BitsStored", 0x00280101, _KEEP, "", "bits_stored", "number"),
    ("HighBit", 0x00280102, _KEEP, "", "high_bit", "number"),
    ("PixelRepresentation", 0x00280103, _KEEP, "", "pixel_representation", "0 or 1"),
    ("PhotometricInterpretation", 0x00280004, _KEEP, "", "photometric_interpretation", "defined terms"),
    ("PresentationLUTShape", 0x20500020, _KEEP, "", "presentation_lut_shape", "defined terms"),
    ("LossyImageCompression", 0x00282110, _KEEP, "", "lossy", "00 or 01"),
    ("LossyImageCompressionRatio", 0x00282112, _DROP, "", "lossy", "tells a loss that the flag does not"),
    ("LossyImageCompressionMethod", 0x00282114, _DROP, "", "lossy", "tells a loss that the flag does not"),
    # geometry
    ("PixelSpacing", 0x00280030, _KEEP, "", _SPACING, "numbers"),
    ("PixelSpacingCalibrationType", 0x00280A02, _KEEP, "", "spacing_source", "defined terms"),
    ("ImagerPixelSpacing", 0x00181164, _KEEP, "", _IMAGER, "numbers"),
    ("NominalScannedPixelSpacing", 0x00182010, _KEEP, "", _SPACING, "numbers"),
    ("PixelAspectRatio", 0x00280034, _KEEP, "", "pixels_square", "numbers"),
    # exposure
    ("KVP", 0x00180060, _KEEP, "", "kvp", "number"),
    ("Exposure", 0x00181152, _KEEP, "", "exposure_mas", "number"),
    ("ExposureInuAs", 0x00181153, _KEEP, "", "exposure_mas", "number"),
    ("ExposureInmAs", 0x00189332, _KEEP, "", "exposure_mas", "number"),
    ("XRayTubeCurrent", 0x00181151, _KEEP, "", "exposure_mas", "number"),
    ("ExposureTime", 0x00181150, _KEEP, "", "exposure_time_ms exposure_mas", "number"),
    ("ExposureTimeInuS", 0x00188150, _KEEP, "", "exposure_time_ms", "number"),
    ("ExposureTimeInms", 0x00189328, _KEEP, "", "exposure_time_ms", "number"),
    ("DistanceSourceToDetector", 0x00181110, _KEEP, "", "distance_source_to_detector_mm", "number"),
    ("Grid", 0x00181166, _KEEP, "", "grid", "defined terms"),
    # device
    (
        "Manufacturer",
        0x00080070,
        _VOCABULARY,
        "",
        "manufacturer model device_key",
        "common makers; rare ones are OTHER",
    ),
    ("ManufacturerModelName", 0x00081090, _VOCABULARY, "", "model", "common models; rare ones are OTHER"),
    ("DeviceSerialNumber", 0x00181000, _PSEUDONYM, "X/Z/D", "device_key", "tells devices apart; one-way under the key"),
    # patient
    ("PatientSex", 0x00100040, _COARSEN, "Z", "patient_sex", "needed to see bias; M, F, O or NULL"),
    (
        "PatientAge",
        0x00101010,
        _COARSEN,
        "X",
        "patient_age_years",
        "needed to see bias; whole years, 90 and above are 90",
    ),
    ("PatientBirthDate", 0x00100030, _COARSEN, "Z", "patient_age_years", "gives the age where PatientAge is absent"),
    ("StudyDate", 0x00080020, _SHIFT, "Z", f"{_DATES} patient_age_years", "intervals between studies of a patient"),
    ("SeriesDate", 0x00080021, _SHIFT, "X/D", f"{_DATES} patient_age_years", _FALLBACK),
    ("AcquisitionDate", 0x00080022, _SHIFT, "X/Z", f"{_DATES} patient_age_years", _FALLBACK),
    ("ContentDate", 0x00080023, _SHIFT, "Z/D", f"{_DATES} patient_age_years", _FALLBACK),
    # region, side and view
    ("AnatomicRegionSequence", 0x00082218, _VOCABULARY, "", _REGION, _PLACE),
    ("PrimaryAnatomicStructureSequence", 0x00082228, _VOCABULARY, "", _REGION, _PLACE),
    ("BodyPartExamined", 0x00180015, _VOCABULARY, "", _REGION, _PLACE),
    ("ViewCodeSequence", 0x00540220, _VOCABULARY, "", _REGION, _PLACE),
    ("ViewPosition", 0x00185101, _VOCABULARY, "", _REGION, _PLACE),
    ("Laterality", 0x00200060, _VOCABULARY, "", _REGION, _PLACE),
    ("ImageLaterality", 0x00200062, _VOCABULARY, "", _REGION, _PLACE),
    ("FrameLaterality", 0x00209072, _VOCABULARY, "", _REGION, _PLACE),
    ("ProcedureCodeSequence", 0x00081032, _VOCABULARY, "", _REGION, _PLACE),
    ("RequestedProcedureCodeSequence", 0x00321064, _VOCABULARY, "", _REGION, _PLACE),
    ("PerformedProtocolCodeSequence", 0x00400260, _VOCABULARY, "", _REGION, _PLACE),
    ("RequestAttributesSequence", 0x00400275, _VOCABULARY, "X", _REGION, _FREE_TEXT),
    ("SeriesDescription", 0x0008103E, _VOCABULARY, "X", _REGION, _FREE_TEXT),
    ("StudyDescription", 0x00081030, _VOCABULARY, "X", _REGION, _FREE_TEXT),
    ("ProtocolName", 0x00181030, _VOCABULARY, "X/D", _REGION, _FREE_TEXT),
    ("AcquisitionProtocolName", 0x00189423, _VOCABULARY, "", _REGION, _FREE_TEXT),
    ("AcquisitionProtocolDescription", 0x00189424, _VOCABULARY, "X", _REGION, _FREE_TEXT),
    ("AcquisitionDeviceProcessingDescription", 0x00181400, _VOCABULARY, "X/D", _REGION, _FREE_TEXT),
    ("RequestedProcedureDescription", 0x00321060, _VOCABULARY, "X/Z", _REGION, _FREE_TEXT),
    ("PerformedProcedureStepDescription", 0x00400254, _VOCABULARY, "X", _REGION, _FREE_TEXT),
    # inside the items of the sequences above
    ("CodeValue", 0x00080100, _VOCABULARY, "", _REGION, _PLACE),
    ("LongCodeValue", 0x00080119, _VOCABULARY, "", _REGION, _PLACE),
    ("CodingSchemeDesignator", 0x00080102, _VOCABULARY, "", _REGION, _PLACE),
    ("CodeMeaning", 0x00080104, _VOCABULARY, "", _REGION, _FREE_TEXT),
    ("AnatomicRegionModifierSequence", 0x00082220, _VOCABULARY, "", _REGION, _PLACE),
    ("ScheduledProcedureStepDescription", 0x00400007, _VOCABULARY, "X", _REGION, _FREE_TEXT),
)

ATTRIBUTES: MappingProxyType[str, AttributeRule] = MappingProxyType(
    {
        keyword: AttributeRule(
            keyword=keyword,
            tag=tag,
            action=action,
            basic_profile=basic_profile,
            columns=tuple(columns.split()),
            reason=reason,
        )
        for keyword, tag, action, basic_profile, columns, reason in _ROWS
    }
)
"""The allow-list by keyword."""

ALLOWED_TAGS: frozenset[int] = frozenset(rule.tag for rule in ATTRIBUTES.values())
"""Tags that may be read at all, at the top level of a header and in the items of its sequences."""
