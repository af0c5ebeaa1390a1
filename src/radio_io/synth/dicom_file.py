"""One synthetic radiograph as a DICOM file, and the files of an export that are no radiographs.

Comes in: a `FileRequest`. Goes out: the file in its folder PATIENT/STUDY/NUMBER, without extension.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, config
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from radio_io.synth.phantom import PhantomRequest, draw_phantom

ROOT = "1.2.826.0.1.3680043.8.498"
DEVICES = (("Siemens Healthineers", "Fluorospot Compact FD"), ("Philips", "DigitalDiagnost"), ("AGFA", "DX-M"))
SYNTAX_UIDS = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "jpeg_lossless": JPEGLosslessSV1,
    "jpeg_ls": JPEGLSLossless,
    "jpeg_2000": JPEG2000Lossless,
    "rle": RLELossless,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRequest:
    """One file of an export; `fault` is what is wrong with it."""

    number: int
    seed: int
    patient: int
    study: int
    region: str
    body_part: str
    rows: int
    columns: int
    bits: int
    inverse: bool
    syntax: str
    fracture: bool
    foreign_material: bool
    fault: str | None

    @property
    def instance_uid(self) -> str:
        """SOPInstanceUID."""
        return uid("instance", self.seed, self.number)

    @property
    def image_seed(self) -> int:
        """What the phantom's generator starts from."""
        return self.seed * 1_000_003 + self.number


def uid(*parts: str | int) -> str:
    """A UID that depends on the parts alone."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return f"{ROOT}.{int.from_bytes(digest[:12], 'big')}"


def write_dicom(out: Path, request: FileRequest) -> int:
    """Write the file and say its bytes."""
    pixels = _pixels(request)
    dataset = _dataset(request)
    _add_pixels(dataset, pixels, request.syntax)
    folder = out / f"P{request.patient:06}" / f"S{request.study:02}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{request.number:08}"
    dataset.save_as(path, enforce_file_format=True)
    if request.fault == "cut":
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * 0.7)])
    return path.stat().st_size


def write_strangers(out: Path, *, seed: int) -> int:
    """What else lies in an export: a DICOMDIR, a report, a CT slice, a text file. Returns how many files."""
    directory = _header("directory", MediaStorageDirectoryStorage, seed)
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.save_as(out / "DICOMDIR", enforce_file_format=True)
    folder = out / "P000000" / "S00"
    folder.mkdir(parents=True, exist_ok=True)
    report = _header("report", BasicTextSRStorage, seed)
    report.Modality = "SR"
    report.save_as(folder / "SR000001", enforce_file_format=True)
    slice_ = _header("slice", CTImageStorage, seed)
    slice_.Modality = "CT"
    noise = np.random.default_rng([seed, 2]).integers(0, 4096, (64, 64)).astype(np.uint16)
    _describe_pixels(slice_, 64, 64, 12, inverse=False)
    _add_pixels(slice_, noise, "explicit")
    slice_.save_as(folder / "CT000001", enforce_file_format=True)
    (out / "README.TXT").write_text("Synthetic export. Nothing in it comes from a patient.\n", encoding="utf-8")
    return 4


def _pixels(request: FileRequest) -> NDArray[np.uint16]:
    shape = (request.rows, request.columns)
    top = (1 << request.bits) - 1
    if request.fault == "black":
        pixels = np.zeros(shape, np.uint16)
    elif request.fault == "nearly_empty":
        pixels = np.zeros(shape, np.uint16)
        side = max(2, min(shape) // 12)
        generator = np.random.default_rng(request.image_seed)
        pixels[side : 2 * side, side : 2 * side] = generator.integers(0, top, (side, side))
    else:
        pixels = draw_phantom(
            PhantomRequest(
                region=request.region,
                rows=request.rows,
                columns=request.columns,
                bits=request.bits,
                seed=request.image_seed,
                fracture=request.fracture,
                foreign_material=request.foreign_material,
            )
        )
    return (top - pixels).astype(np.uint16) if request.inverse else pixels


def _header(kind: str, sop_class: UID, seed: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = UID(uid(kind, seed))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.SyntheticData = "YES"
    return dataset


def _dataset(request: FileRequest) -> FileDataset:
    dataset = _header("instance", ComputedRadiographyImageStorage, request.seed)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(request.instance_uid)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.Modality = "DX" if request.number % 3 else "CR"
    dataset.PatientName, dataset.PatientID = f"Synthetic^Patient{request.patient}", f"SYN{request.patient:06}"
    dataset.PatientSex = "MF"[request.patient % 2]
    dataset.PatientAge = f"{5 + request.patient * 7 % 90:03}Y"
    dataset.StudyDate = f"{2010 + request.patient % 12}{1 + request.study % 12:02}15"
    dataset.StudyInstanceUID = uid("study", request.seed, request.patient, request.study)
    dataset.SeriesInstanceUID = uid("series", request.seed, request.patient, request.study)
    dataset.Manufacturer, dataset.ManufacturerModelName = DEVICES[request.patient % len(DEVICES)]
    if request.body_part:
        # Free text in a code string, as technicians type it: pydicom would warn.
        element = DataElement(0x00180015, "CS", request.body_part, validation_mode=config.IGNORE)
        dataset.add(element)
    dataset.ImagerPixelSpacing = [0.144, 0.144]
    dataset.KVP, dataset.Exposure = "60", "4"
    dataset.BurnedInAnnotation = "NO"
    _describe_pixels(dataset, request.rows, request.columns, request.bits, inverse=request.inverse)
    return dataset


def _describe_pixels(dataset: Dataset, rows: int, columns: int, bits: int, *, inverse: bool) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverse else "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = 0


def _add_pixels(dataset: FileDataset, pixels: NDArray[np.uint16], syntax: str) -> None:
    dataset.file_meta.TransferSyntaxUID = SYNTAX_UIDS[syntax]
    bits = int(dataset.BitsStored)
    if syntax in ("implicit", "explicit"):
        dataset.PixelData = pixels.astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        return
    if syntax == "rle":
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = pixels.astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.compress(RLELossless, generate_instance_uid=False)
        return
    if syntax == "jpeg_lossless":
        frame = imagecodecs.ljpeg_encode(pixels, bitspersample=bits)
    elif syntax == "jpeg_ls":
        frame = imagecodecs.jpegls_encode(pixels)
    else:
        frame = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k", bitspersample=bits)
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset["PixelData"].VR = "OB"
