"""How much memory a build takes, in the process that began it and in its workers, for few and for very many files.

Files are small, so that a hundred thousand take minutes; one in a thousand has 2000 x 1500 pixels, since the greatest
image decides what a worker needs.

Example: python bench/memory.py --files 1000 100000
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

RADIO = str(Path(sys.executable).parent / "radio")
FILES_A_FOLDER = 1000
DIGITAL_X_RAY = "1.2.840.10008.5.1.4.1.1.1.1"
SAMPLE_SECONDS = 0.05


def template(rows: int, columns: int) -> bytes:
    """A radiograph whose UIDs and patient can be replaced in place."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = DIGITAL_X_RAY, "1.2.3.1000000000"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.4.1000000000", "1.2.5.1000000000"
    dataset.PatientID, dataset.Modality, dataset.BodyPartExamined = "P000000000", "DX", "KNEE"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    y, x = np.mgrid[:rows, :columns]
    noise = np.random.default_rng(0).normal(0, 20, (rows, columns))
    dataset.PixelData = (1000 + 800 * np.sin(9 * y / rows) * np.cos(7 * x / columns) + noise).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = DIGITAL_X_RAY
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.1000000000"
    with tempfile.TemporaryFile() as file:
        dataset.save_as(file, enforce_file_format=True)
        file.seek(0)
        return file.read()


def write_files(folder: Path, count: int) -> None:
    """`count` files that differ in their UIDs; three of a patient."""
    small, large = template(64, 48), template(2000, 1500)
    for number in range(count):
        content = large if number % 1000 == 500 else small
        content = content.replace(b"000000000", b"%09d" % number).replace(b"P%09d" % number, b"P%09d" % (number // 3))
        path = folder / f"{number // FILES_A_FOLDER:06}" / f"{number:09}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have started, as workers are."""
    try:
        lists = [path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has just ended
        return []
    children = [int(each) for line in lists for each in line.split()]
    return [*children, *(each for child in children for each in descendants(child))]


def watch(command: list[str]) -> tuple[float, float, float]:
    """Greatest resident memory in MB of the process and of one child, and the seconds that the command took."""
    began_s = time.monotonic()
    parent = child = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            parent = max(parent, resident_mb(process.pid))
            child = max([child, *(resident_mb(each) for each in descendants(process.pid))])
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return parent, child, time.monotonic() - began_s


def main() -> None:
    """Build datasets of the given numbers of files and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder is made there")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{'files':>9}{'parent MB':>11}{'worker MB':>11}{'seconds':>9}")
    for count in arguments.files:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
            folder = Path(temporary)
            write_files(folder / "src", count)
            command = [RADIO, "shard", "build", str(folder / "src"), "--dataset", str(folder / "shards")]
            parent, child, seconds = watch([*command, "--workers", str(arguments.workers), "--json"])
        print(f"{count:9}{parent:11.0f}{child:11.0f}{seconds:9.1f}", flush=True)


if __name__ == "__main__":
    main()
