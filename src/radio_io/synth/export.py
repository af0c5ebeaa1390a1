"""A PACS export as hospitals have it, made of phantoms.

Comes in: a folder, the number of radiographs, a seed, a scale. Goes out: DICOM files without extension in folders of
patients, studies and series, faulty ones among them, a DICOMDIR, a report, a CT slice and a text file; and with
`labels` the ground truth beside the folder. The same seed gives the same bytes, whatever the number of processes.
Refuses a folder that is not empty, and scales outside (0, 1].
"""

import csv
import os
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from radio_io import atomic
from radio_io.errors import StorageError, UsageError
from radio_io.executors import UnitFailure, run_units
from radio_io.progress import Progress
from radio_io.synth.directory import directory_bytes
from radio_io.synth.headers import radiograph_header, report_header, slice_header
from radio_io.synth.pixels import encode_pixels, stored_pixels
from radio_io.synth.plan import Fault, FilePlan, plan_export

IMAGES_A_UNIT = 16
TIMEOUT_S = 600.0
LABEL_COLUMNS = (
    "SOPInstanceUID",
    "file",
    "region",
    "laterality",
    "view_position",
    "foreign_material",
    "fracture",
    "photometric_interpretation",
    "looks_inverted",
    "expected_reject",
)
_SPOILT_HEADER = 200  # bytes after which a header is overwritten
_SLICE_SIDE = 128
_DIRECTORY_FILES = 2000  # that the DICOMDIR names at most
_TEXT = "SYNTHETIC EXPORT\r\nNothing in this folder comes from a patient.\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthSummary:
    """What was written: all files, good radiographs, faulty ones, bytes, where the ground truth lies."""

    files: int
    images: int
    faulty: int
    size_bytes: int
    labels_path: str | None


def write_export(
    out: Path, *, images: int, seed: int, scale: float = 1.0, labels: bool = False, workers: int, progress: Progress
) -> SynthSummary:
    """Write an export of `images` good radiographs, and some faulty files, into `out`.

    Raises:
        UsageError: `out` exists and is not an empty folder, `images` is below 1, or the scale is not in (0, 1].
        StorageError: The folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty; name a folder that is missing or empty")
    if images < 1 or not 0 < scale <= 1:
        raise UsageError(f"images is {images}, scale is {scale}; expected at least 1 image, a scale in (0, 1]")
    plans = plan_export(images=images, seed=seed, scale=scale)
    units = [tuple(plans[start : start + IMAGES_A_UNIT]) for start in range(0, len(plans), IMAGES_A_UNIT)]
    try:
        atomic.make_folder(out)
        size_bytes = _write_units(out, units, workers, progress)
        strangers = _strangers(plans)
        for path, content in strangers.items():
            _write(out.joinpath(*path), content)
        labels_path = out.with_name(f"{out.name}_ground_truth.csv") if labels else None
        if labels_path is not None:
            _write_labels(labels_path, plans)
    except OSError as error:
        raise StorageError(f"cannot write the export {out}: {error.strerror}; free space or choose a folder") from error
    return SynthSummary(
        files=len(plans) + len(strangers),
        images=images,
        faulty=len(plans) - images,
        size_bytes=size_bytes + sum(len(content) for content in strangers.values()),
        labels_path=None if labels_path is None else str(labels_path),
    )


def write_some(out: str, plans: tuple[FilePlan, ...]) -> int:
    """Write some files and say their bytes: a unit of work."""
    return sum(_write(Path(out).joinpath(*plan.path), file_bytes(plan)) for plan in plans)


def file_bytes(plan: FilePlan) -> bytes:
    """The planned file, with its fault."""
    if plan.fault is Fault.EMPTY_FILE:
        return b""
    dataset = radiograph_header(plan)
    if plan.fault is not Fault.NO_PIXELS:
        dataset.PixelData = encode_pixels(stored_pixels(plan), plan)
        dataset["PixelData"].VR = "OW" if plan.syntax in ("explicit", "implicit") else "OB"
    content = _saved(dataset)
    if plan.fault is Fault.CUT_FILE:
        return content[: len(content) * 7 // 10]
    if plan.fault is Fault.SPOILT_HEADER:
        noise = np.random.default_rng([plan.seed, 6, plan.number]).bytes(len(content) - _SPOILT_HEADER)
        return content[:_SPOILT_HEADER] + noise
    return content


def _write_units(out: Path, units: list[tuple[FilePlan, ...]], workers: int, progress: Progress) -> int:
    progress.start("synth", total=sum(len(unit) for unit in units), unit="files")
    size_bytes = 0
    processes = workers if len(units) > 1 and workers > 1 else 0
    for outcome in run_units(partial(write_some, str(out)), units, workers=processes, timeout_s=TIMEOUT_S):
        if isinstance(outcome.result, UnitFailure):
            raise StorageError(f"writing the export failed: {outcome.result.detail}; try again with fewer --workers")
        size_bytes += outcome.result
        progress.advance(len(outcome.unit), size_bytes=outcome.result)
    progress.finish()
    return size_bytes


def _strangers(plans: list[FilePlan]) -> dict[tuple[str, ...], bytes]:
    """What is no radiograph, by path: a DICOMDIR, a text, a report and a CT slice of the first patient."""
    first = plans[0]
    folder = first.path[:3]
    slice_dataset = slice_header(first, _SLICE_SIDE)
    noise = np.random.default_rng([first.seed, 7]).integers(0, 2048, (_SLICE_SIDE, _SLICE_SIDE)).astype("<u2")
    slice_dataset.PixelData = noise.tobytes()
    slice_dataset["PixelData"].VR = "OW"
    named = [plan for plan in plans if plan.fault is None][:_DIRECTORY_FILES]
    return {
        ("DICOMDIR",): directory_bytes(named, first.seed),
        ("LIESMICH.TXT",): _TEXT.encode(),
        (*folder, "SR000000", "SR000001"): _saved(report_header(first)),
        (*folder, "CT000000", "CT000001"): _saved(slice_dataset),
    }


def _saved(dataset: FileDataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return len(content)


def _write_labels(path: Path, plans: list[FilePlan]) -> None:
    """The ground truth, one row a SOPInstanceUID: a copy of a file has no row of its own."""
    temporary = atomic.temporary_path(path)
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LABEL_COLUMNS)
        writer.writerows(_label_row(plan) for plan in plans if plan.copy_of is None)
    os.replace(temporary, path)  # noqa: PTH105 - the same folder, see atomic
    atomic.sync_folder(path.parent)


def _label_row(plan: FilePlan) -> tuple[str | int, ...]:
    return (
        plan.instance_uid,
        "/".join(plan.path),
        plan.region,
        plan.side or "",
        plan.view,
        int(plan.foreign_material),
        int(plan.fracture),
        "MONOCHROME1" if plan.monochrome1 else "MONOCHROME2",
        int(plan.looks_inverted),
        plan.fault.value if plan.fault is not None else "",
    )
