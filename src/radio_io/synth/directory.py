"""The DICOMDIR of an export.

Comes in: the plans of the files it names. Goes out: the file's bytes: records of patients, studies, series and images,
linked by their offsets. Refuses nothing. Source: DICOM PS3.3 F.3.
"""

from io import BytesIO
from itertools import groupby

from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from radio_io.synth.headers import new_meta, radiograph_header
from radio_io.synth.plan import FilePlan, make_uid

_IN_USE = 0xFFFF
_LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
_KEYWORDS = {
    "PATIENT": ("PatientName", "PatientID"),
    "STUDY": ("StudyDate", "StudyTime", "StudyDescription", "StudyInstanceUID", "StudyID", "AccessionNumber"),
    "SERIES": ("Modality", "SeriesInstanceUID", "SeriesNumber"),
    "IMAGE": ("InstanceNumber",),
}


def directory_bytes(plans: list[FilePlan], seed: int) -> bytes:
    """A DICOMDIR that names the files of `plans`, which come in the order of patients, studies and series."""
    records, depths = _records(plans)
    directory = _file(records, seed)
    places = _places(directory)
    for index, (record, depth) in enumerate(zip(records, depths, strict=True)):
        below = index + 1 < len(depths) and depths[index + 1] == depth + 1
        record.OffsetOfReferencedLowerLevelDirectoryEntity = places[index + 1] if below else 0
        record.OffsetOfTheNextDirectoryRecord = next((places[later] for later in _siblings(depths, index)), 0)
    roots = [place for place, depth in zip(places, depths, strict=True) if depth == 0]
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = roots[0]
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = roots[-1]
    return _written(directory)


def _siblings(depths: list[int], index: int) -> list[int]:
    """The next record of the same depth under the same record above; empty where there is none."""
    for later in range(index + 1, len(depths)):
        if depths[later] <= depths[index]:
            return [later] if depths[later] == depths[index] else []
    return []


def _records(plans: list[FilePlan]) -> tuple[list[Dataset], list[int]]:
    records: list[Dataset] = []
    depths: list[int] = []
    keys = (lambda p: p.patient, lambda p: p.study, lambda p: p.series, lambda p: p.number)  # type: ignore[misc]

    def descend(group: list[FilePlan], depth: int) -> None:
        for _, members in groupby(group, key=keys[depth]):
            some = list(members)
            records.append(_record(some[0], _LEVELS[depth]))
            depths.append(depth)
            if depth + 1 < len(_LEVELS):
                descend(some, depth + 1)

    descend(plans, 0)
    return records, depths


def _record(plan: FilePlan, level: str) -> Dataset:
    header = radiograph_header(plan)
    record = Dataset()
    record.OffsetOfTheNextDirectoryRecord = 0
    record.RecordInUseFlag = _IN_USE
    record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    record.DirectoryRecordType = level
    if header.get("SpecificCharacterSet"):
        record.SpecificCharacterSet = header.SpecificCharacterSet
    for keyword in _KEYWORDS[level]:
        if keyword in header:
            record.add(header[keyword])
    if level == "IMAGE":
        record.ReferencedFileID = list(plan.path)
        record.ReferencedSOPClassUIDInFile = header.SOPClassUID
        record.ReferencedSOPInstanceUIDInFile = header.SOPInstanceUID
        record.ReferencedTransferSyntaxUIDInFile = header.file_meta.TransferSyntaxUID
    return record


def _file(records: list[Dataset], seed: int) -> FileDataset:
    uid = UID(make_uid("directory", seed))
    meta = new_meta(MediaStorageDirectoryStorage, uid, ExplicitVRLittleEndian)
    directory = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    directory.FileSetID = "SYNTHETIC"
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.FileSetConsistencyFlag = 0
    directory.DirectoryRecordSequence = records
    return directory


def _places(directory: FileDataset) -> list[int]:
    """Offsets of the records in the file; they do not depend on the offsets written into it."""
    read = dcmread(BytesIO(_written(directory)))
    return [int(item.seq_item_tell or 0) for item in read.DirectoryRecordSequence]


def _written(directory: FileDataset) -> bytes:
    buffer = BytesIO()
    directory.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
