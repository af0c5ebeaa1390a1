"""A PACS export as hospitals have it, made of phantoms.

Comes in: a folder, the number of images, a seed, a scale. Goes out: DICOM files in folders of patients, studies and
series, a DICOMDIR-like mixture of what is no radiograph, and optionally `ground_truth.csv` beside the folder. The same
seed gives the same bytes, whatever the number of processes. Refuses a folder that is not empty.

Every image carries Synthetic Data (0008,001C) = YES. Names, numbers and dates are invented.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from radio_io import atomic
from radio_io.errors import StorageError, UsageError
from radio_io.executors import UnitFailure, run_units
from radio_io.progress import Progress
from radio_io.synth.dicom_file import FileRequest, write_dicom, write_strangers
from radio_io.synth.phantom import REGIONS

IMAGES_A_UNIT = 16
TIMEOUT_S = 600.0
SYNTAXES = ("implicit", "explicit", "jpeg_lossless", "jpeg_ls", "jpeg_2000", "rle")
SYNTAX_SHARES = (0.15, 0.25, 0.30, 0.10, 0.15, 0.05)
FAULTS = {"black": "BLANK_IMAGE", "nearly_empty": "NEARLY_EMPTY", "oversize": "TOO_LARGE", "cut": "TRUNCATED"}
FAULT_SHARE = 0.03
# What stands in BodyPartExamined: English, German, free text; an empty text means that it is missing.
BODY_PARTS = {
    "Knee": ("KNEE", "KNIE", "Knie re. ap"),
    "Shoulder": ("SHOULDER", "SCHULTER", "Schulter li."),
    "Ankle": ("ANKLE", "OSG", "Sprunggelenk"),
    "Elbow": ("ELBOW", "ELLENBOGEN", "Ellbogen 2 Eb."),
    "Foot": ("FOOT", "FUSS", "Fuß dp"),
    "Wrist": ("WRIST", "HANDGELENK", "Handgelenk seitl."),
    "Hand": ("HAND", "HAND", "Hand dp re."),
    "Cervical spine": ("CSPINE", "HWS", "HWS 2 Eb."),
    "Clavicle": ("CLAVICLE", "CLAVICULA", "Schlüsselbein"),
    "Thoracic spine": ("TSPINE", "BWS", "BWS seitl."),
    "Lumbar spine": ("LSPINE", "LWS", "LWS ap"),
    "Skull": ("SKULL", "SCHAEDEL", "Schädel ap"),
    "Ribs": ("RIB", "RIPPEN", "Rippen li."),
    "Scapula": ("SCAPULA", "SCAPULA", "Schulterblatt"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthSummary:
    """What was written: files in all, radiographs among them (faulty ones included), bytes."""

    files: int
    images: int
    size_bytes: int


def write_export(
    out: Path, *, images: int, seed: int, scale: float = 1.0, labels: bool = False, workers: int, progress: Progress
) -> SynthSummary:
    """Write an export of `images` radiographs into `out`.

    Raises:
        UsageError: `out` exists and is not empty, or the scale is not in (0, 1].
        StorageError: The folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty; name a folder that is missing or empty")
    if not 0 < scale <= 1:
        raise UsageError(f"scale is {scale}; expected more than 0, at most 1")
    atomic.make_folder(out)
    requests = plan_export(images=images, seed=seed, scale=scale)
    units = [tuple(requests[start : start + IMAGES_A_UNIT]) for start in range(0, images, IMAGES_A_UNIT)]
    progress.start("synth", total=images, unit="images")
    size_bytes = 0
    for outcome in run_units(partial(write_some, str(out)), units, workers=workers, timeout_s=TIMEOUT_S):
        if isinstance(outcome.result, UnitFailure):
            raise StorageError(f"writing the export failed: {outcome.result.detail}; try again with fewer --workers")
        size_bytes += outcome.result
        progress.advance(len(outcome.unit), size_bytes=outcome.result)
    progress.finish()
    strangers = write_strangers(out, seed=seed)
    if labels:
        _write_labels(out.with_name(f"{out.name}_ground_truth.csv"), requests)
    return SynthSummary(files=images + strangers, images=images, size_bytes=size_bytes)


def write_some(out: str, requests: tuple[FileRequest, ...]) -> int:
    """Write some files and say their bytes: a unit of work."""
    return sum(write_dicom(Path(out), request) for request in requests)


def plan_export(*, images: int, seed: int, scale: float) -> list[FileRequest]:
    """Every file of an export, in the order of patients; depends on the arguments alone."""
    return list(_requests(images, seed, scale))


def _requests(images: int, seed: int, scale: float) -> Iterator[FileRequest]:
    generator = np.random.default_rng([seed, 1])
    regions = list(REGIONS)
    shares = np.array([share for share, _, _ in REGIONS.values()])
    patient, study, left = -1, 0, 0
    region = regions[0]
    for number in range(images):
        if left == 0:
            if generator.random() < 0.75 or patient < 0:
                patient, study = patient + 1, 0
            else:
                study += 1
            left = int(generator.integers(1, 5))
            region = regions[int(generator.choice(len(regions), p=shares / shares.sum()))]
        left -= 1
        yield _request(generator, number, patient, study, region, scale, seed)


def _request(
    generator: np.random.Generator, number: int, patient: int, study: int, region: str, scale: float, seed: int
) -> FileRequest:
    _, height, width = REGIONS[region]
    common, *own = generator.standard_normal(3)
    rows = int(np.clip(height * scale * np.exp(0.25 * (0.75 * common + 0.66 * own[0])), 300 * scale, 3072 * scale))
    columns = int(np.clip(width * scale * np.exp(0.25 * (0.75 * common + 0.66 * own[1])), 300 * scale, 3072 * scale))
    fault = str(generator.choice(list(FAULTS))) if generator.random() < FAULT_SHARE else None
    if fault == "oversize":
        rows, columns = 3400, max(columns, 64)
    if fault == "nearly_empty":
        rows, columns = max(rows, 400), max(columns, 300)
    body_part = BODY_PARTS[region][int(generator.choice(3, p=(0.6, 0.25, 0.15)))]
    if (luck := generator.random()) < 0.05:
        body_part = ""
    elif luck < 0.06:
        body_part = "CHEST"
    return FileRequest(
        number=number,
        seed=seed,
        patient=patient,
        study=study,
        region=region,
        body_part=body_part,
        rows=max(rows, 16),
        columns=max(columns, 16),
        bits=int(generator.choice([10, 12, 14, 15], p=(0.25, 0.5, 0.15, 0.1))),
        inverse=bool(generator.random() < 0.07),
        syntax=str(generator.choice(SYNTAXES, p=SYNTAX_SHARES)),
        fracture=bool(generator.random() < 0.3),
        foreign_material=bool(generator.random() < 0.3),
        fault=fault,
    )


def _write_labels(path: Path, requests: list[FileRequest]) -> None:
    """The ground truth by SOPInstanceUID."""
    columns = ("SOPInstanceUID", "region", "foreign_material", "fracture", "inverted", "expected_reject")
    temp = atomic.temporary_path(path)
    with temp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for request in requests:
            reject = FAULTS[request.fault] if request.fault else ""
            flags = (int(request.foreign_material), int(request.fracture), int(request.inverse))
            writer.writerow((request.instance_uid, request.region, *flags, reject))
    os.replace(temp, path)  # noqa: PTH105 - the same folder, see atomic
    atomic.sync_folder(path.parent)
