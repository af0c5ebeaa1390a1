"""From a parsed file to the record of everything that may be known about an image without its pixels.

Comes in: a path or a `ParsedFile`, and a `HeaderContext`. Goes out: `HeaderRecord`: pseudonyms, technical values, words
of vocabularies, coarsened demography. Refuses what is no single grey-scale image of the wanted modalities.

Nothing but the allow-list of `privacy/attributes.py` is looked at: the dataset is cut down to it first, so that a
value can only be stored here after a row was added there.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from radio_io.dicom.acceptance import Claims, refuse_kind, refuse_pixels
from radio_io.dicom.acquisition import read_exposure, read_spacing, was_compressed_with_loss
from radio_io.dicom.encoding import is_known_syntax, is_lossy_syntax
from radio_io.dicom.kinds import DEFAULT_MODALITIES, OTHER, kind_without_image, modality_of, registered_uid
from radio_io.dicom.parse import ParsedFile, read_before_pixels, read_file
from radio_io.dicom.record import HeaderContext, HeaderRecord, RegionFound, RegionMapper
from radio_io.dicom.region_view import region_view
from radio_io.dicom.values import OLDEST_YEARS, day, identifier, integer, parse_age_years, term, text, texts
from radio_io.privacy.attributes import ALLOWED_TAGS
from radio_io.privacy.burned_in import burned_in
from radio_io.privacy.dates import DatePolicy, StoredDate, stored_date
from radio_io.privacy.devices import manufacturer_of, model_of

__all__ = [
    "DEFAULT_MODALITIES",
    "HeaderContext",
    "HeaderRecord",
    "ParsedFile",
    "RegionFound",
    "RegionMapper",
    "header_record",
    "read_before_pixels",
    "read_file",
    "read_header",
    "unmapped_region",
]

# HIPAA's Safe Harbor and good practice: ages above 89 single people out.
OLDEST_STORED_YEARS: Final = 90
_ALLOWED: Final = tuple(BaseTag(tag) for tag in sorted(ALLOWED_TAGS))
_LATERALITIES: Final = frozenset({"L", "R", "B", "U"})
_SHAPES: Final = frozenset({"IDENTITY", "INVERSE"})
_SEXES: Final = frozenset({"M", "F", "O"})
_STUDY_DATES: Final = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_LARGEST_SHORT: Final = 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class _Keys:
    instance: str
    patient: str
    study: str
    series: str
    accession: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Patient:
    sex: str | None
    age_years: int | None
    studied: StoredDate


@dataclass(frozen=True, kw_only=True, slots=True)
class _Device:
    maker: str | None
    model: str | None
    key: str | None


def read_header(path: str | Path, context: HeaderContext) -> HeaderRecord:
    """The record of a file, read up to its pixel data.

    Raises:
        ImageRejectedError: the file cannot be read, is not DICOM, or is no image that is wanted.
    """
    return header_record(read_before_pixels(path, context.archives), context)


def header_record(parsed: ParsedFile, context: HeaderContext) -> HeaderRecord:
    """The record of a parsed file; the same whether its pixels were read or not.

    Raises:
        ImageRejectedError: NOT_AN_IMAGE, WRONG_MODALITY, UNSUPPORTED_PIXELS, BAD_HEADER, NO_PIXEL_DATA, NOT_GRAYSCALE,
            MULTI_FRAME, BAD_GEOMETRY or BURNED_IN_ANNOTATION, the first that holds in this order.
    """
    header = _allowed(parsed.dataset)
    sop_class = text(header, "SOPClassUID") or parsed.media_storage_sop_class_uid or ""
    claims = _claims(header, parsed, sop_class)
    refuse_kind(claims, context.modalities)
    refuse_pixels(claims, frames=context.frames, allow_burned_in=context.allow_burned_in)
    return _record(header, parsed, context, claims, sop_class)


def unmapped_region(parsed: ParsedFile, context: HeaderContext) -> str | None:
    """What the header calls the region where the rules know none: free text, for the private folder only."""
    return context.region_rules.unmapped_text(region_view(_allowed(parsed.dataset)))


def _allowed(dataset: Dataset) -> Dataset:
    """The allow-listed part of a dataset."""
    kept: dict[BaseTag, DataElement | RawDataElement] = {}
    for tag in _ALLOWED:
        element = cast("DataElement | RawDataElement | None", dataset.get_item(tag, keep_deferred=True))
        if element is not None:
            kept[tag] = element
    return Dataset(kept)


def _claims(header: Dataset, parsed: ParsedFile, sop_class: str) -> Claims:
    stated = term(header, "Modality")
    is_directory = text(header, "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity") is not None
    return Claims(
        kind_without_image="a DICOMDIR" if is_directory else kind_without_image(sop_class, stated),
        modality=modality_of(stated, sop_class),
        has_pixel_data=parsed.has_pixel_data,
        has_float_pixels=parsed.has_float_pixels,
        damage=parsed.damage,
        samples_per_pixel=integer(header, "SamplesPerPixel"),
        photometric_interpretation=term(header, "PhotometricInterpretation"),
        number_of_frames=integer(header, "NumberOfFrames"),
        rows=integer(header, "Rows"),
        columns=integer(header, "Columns"),
        burned_in=burned_in(
            term(header, "BurnedInAnnotation"),
            term(header, "ConversionType"),
            texts(header, "ImageType"),
            sop_class,
        ),
    )


def _record(
    header: Dataset, parsed: ParsedFile, context: HeaderContext, claims: Claims, sop_class: str
) -> HeaderRecord:
    assert claims.rows is not None
    assert claims.columns is not None
    assert claims.photometric_interpretation is not None
    keys, device = _keys(header, parsed, context), _device(header, context)
    patient = _patient(header, keys.patient, context)
    spacing, exposure = read_spacing(header), read_exposure(header)
    place = context.region_rules.map_region(region_view(header))
    return HeaderRecord(
        instance_key=keys.instance,
        patient_key=keys.patient,
        study_key=keys.study,
        series_key=keys.series,
        modality=claims.modality,
        sop_class_uid=registered_uid(sop_class) if sop_class else None,
        transfer_syntax_uid=parsed.transfer_syntax_uid if is_known_syntax(parsed.transfer_syntax_uid) else OTHER,
        rows=claims.rows,
        columns=claims.columns,
        number_of_frames=max(claims.number_of_frames or 1, 1),
        samples_per_pixel=1,
        bits_allocated=_count(header, "BitsAllocated"),
        bits_stored=_count(header, "BitsStored"),
        high_bit=_count(header, "HighBit"),
        pixel_representation=_count(header, "PixelRepresentation"),
        photometric_interpretation=claims.photometric_interpretation,
        presentation_lut_shape=_one_of(term(header, "PresentationLUTShape"), _SHAPES),
        lossy=is_lossy_syntax(parsed.transfer_syntax_uid) or was_compressed_with_loss(header),
        burned_in_annotation=claims.burned_in.value,
        region=place.region,
        region_source=place.region_source,
        laterality=_one_of(place.laterality, _LATERALITIES),
        view_position=place.view_position,
        pixel_spacing_row_mm=spacing.pixel[0] if spacing.pixel else None,
        pixel_spacing_column_mm=spacing.pixel[1] if spacing.pixel else None,
        imager_spacing_row_mm=spacing.imager[0] if spacing.imager else None,
        imager_spacing_column_mm=spacing.imager[1] if spacing.imager else None,
        spacing_source=spacing.source.value if spacing.source else None,
        pixels_square=spacing.square,
        kvp=exposure.kvp,
        exposure_mas=exposure.mas,
        exposure_time_ms=exposure.time_ms,
        distance_source_to_detector_mm=exposure.distance_mm,
        grid=exposure.grid,
        manufacturer=device.maker,
        model=device.model,
        device_key=device.key,
        patient_sex=patient.sex,
        patient_age_years=patient.age_years,
        study_date_shifted=patient.studied.shifted,
        study_year=patient.studied.year,
        is_synthetic=term(header, "SyntheticData") == "YES",
        accession_key=keys.accession,
    )


def _keys(header: Dataset, parsed: ParsedFile, context: HeaderContext) -> _Keys:
    """The pseudonyms; what is empty falls back to the next smaller thing, at last to the file itself."""
    study = identifier(header, "StudyInstanceUID")
    series = identifier(header, "SeriesInstanceUID")
    instance = identifier(header, "SOPInstanceUID")
    # Only a parsed file that was built by hand has neither; its dataset then is nobody's.
    content = parsed.content_digest or "no content"
    accession = identifier(header, "AccessionNumber")
    pseudonyms = context.pseudonyms
    return _Keys(
        instance=pseudonyms.instance(instance, content),
        patient=pseudonyms.patient(
            identifier(header, "PatientID"),
            identifier(header, "IssuerOfPatientID"),
            study,
            series,
            instance,
            content,
        ),
        study=pseudonyms.study(study, series, instance, content),
        series=pseudonyms.series(series, instance, content),
        accession=pseudonyms.accession(accession) if accession else None,
    )


def _device(header: Dataset, context: HeaderContext) -> _Device:
    maker = manufacturer_of(text(header, "Manufacturer"))
    serial = identifier(header, "DeviceSerialNumber")
    return _Device(
        maker=maker,
        model=model_of(maker, text(header, "ManufacturerModelName")),
        key=context.pseudonyms.device(serial, maker or "") if serial else None,
    )


def _patient(header: Dataset, patient_key: str, context: HeaderContext) -> _Patient:
    sex = (term(header, "PatientSex") or "")[:1]
    taken = next((found for keyword in _STUDY_DATES if (found := day(header, keyword)) is not None), None)
    shift_days = context.pseudonyms.date_shift_days(patient_key)
    return _Patient(
        sex=_one_of(sex, _SEXES),
        age_years=_age_years(header, taken),
        studied=stored_date(taken, DatePolicy(context.date_policy), shift_days),
    )


def _age_years(header: Dataset, taken: date | None) -> int | None:
    """Whole years, those of 90 and above as 90; from the birth date where PatientAge is absent."""
    age = parse_age_years(text(header, "PatientAge") or "")
    born = day(header, "PatientBirthDate")
    if age is None and taken is not None and born is not None:
        age = taken.year - born.year - ((taken.month, taken.day) < (born.month, born.day))
    return min(age, OLDEST_STORED_YEARS) if age is not None and 0 <= age <= OLDEST_YEARS else None


def _count(header: Dataset, keyword: str) -> int | None:
    """A number of bits or a flag, as it stands in an unsigned short."""
    value = integer(header, keyword)
    return value if value is not None and 0 <= value <= _LARGEST_SHORT else None


def _one_of(value: str | None, vocabulary: frozenset[str]) -> str | None:
    return value if value in vocabulary else None
