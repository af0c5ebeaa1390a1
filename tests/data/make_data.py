"""Make tests/data/dicom from the public files named in LICENCES.md: copies, and lossless re-encodings of one of them.

Run once with the folder that holds the public files; every re-encoding is read back and compared.
"""

import shutil
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless, RLELossless, generate_uid

COPIES = {
    "pydicom__pydicom-data/RG3_J2KR.dcm": "lower_leg_j2k.dcm",
    "pydicom__pydicom-data/RG3_J2KI.dcm": "lower_leg_j2k_lossy.dcm",
    "pydicom__pydicom-data/RG1_J2KI.dcm": "chest_15_bits_j2k_lossy.dcm",
    "pydicom__pylibjpeg-data/NM_Kakadu44_SOTmarkerincons.dcm": "hand_j2k.dcm",
    "mlmed__torchxrayvision/1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm": "chest_jpeg_baseline.dcm",
    "ImagingDataCommons__highdicom/dx_image.dcm": "dog_thorax_uncompressed.dcm",
    "pydicom__pydicom/dicomdirtests/77654033/CR1/6154": "cervical_spine_uncompressed",
}


def main(source: Path, target: Path) -> None:
    """Write every file of tests/data/dicom into `target`."""
    for name, new_name in COPIES.items():
        shutil.copyfile(source / name, target / new_name)
        (target / new_name).chmod(0o644)
    original = pydicom.dcmread(source / "pydicom__pydicom-data/RG3_J2KR.dcm")
    pixels = original.pixel_array
    frames = {
        JPEGLosslessSV1: ("lower_leg_jpeg_lossless.dcm", imagecodecs.ljpeg_encode(pixels, bitspersample=10)),
        JPEGLSLossless: ("lower_leg_jpeg_ls.dcm", imagecodecs.jpegls_encode(pixels)),
    }
    for syntax, (name, frame) in frames.items():
        write(original, pixels, target / name, syntax=syntax, frame=bytes(frame))
    rle = pydicom.dcmread(source / "pydicom__pydicom-data/RG3_J2KR.dcm")
    rle.decompress()
    rle.compress(RLELossless)
    save(rle, target / "lower_leg_rle.dcm", pixels)


def write(original: pydicom.Dataset, pixels: np.ndarray, path: Path, *, syntax: str, frame: bytes) -> None:
    """Write `original` with `frame` as its only fragment."""
    dataset = pydicom.Dataset(original)
    dataset.file_meta = pydicom.dataset.FileMetaDataset(original.file_meta)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    save(dataset, path, pixels)


def save(dataset: pydicom.Dataset, path: Path, pixels: np.ndarray) -> None:
    """Give the re-encoding a UID of its own, write it and read it back."""
    dataset.SOPInstanceUID = generate_uid(prefix="1.2.826.0.1.3680043.8.498.", entropy_srcs=["radio", path.name])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)
    if not np.array_equal(pydicom.dcmread(path).pixel_array, pixels):
        raise SystemExit(f"{path.name}: pixels differ from the original")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "dicom")
