"""Synthetic exports: the same bytes for the same seed, the promised shares, and files that say what they are."""

import csv
import hashlib
from collections import Counter
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom.encaps import generate_frames
from pydicom.fileset import FileSet

from radio_io.dicom.check import check
from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.header import HeaderContext, header_record, read_file
from radio_io.dicom.regions import RegionRules
from radio_io.dicom.render import render, render_parameters
from radio_io.errors import ImageRejectedError, UsageError
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.progress import NoProgress
from radio_io.synth import SynthSummary, write_export
from radio_io.synth.export import LABEL_COLUMNS, file_bytes
from radio_io.synth.headers import radiograph_header
from radio_io.synth.pixels import SYNTAX_UIDS, phantom_pixels, stored_pixels
from radio_io.synth.plan import Fault, FilePlan, plan_export
from radio_io.synth.sizes import region_counts

IMAGES = 60
SCALE = 0.05


@pytest.fixture(autouse=True)
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SynthSummary]:
    out = tmp_path_factory.mktemp("synth") / "export"
    summary = write_export(out, images=IMAGES, seed=7, scale=SCALE, labels=True, workers=1, progress=NoProgress())
    return out, summary


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def rows(out: Path) -> list[dict[str, str]]:
    with out.with_name(f"{out.name}_ground_truth.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_writes_the_same_bytes_whatever_the_number_of_workers(export: tuple[Path, SynthSummary], tmp_path: Path):
    out, summary = export
    again = tmp_path / "again"
    other = write_export(again, images=IMAGES, seed=7, scale=SCALE, labels=True, workers=2, progress=NoProgress())
    assert digests(again) == digests(out)
    assert rows(again) == rows(out)
    assert (other.files, other.size_bytes) == (summary.files, summary.size_bytes)


def test_writes_other_bytes_for_another_seed():
    one, other = (plan_export(images=5, seed=seed, scale=SCALE)[0] for seed in (7, 8))
    assert one.instance_uid != other.instance_uid
    assert file_bytes(one) != file_bytes(other)


def test_counts_what_it_wrote(export: tuple[Path, SynthSummary]):
    out, summary = export
    files = [path for path in out.rglob("*") if path.is_file()]
    assert summary.files == len(files) == IMAGES + summary.faulty + 4
    assert summary.size_bytes == sum(path.stat().st_size for path in files)
    assert summary.faulty == len(Fault)


def test_marks_every_dicom_image_as_synthetic(export: tuple[Path, SynthSummary]):
    out, _ = export
    unreadable = {row["file"] for row in rows(out) if row["expected_reject"] in (Fault.EMPTY_FILE, Fault.SPOILT_HEADER)}
    for path in (out / "DICOM").rglob("*"):
        if path.is_file() and str(path.relative_to(out)) not in unreadable:
            assert dcmread(path, stop_before_pixels=True).SyntheticData == "YES"


def test_names_folders_and_files_without_extension(export: tuple[Path, SynthSummary]):
    out, _ = export
    for path in (out / "DICOM").rglob("*"):
        assert len(path.name) <= 8
        assert path.name.isalnum()


def test_writes_a_dicomdir_that_pydicom_follows(export: tuple[Path, SynthSummary]):
    out, _ = export
    file_set = FileSet(out / "DICOMDIR")
    instances = list(file_set)
    assert len(instances) == IMAGES
    assert {instance.SOPInstanceUID for instance in instances} == {
        row["SOPInstanceUID"] for row in rows(out) if not row["expected_reject"]
    }
    assert all(Path(instance.path).is_file() for instance in instances)
    file_set._stage["t"].cleanup()  # pydicom 3.0 leaves its folder to the garbage collector, with a warning


def test_writes_one_row_of_truth_for_each_uid(export: tuple[Path, SynthSummary]):
    out, summary = export
    truth = rows(out)
    assert tuple(truth[0]) == LABEL_COLUMNS
    assert len(truth) == len({row["SOPInstanceUID"] for row in truth}) == IMAGES + summary.faulty - 1
    assert Counter(row["region"] for row in truth if not row["expected_reject"]) == Counter(
        {name: count for name, count in region_counts(IMAGES).items() if count}
    )


def test_writes_no_truth_unless_asked(tmp_path: Path):
    summary = write_export(tmp_path / "e", images=2, seed=0, scale=SCALE, workers=1, progress=NoProgress())
    assert summary.labels_path is None
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_keeps_the_promised_shares():
    plans = [plan for plan in plan_export(images=3000, seed=1, scale=1.0) if plan.fault is None]
    assert sum(plan.monochrome1 for plan in plans) == 210
    assert sum(plan.looks_inverted for plan in plans) == 60
    assert {plan.bits for plan in plans} == set(range(10, 16))
    assert {plan.syntax for plan in plans} == set(SYNTAX_UIDS)
    assert 3 < len(plans) / len({plan.patient for plan in plans}) < 4.5  # the thesis: 3.8 images a patient
    assert len({plan.study for plan in plans}) > 1.5 * len({plan.patient for plan in plans})
    missing = sum(not plan.wording.body_part for plan in plans) / len(plans)
    assert 0.08 < missing < 0.18
    assert max(max(plan.rows, plan.columns) for plan in plans) == 3072


def test_plans_each_fault_in_proportion():
    faults = Counter(plan.fault for plan in plan_export(images=3000, seed=1, scale=0.1) if plan.fault is not None)
    assert dict(faults) == dict.fromkeys(Fault, 8)


def test_makes_an_oversize_image_at_every_scale():
    for scale in (0.05, 1.0):
        (plan,) = (plan for plan in plan_export(images=9, seed=1, scale=scale) if plan.fault is Fault.OVERSIZE)
        assert plan.rows > 3072


def planned(**changes: object) -> FilePlan:
    plan = next(plan for plan in plan_export(images=3, seed=2, scale=0.1) if plan.fault is None)
    return replace(plan, monochrome1=False, looks_inverted=False, **changes)


def read(content: bytes) -> Dataset:
    return dcmread(BytesIO(content))


@pytest.mark.parametrize("bits", [10, 13, 15])
@pytest.mark.parametrize("syntax", list(SYNTAX_UIDS))
def test_stores_the_phantom_exactly_in_each_transfer_syntax(syntax: str, bits: int):
    plan = planned(syntax=syntax, bits=bits)
    dataset = read(file_bytes(plan))
    assert dataset.file_meta.TransferSyntaxUID == SYNTAX_UIDS[syntax]
    assert dataset.BitsStored == bits
    decoders = {
        "jpeg_lossless": imagecodecs.jpeg8_decode,
        "jpeg_ls": imagecodecs.jpegls_decode,
        "jpeg_2000": imagecodecs.jpeg2k_decode,
    }
    if syntax in decoders:
        (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
        pixels = decoders[syntax](frame)
    else:
        pixels = dataset.pixel_array
    assert np.array_equal(pixels, phantom_pixels(plan))


def test_inverts_stored_pixels_for_monochrome1_and_for_those_that_look_inverted():
    plan = planned(bits=12, number=4)
    pixels = phantom_pixels(plan)
    assert np.array_equal(stored_pixels(replace(plan, monochrome1=True)), 4095 - pixels)
    assert np.array_equal(stored_pixels(replace(plan, looks_inverted=True)), 4095 - pixels)
    assert np.array_equal(stored_pixels(replace(plan, monochrome1=True, looks_inverted=True)), pixels)


def test_names_nobody_but_synthetic_patients(export: tuple[Path, SynthSummary]):
    out, _ = export
    path = next(path for path in sorted((out / "DICOM").rglob("IM*")) if path.stat().st_size > 2000)
    dataset = dcmread(path)
    assert str(dataset.PatientName).startswith("Synthetic^")
    assert dataset.PatientID.startswith("SYN-")
    assert dataset.InstitutionName == "Synthetic Hospital"


def test_names_regions_that_the_rules_find():
    rules = RegionRules.load()
    plans = [plan for plan in plan_export(images=3000, seed=11, scale=0.1) if plan.fault is None]
    found = [rules.map_region(radiograph_header(plan)).region for plan in plans]
    named = [(region, plan.region) for region, plan in zip(found, plans, strict=True) if region != "Unknown"]
    assert sum(a == b for a, b in named) / len(named) >= 0.99
    assert sum(a == b for a, b in named) / len(plans) >= 0.97


def outcome(content: bytes, context: HeaderContext) -> str:
    """The reason for which a file is rejected up to the checks of its picture; empty where it is not."""
    try:
        parsed = read_file(content)
        header_record(parsed, context)
        stored = decode_pixels(parsed)
        check(render(stored, render_parameters(parsed.dataset, stored)))
    except ImageRejectedError as error:
        return error.reason.value
    return ""


def test_plans_files_that_end_as_the_truth_says():
    context = HeaderContext(pseudonyms=Pseudonymizer(bytes(32)), region_rules=RegionRules.load())
    later = {Fault.COPY, Fault.OVERSIZE}  # judged against other files, and against the bins
    for plan in (plan for seed in range(4) for plan in plan_export(images=12, seed=seed, scale=0.12)):
        expected = "" if plan.fault is None or plan.fault in later else plan.fault.value
        assert outcome(file_bytes(plan), context) in expected.split("|"), plan


def test_refuses_a_folder_that_is_not_empty(tmp_path: Path):
    (tmp_path / "x").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="not empty"):
        write_export(tmp_path, images=1, seed=0, workers=1, progress=NoProgress())


@pytest.mark.parametrize(("images", "scale"), [(0, 1.0), (1, 0.0), (1, 1.5)])
def test_refuses_impossible_numbers(tmp_path: Path, images: int, scale: float):
    with pytest.raises(UsageError, match="expected at least 1 image"):
        write_export(tmp_path / "e", images=images, seed=0, scale=scale, workers=1, progress=NoProgress())
