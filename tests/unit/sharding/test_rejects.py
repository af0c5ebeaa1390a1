"""A file for each reason of rejection, built for real; and the page of the documentation that lists them."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from radio_io.config import BuildConfig
from radio_io.errors import RejectReason
from radio_io.progress import NoProgress
from radio_io.sharding import file_ahead
from radio_io.sharding import scan as scan_module
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import build_dataset
from synthetic_dicom import DEFLATED, deflated, dicom_bytes, meta_bytes
from unit.dicom import make_dicom as make

PROJECT = Path(__file__).parents[3]
PICTURE = make.picture(96, 80)
CODED = make.encode(PICTURE, "jpeg_lossless", bits=12)


def native(**attributes):
    return make.file_of(make.dataset_of(PICTURE, bits=12, **attributes))


def coded(frame, syntax=make.LOSSLESS_SV1, **attributes):
    return make.file_of(make.dataset_of(PICTURE, bits=12, frames=[frame], **attributes), syntax)


def content(pixels):
    return make.file_of(make.dataset_of(pixels.astype(np.uint16), bits=12))


def mostly_black():
    pixels = np.zeros((960, 800))
    pixels[400:460, 400:480] = PICTURE[:60]
    return content(pixels)


def without_pixels(sop_class, **attributes):
    return dicom_bytes({"SOPClassUID": sop_class, "PixelData": None} | attributes)


FILES = {
    RejectReason.EMPTY_FILE: lambda: b"",
    RejectReason.NOT_DICOM: lambda: b"%PDF-1.7 a report",
    RejectReason.BAD_HEADER: lambda: native()[:400],
    RejectReason.NO_TRANSFER_SYNTAX: lambda: bytes(128) + b"DICM" + meta_bytes(None) + bytes(range(256)),
    RejectReason.NOT_AN_IMAGE: lambda: without_pixels("1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"),
    RejectReason.NO_PIXEL_DATA: lambda: dicom_bytes({"PixelData": None}),
    RejectReason.WRONG_MODALITY: lambda: native(Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2"),
    RejectReason.MULTI_FRAME: lambda: native(NumberOfFrames="2", PixelData=PICTURE.tobytes() * 2),
    RejectReason.NOT_GRAYSCALE: lambda: native(PhotometricInterpretation="RGB"),
    RejectReason.BURNED_IN_ANNOTATION: lambda: native(BurnedInAnnotation="YES"),
    RejectReason.BAD_GEOMETRY: lambda: native(Rows=0),
    RejectReason.TOO_LARGE: lambda: content(make.picture(40, 1300)),
    RejectReason.UNSUPPORTED_TRANSFER_SYNTAX: lambda: coded(b"mpeg" * 20, "1.2.840.10008.1.2.4.100"),
    RejectReason.UNSUPPORTED_PIXELS: lambda: native(BitsAllocated=64),
    RejectReason.TRUNCATED: lambda: coded(CODED[: len(CODED) * 7 // 10]),
    RejectReason.CORRUPT_PIXELS: lambda: coded(b"no codestream at all"),
    RejectReason.HEADER_CONTRADICTION: lambda: coded(CODED, Rows=95),
    RejectReason.DECOMPRESSION_BOMB: lambda: (
        bytes(128)
        + b"DICM"
        + meta_bytes(DEFLATED)
        + deflated(dicom_bytes({"PixelData": bytes(300 << 20)})[132 + 100 :])
    ),
    RejectReason.BLANK_IMAGE: lambda: content(np.full((96, 80), 700)),
    RejectReason.NEARLY_EMPTY: mostly_black,
}
# Made otherwise than by the content of one file, below or in the module named.
OTHERS = {
    RejectReason.UNREADABLE: "here",
    RejectReason.VANISHED: "here",
    RejectReason.CHANGED_WHILE_READING: "here",
    RejectReason.SYMLINK_LOOP: "here",
    RejectReason.DUPLICATE: "here",
    RejectReason.BAD_ARCHIVE: "tests/unit/sources/test_archives.py",
    RejectReason.INTERNAL_ERROR: "tests/unit/sharding/test_changes.py",
    RejectReason.WORKER_CRASHED: "tests/crash/test_poison.py",
    RejectReason.TIMEOUT: "tests/crash/test_poison.py",
    RejectReason.OUT_OF_MEMORY: "tests/crash/test_poison.py",
    RejectReason.WITHDRAWN: "tests/unit/sharding/test_forget.py",
}


def built(tmp_path):
    config = BuildConfig(
        dataset=tmp_path / "d", sources=(str(tmp_path / "src"),), bins=Bins.parse("600,1200"), workers=0
    )
    return build_dataset(config, NoProgress())


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "good.dcm").write_bytes(native(SOPInstanceUID="1.2.3"))
    return folder


@pytest.mark.parametrize("reason", FILES)
def test_rejects(tmp_path, source, reason):
    (source / "bad.dcm").write_bytes(FILES[reason]())
    summary = built(tmp_path)
    assert summary.rejects == {reason: 1}
    assert (summary.found, summary.images) == (2, 1)


def test_rejects_a_fifo(tmp_path, source):
    os.mkfifo(source / "fifo")
    assert built(tmp_path).rejects == {"UNREADABLE": 1}


def test_rejects_a_loop_of_links(tmp_path, source):
    (source / "loop").symlink_to(source / "loop")
    assert built(tmp_path).rejects == {"SYMLINK_LOOP": 1}


def test_rejects_a_copy(tmp_path, source):
    (source / "copy.dcm").write_bytes((source / "good.dcm").read_bytes())
    summary = built(tmp_path)
    assert (summary.rejects, summary.images) == ({"DUPLICATE": 1}, 1)


def test_rejects_what_vanishes_before_the_scan_reads_it(tmp_path, source, monkeypatch):
    gone = source / "gone.dcm"
    gone.write_bytes(native(SOPInstanceUID="1.2.4"))
    original = scan_module.read_before_pixels

    def vanishes(path, archives):
        gone.unlink(missing_ok=True)
        return original(path, archives)

    monkeypatch.setattr(scan_module, "read_before_pixels", vanishes)
    assert built(tmp_path).rejects == {"VANISHED": 1}


def test_rejects_what_grows_while_it_is_read(tmp_path, source, monkeypatch):
    path = source / "growing.dcm"
    path.write_bytes(native(SOPInstanceUID="1.2.4"))
    original = os.fstat
    calls = 0

    def grows(descriptor):
        nonlocal calls
        status = original(descriptor)
        if status.st_ino == path.stat().st_ino:
            calls += 1
            with path.open("ab") as file:
                file.write(b"\0\0")
        return status

    read = file_ahead.read_bytes

    def read_while_it_grows(name, archives):
        if Path(os.fsdecode(name)) != path:
            return read(name, archives)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", grows)
            return read(name, archives)

    monkeypatch.setattr(file_ahead, "read_bytes", read_while_it_grows)
    assert built(tmp_path).rejects == {"CHANGED_WHILE_READING": 1}
    assert calls > 0


def test_every_reason_has_a_test_and_a_line_in_the_documentation():
    assert set(FILES) | set(OTHERS) == set(RejectReason)
    documented = re.findall(r"^\| `([A-Z_]+)` \|", (PROJECT / "docs" / "rejects.md").read_text(), re.MULTILINE)
    assert documented == [reason.value for reason in RejectReason]


def test_every_flag_of_the_documentation_is_a_column():
    from radio_io.index.schema import IMAGES

    flags = (PROJECT / "docs" / "rejects.md").read_text().split("## Flags")[1]
    named = [
        name for line in re.findall(r"^\| (`.*?) \|", flags, re.MULTILINE) for name in re.findall(r"`(\w+)`", line)
    ]
    assert len(named) >= 15
    assert set(named) <= set(IMAGES.names)
