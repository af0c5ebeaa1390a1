"""DICOM datasets of an export: radiographs, and what lies among them.

Comes in: a `FilePlan`, or a patient's numbers. Goes out: pydicom datasets without pixels. Refuses nothing.

Every dataset carries Synthetic Data (0008,001C) = YES; names, numbers, dates and addresses are invented and say so.
Identifying texts stand where real exports have them, private elements included, so that a leak would show.
"""

from datetime import date, timedelta

import numpy as np
from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
)

from radio_io.synth.pixels import SYNTAX_UIDS
from radio_io.synth.plan import FilePlan, make_uid

IMPLEMENTATION_UID = make_uid("radio", "synth", 1)
_DEVICES = (
    ("SIEMENS", "Fluorospot Compact FD", 0.148),
    ("Siemens Healthineers", "Ysio Max", 0.144),
    ("Philips Medical Systems", "DigitalDiagnost", 0.143),
    ("Agfa-Gevaert", "ADC_5175", 0.1),
    ("FUJIFILM Corporation", "FDR D-EVO", 0.15),
    ("SYNTHETIC X-RAY WORKS", "Phantom One", 0.14),
)
_FIRST_DAY = date(2009, 1, 5)
_FILM_VIEWS = {"AP": "AP", "PA": "PA", "LAT": "LL", "OBL": "OBL"}


def radiograph_header(plan: FilePlan) -> FileDataset:
    """The header of a planned radiograph, all but the pixels."""
    digital = plan.modality == "DX"
    sop_class = DigitalXRayImageStorageForPresentation if digital else ComputedRadiographyImageStorage
    dataset = _new_file(sop_class, plan.instance_uid, SYNTAX_UIDS[plan.syntax], plan.wording.character_set)
    dataset.Modality = plan.modality
    _add_patient(dataset, plan.patient, plan.seed)
    _add_study(dataset, plan.patient, plan.study, plan.series, plan.seed)
    _add_wording(dataset, plan, digital=digital)
    _add_exposure(dataset, plan)
    describe_pixels(dataset, plan.rows, plan.columns, plan.bits, monochrome1=plan.monochrome1)
    if digital:
        dataset.PresentationLUTShape = "INVERSE" if plan.monochrome1 else "IDENTITY"
    dataset.WindowCenter, dataset.WindowWidth = str(1 << (plan.bits - 1)), str(1 << plan.bits)
    if plan.number % 2:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    return dataset


def report_header(plan: FilePlan) -> FileDataset:
    """A report of the plan's study."""
    dataset = _new_file(BasicTextSRStorage, make_uid("report", plan.seed), ExplicitVRLittleEndian, "ISO_IR 100")
    dataset.Modality = "SR"
    _add_patient(dataset, plan.patient, plan.seed)
    _add_study(dataset, plan.patient, plan.study, plan.number, plan.seed)
    dataset.SeriesInstanceUID = make_uid("report series", plan.seed)
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    return dataset


def slice_header(plan: FilePlan, side: int) -> FileDataset:
    """A CT slice of `side` x `side` pixels of the plan's patient."""
    dataset = _new_file(CTImageStorage, make_uid("slice", plan.seed), ExplicitVRLittleEndian, "ISO_IR 100")
    dataset.Modality = "CT"
    _add_patient(dataset, plan.patient, plan.seed)
    _add_study(dataset, plan.patient, plan.study, plan.number, plan.seed)
    dataset.SeriesInstanceUID = make_uid("slice series", plan.seed)
    dataset.BodyPartExamined = "HEAD"
    dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", "1"
    dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.5], "1"
    describe_pixels(dataset, side, side, 12, monochrome1=False)
    return dataset


def describe_pixels(dataset: Dataset, rows: int, columns: int, bits: int, *, monochrome1: bool) -> None:
    """Set the attributes that tell how pixels are stored. Source: DICOM PS3.3 C.7.6.3."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if monochrome1 else "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = 0


def new_meta(sop_class: UID, instance_uid: str, syntax: UID) -> FileMetaDataset:
    """File meta information that does not depend on the version of the writing library."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = "RADIO_SYNTH_1"
    return meta


def _new_file(sop_class: UID, instance_uid: str, syntax: UID, character_set: str | None) -> FileDataset:
    dataset = FileDataset("", Dataset(), file_meta=new_meta(sop_class, instance_uid, syntax), preamble=bytes(128))
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, UID(instance_uid)
    dataset.SyntheticData = "YES"
    return dataset


def _add_patient(dataset: Dataset, patient: int, seed: int) -> None:
    generator = np.random.default_rng([seed, 4, patient])
    age = int(generator.integers(4, 96))
    dataset.PatientName = f"Synthetic^Patient-{patient:06}"
    dataset.PatientID = f"SYN-{seed}-{patient:06}"
    dataset.IssuerOfPatientID = "SYNTHETIC HOSPITAL"
    dataset.PatientBirthDate = f"{2010 - age}0704"
    dataset.PatientSex = "MFFMO"[int(generator.integers(4)) if patient % 40 else 4]
    dataset.PatientAge = f"{age:03}Y"
    dataset.PatientAddress = f"{patient} Synthetic Street"
    dataset.InstitutionName = "Synthetic Hospital"
    dataset.ReferringPhysicianName = "Synthetic^Physician"
    private = dataset.private_block(0x0009, "SYNTHETIC PRIVATE", create=True)
    private.add_new(0x01, "LO", f"Synthetic^Patient-{patient:06}")


def _add_study(dataset: Dataset, patient: int, study: int, series: int, seed: int) -> None:
    day = _FIRST_DAY + timedelta(days=patient * 37 % 4000 + study % 400)
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = day.strftime("%Y%m%d")
    dataset.StudyTime = f"{8 + study % 10:02}{study % 60:02}00"
    dataset.AccessionNumber = f"SYN{study:08}"
    dataset.StudyID = f"{study}"
    dataset.StudyInstanceUID = make_uid("study", seed, study)
    dataset.SeriesInstanceUID = make_uid("series", seed, series)
    dataset.SeriesNumber, dataset.InstanceNumber = "1", "1"


def _add_wording(dataset: Dataset, plan: FilePlan, *, digital: bool) -> None:
    wording = plan.wording
    _add_text(dataset, "BodyPartExamined", wording.body_part)
    _add_text(dataset, "SeriesDescription", wording.series_description)
    _add_text(dataset, "StudyDescription", wording.study_description)
    _add_text(dataset, "ProtocolName", wording.protocol_name)
    if wording.laterality is not None:
        _add_text(dataset, "ImageLaterality" if digital else "Laterality", wording.laterality)
    elif digital and plan.side is None:
        dataset.ImageLaterality = "U"
    if wording.view_position is not None:
        _add_text(dataset, "ViewPosition", _FILM_VIEWS[wording.view_position])
    if wording.anatomic_code is not None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = wording.anatomic_code
        dataset.AnatomicRegionSequence = [item]


def _add_text(dataset: Dataset, keyword: str, value: str) -> None:
    """Add a text as technicians type it, whatever the standard allows; nothing where it is empty."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    if value:
        dataset.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))


def _add_exposure(dataset: Dataset, plan: FilePlan) -> None:
    generator = np.random.default_rng([plan.seed, 5, plan.number])
    manufacturer, model, pitch_mm = _DEVICES[plan.patient % len(_DEVICES)]
    dataset.Manufacturer, dataset.ManufacturerModelName = manufacturer, model
    dataset.DeviceSerialNumber = f"SYN{plan.patient % len(_DEVICES):04}"
    dataset.ImagerPixelSpacing = [pitch_mm, pitch_mm]
    if plan.number % 3 == 0:
        dataset.PixelSpacing = [pitch_mm, pitch_mm]
    dataset.KVP = str(int(generator.integers(45, 110)))
    dataset.Exposure = str(int(generator.integers(1, 40)))
    dataset.ExposureTime = str(int(generator.integers(5, 200)))
    dataset.DistanceSourceToDetector = str(int(generator.choice([1050, 1150, 1800])))
    dataset.BurnedInAnnotation = "NO"
