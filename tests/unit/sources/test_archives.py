"""Archives as sources: their members become the shards that the unpacked files become, whatever is wrong with some."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from radio_io.config import BuildConfig
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding import scan as scan_module
from radio_io.sharding.bins import Bins
from radio_io.sharding.build import build_dataset, scan
from radio_io.sharding.scan_table import summarize_scan
from radio_io.sources import content as content_module
from radio_io.sources import inflate, spool
from radio_io.sources.content import open_file
from radio_io.sources.inflate import GzipContent
from unit.dicom import make_dicom as make

PICTURES = {f"study/{number}.dcm": 40 + 8 * number for number in range(1, 7)}


def dicom(rows, **attributes):
    uid = {"SOPInstanceUID": f"1.2.{rows}", "PatientID": f"P{rows}"} | attributes
    return make.file_of(make.dataset_of(make.picture(rows + 40, 80), bits=12, **uid))


CONTENTS = {name: dicom(rows) for name, rows in PICTURES.items()}


def zip_of(contents, *, method=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tar_of(contents, form=tarfile.GNU_FORMAT):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form, errors="surrogateescape") as archive:
        for name, content in contents.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return packed.getvalue()


PACKERS = {
    "a.zip": zip_of,
    "stored.zip": lambda contents: zip_of(contents, method=zipfile.ZIP_STORED),
    "a.tar": tar_of,
    "pax.tar": lambda contents: tar_of(contents, tarfile.PAX_FORMAT),
    "a.tar.gz": lambda contents: gzip.compress(tar_of(contents), mtime=0),
    "a.tgz": lambda contents: gzip.compress(tar_of(contents), mtime=0),
    "a.tar.bz2": lambda contents: bz2.compress(tar_of(contents)),
    "a.tar.xz": lambda contents: lzma.compress(tar_of(contents)),
}


def config_of(tmp_path, *sources, name="d", workers=0):
    layout = DatasetLayout(tmp_path / name)
    if not layout.key_file.exists():
        layout.private.mkdir(mode=0o700)
        layout.key_file.write_bytes(bytes(range(32)))
        layout.key_file.chmod(0o600)
    paths = tuple(str(source) for source in sources) or (str(tmp_path / "src"),)
    return BuildConfig(dataset=tmp_path / name, sources=paths, bins=Bins.parse("600,1200"), workers=workers)


def built(tmp_path, *sources, name="d", workers=0):
    return build_dataset(config_of(tmp_path, *sources, name=name, workers=workers), NoProgress())


def shards(root):
    files = sorted(path for path in Path(root).rglob("*") if path.suffix in {".tar", ".idx", ".parquet"})
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rejects(tmp_path, name="d"):
    """Reason by path, of scan and shards."""
    layout = DatasetLayout(tmp_path / name)
    found = {}
    for part in (*layout.scan_dir.glob("*.parquet"), *layout.rejects_dir.rglob("*.parquet")):
        for row in pq.read_table(part, columns=["path", "reason"]).to_pylist():
            if row["reason"] not in (None, "SAME_AS_BEFORE", "LISTED_ARCHIVE"):
                place = os.fsdecode(row["path"]).removeprefix(f"{tmp_path}/src/")
                assert place not in found
                found[place] = row["reason"]
    return found


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The shards of the files themselves."""
    folder = tmp_path_factory.mktemp("unpacked")
    for name, content in CONTENTS.items():
        path = folder / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    summary = built(folder)
    assert (summary.found, summary.images) == (6, 6)
    return shards(folder / "d")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    return folder


QUICK = {"a.zip", "pax.tar", "a.tar.xz"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PACKERS]
)
def test_builds_the_shards_of_the_unpacked_files(tmp_path, source, unpacked, name):
    (source / name).write_bytes(PACKERS[name](CONTENTS))
    summary = built(tmp_path)
    assert (summary.found, summary.images, summary.rejects) == (6, 6, {})
    assert shards(tmp_path / "d") == unpacked
    assert not list((tmp_path / "d.private").rglob("*.tar")), "what was unpacked is gone"


@pytest.mark.slow
def test_builds_the_same_in_worker_processes(tmp_path, source, unpacked):
    (source / "a.tar.gz").write_bytes(PACKERS["a.tar.gz"](CONTENTS))
    built(tmp_path, workers=2)
    assert shards(tmp_path / "d") == unpacked


def test_takes_an_archive_that_is_named_directly(tmp_path, source, unpacked):
    path = source / "A.ZIP"
    path.write_bytes(zip_of(CONTENTS))
    assert built(tmp_path, path).images == 6
    assert shards(tmp_path / "d") == unpacked


def test_reads_gzip_files_in_folders_and_archives(tmp_path, source, unpacked):
    first, *others = CONTENTS
    (source / "1.dcm.gz").write_bytes(gzip.compress(CONTENTS[first]))
    (source / "b.tar").write_bytes(tar_of({f"{name}.gz": gzip.compress(CONTENTS[name]) for name in others}))
    assert built(tmp_path).images == 6
    assert shards(tmp_path / "d") == unpacked


def test_reads_a_gzip_file_of_several_streams(tmp_path, source):
    whole = dicom(40)
    (source / "1.gz").write_bytes(gzip.compress(whole[:9000]) + gzip.compress(whole[9000:]))
    (source / "2.gz").write_bytes(gzip.compress(dicom(44), mtime=0)[:-9])
    assert built(tmp_path).rejects == {"BAD_ARCHIVE": 1}
    with open_file(source / "1.gz") as packed:
        assert GzipContent(packed).read_all() == whole


def test_goes_back_in_an_inflated_member(tmp_path):
    whole = os.urandom(3 << 20)
    (tmp_path / "a.gz").write_bytes(gzip.compress(whole))
    with open_file(tmp_path / "a.gz") as packed:
        unpacked = GzipContent(packed)
        assert unpacked.size == len(whole)
        for position in (5, 2_900_000, 2_000_000, 100, 3_000_000):
            assert unpacked.read(position, 1000) == whole[position : position + 1000]


NAMES = ["/etc/passwd", "../../x", "a//b", "with\nline", "ünïcode", "x!/y", ".", "caf\udce9"]


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_takes_names_as_names_only(tmp_path, source, pack):
    names = [name for name in NAMES if pack is tar_of or "\udce9" not in name]
    (source / ("a.zip" if pack is zip_of else "a.tar")).write_bytes(
        pack({name: dicom(40 + 4 * number) for number, name in enumerate(names)})
    )
    summary = built(tmp_path)
    assert (summary.found, summary.images) == (len(names), len(names))


def test_takes_members_of_one_name_each(tmp_path, source):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for content in (dicom(40), dicom(48), b"no image"):
            header = tarfile.TarInfo("same.dcm")
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    (source / "a.tar").write_bytes(packed.getvalue())
    assert built(tmp_path).images == 2
    assert rejects(tmp_path) == {"a.tar!3/same.dcm": "NOT_DICOM"}


def test_rejects_links_and_devices_but_not_folders(tmp_path, source):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, kind in {"folder": tarfile.DIRTYPE, "link": tarfile.SYMTYPE, "again": tarfile.LNKTYPE}.items():
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header)
        device = tarfile.TarInfo("device")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    (source / "a.tar").write_bytes(packed.getvalue())
    with zipfile.ZipFile(source / "b.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.mkdir("folder")
    assert built(tmp_path).images == 0
    expected = ["a.tar!/again", "a.tar!/device", "a.tar!/link", "b.zip!/link"]
    assert rejects(tmp_path) == dict.fromkeys(expected, "UNREADABLE")


def encrypted(packed):
    """A zip archive whose members claim to be encrypted."""
    content = bytearray(packed)
    at = content.find(b"PK\1\2")
    while at >= 0:
        content[at + 8] |= 1
        at = content.find(b"PK\1\2", at + 4)
    return bytes(content)


def lying_zip(size):
    """One deflated member that holds more than the `size` bytes that its archive declares."""
    content = bytearray(zip_of({"1.dcm": dicom(40)}))
    at = content.find(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<L", size)
    return bytes(content)


def with_other_byte(packed, position):
    content = bytearray(packed)
    content[position] ^= 0xFF
    return bytes(content)


STORED = zip_of({"1.dcm": dicom(40)}, method=zipfile.ZIP_STORED)
DAMAGED = {
    "cut.zip": (lambda: zip_of(CONTENTS)[:-300], {"": "BAD_ARCHIVE"}),
    "text.zip": (lambda: b"this is no archive", {"": "BAD_ARCHIVE"}),
    "text.tar": (lambda: b"this is no archive" * 100, {"": "BAD_ARCHIVE"}),
    "text.tar.gz": (lambda: b"this is no archive" * 100, {"": "BAD_ARCHIVE"}),
    "two.tar": (
        lambda: tar_of({"1.txt": b"no image"}) + tar_of({"2.txt": b""}),
        {"!/1.txt": "NOT_DICOM", "": "BAD_ARCHIVE"},
    ),
    "empty.zip": (lambda: b"", {"": "EMPTY_FILE"}),
    "locked.zip": (lambda: encrypted(zip_of({"1.dcm": dicom(40)})), {"!/1.dcm": "BAD_ARCHIVE"}),
    "method.zip": (lambda: zip_of({"1.dcm": dicom(40)}, method=zipfile.ZIP_BZIP2), {"!/1.dcm": "BAD_ARCHIVE"}),
    "nested.zip": (lambda: zip_of({"a.zip": zip_of(CONTENTS)}), {"!/a.zip": "BAD_ARCHIVE"}),
    "bomb.zip": (lambda: lying_zip(9000), {"!/1.dcm": "DECOMPRESSION_BOMB"}),
    "crc.zip": (lambda: with_other_byte(STORED, STORED.find(b"PK\1\2") - 30), {"!/1.dcm": "BAD_ARCHIVE"}),
    "hollow.tar": (lambda: tar_of({"1.dcm": b""}), {"!/1.dcm": "EMPTY_FILE"}),
    "huge.zip": (lambda: zip_of({"1.dcm": dicom(40) + bytes(2 << 20)}), {"!/1.dcm": "TOO_LARGE"}),
    "1.dcm.gz": (lambda: gzip.compress(dicom(40) + bytes(2 << 20), 1), {"": "DECOMPRESSION_BOMB"}),
}


def test_rejects_what_is_wrong_and_keeps_the_rest(tmp_path, source, monkeypatch):
    monkeypatch.setattr(content_module, "MAX_FILE_BYTES", 1 << 20)
    monkeypatch.setattr(inflate, "MAX_FILE_BYTES", 1 << 20)
    (source / "good.dcm").write_bytes(dicom(60))
    expected = {}
    for name, (make_content, reasons) in DAMAGED.items():
        (source / name).write_bytes(make_content())
        expected |= {name + place: reason for place, reason in reasons.items()}
    summary = built(tmp_path)
    assert rejects(tmp_path) == expected
    assert (summary.images, summary.found) == (1, 1 + len(expected))


def test_keeps_what_comes_before_the_cut(tmp_path, source):
    names = ("a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2")
    for count, name in enumerate(names):
        noise = os.urandom(2_000_000)  # more than a block of bzip2
        whole = {f"{number}.dcm": dicom(40 + 10 * number + count) for number in range(4)} | {"noise": noise}
        packed = PACKERS[name](whole)
        (source / name).write_bytes(packed[: len(packed) // 2])
    assert rejects_after_build(tmp_path) == dict.fromkeys(names, "BAD_ARCHIVE")
    assert summarize_scan(DatasetLayout(tmp_path / "d")).images == 16


def rejects_after_build(tmp_path):
    built(tmp_path)
    return rejects(tmp_path)


def test_notices_damage_behind_the_last_member(tmp_path, source):
    packed = PACKERS["a.tar.gz"](CONTENTS)
    (source / "a.tar.gz").write_bytes(with_other_byte(packed, len(packed) - 6))
    summary = built(tmp_path)
    assert (summary.images, rejects(tmp_path)) == (6, {"a.tar.gz": "BAD_ARCHIVE"})


def test_refuses_a_bomb_before_it_fills_the_disk(tmp_path, source, monkeypatch):
    monkeypatch.setattr(spool, "_ALWAYS_BYTES", 1 << 20)
    (source / "a.tar.gz").write_bytes(gzip.compress(tar_of({"zeros": bytes(100 << 20)}), 9))
    assert rejects_after_build(tmp_path) == {"a.tar.gz": "DECOMPRESSION_BOMB"}
    assert not list((tmp_path / "d.private").rglob(".tmp-*"))


def test_refuses_what_does_not_fit_with_advice(tmp_path, source, monkeypatch):
    monkeypatch.setattr(spool, "_SHARE_OF_FREE_SPACE", 0.0)
    (source / "a.tar.gz").write_bytes(PACKERS["a.tar.gz"](CONTENTS))
    assert rejects_after_build(tmp_path) == {"a.tar.gz": "BAD_ARCHIVE"}


def test_refuses_a_folder_whose_files_could_be_taken_for_members(tmp_path, source):
    (source / "a.zip").write_bytes(zip_of({"x.dcm": dicom(40)}))
    (source / "a.zip!").mkdir()
    (source / "a.zip!" / "x.dcm").write_bytes(dicom(48))
    (source / "b.zip!").mkdir()
    (source / "b.zip!" / "x.dcm").write_bytes(dicom(52))
    assert built(tmp_path).images == 2
    assert rejects(tmp_path) == {"a.zip!": "UNREADABLE"}


def reads(monkeypatch):
    """Every path whose header is read from here on."""
    paths = []
    read = scan_module.read_before_pixels
    monkeypatch.setattr(
        scan_module, "read_before_pixels", lambda path, folder: paths.append(path) or read(path, folder)
    )
    return paths


@pytest.mark.parametrize(
    "name", ["a.zip", *(pytest.param(name, marks=pytest.mark.slow) for name in ("a.tar", "a.tar.gz"))]
)
def test_reads_an_unchanged_archive_once_and_only_the_new_members_of_a_changed_one(tmp_path, source, monkeypatch, name):
    path = source / name
    path.write_bytes(PACKERS[name](CONTENTS | {"text": b"no image"}))
    before = built(tmp_path)
    read = reads(monkeypatch)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert built(tmp_path).found == before.found == 7
    assert read == []
    monkeypatch.undo()
    read = reads(monkeypatch)
    path.write_bytes(PACKERS[name](CONTENTS | {"text": b"no image", "new.dcm": dicom(99)}))
    after = built(tmp_path)
    assert [path.rpartition("!")[2] for path in read] == ["/new.dcm"]
    assert (after.found, after.images, after.new_images, after.rejects) == (8, 7, 1, {"NOT_DICOM": 1})


def test_takes_a_repaired_archive_in_place_of_its_reject(tmp_path, source):
    path = source / "a.zip"
    path.write_bytes(zip_of(CONTENTS)[:-300])
    assert built(tmp_path).rejects == {"BAD_ARCHIVE": 1}
    path.write_bytes(zip_of(CONTENTS))
    summary = built(tmp_path)
    assert (summary.found, summary.images, summary.rejects) == (6, 6, {})


def test_tries_members_again(tmp_path, source):
    from radio_io.errors import RejectReason

    (source / "a.tar").write_bytes(
        tar_of(CONTENTS | {"2.dcm": dicom(60, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")})
    )
    assert built(tmp_path).rejects == {"WRONG_MODALITY": 1}
    config = config_of(tmp_path)
    summary = build_dataset(config, NoProgress(), retry=frozenset({RejectReason.WRONG_MODALITY}))
    assert (summary.found, summary.images, summary.rejects) == (7, 6, {"WRONG_MODALITY": 1})


def test_unpacks_again_what_a_scan_removed(tmp_path, source, unpacked):
    (source / "a.tar.xz").write_bytes(PACKERS["a.tar.xz"](CONTENTS))
    assert scan(config_of(tmp_path), NoProgress()).images == 6
    assert not list((tmp_path / "d.private").rglob("*.tar"))
    built(tmp_path)
    assert shards(tmp_path / "d") == unpacked


def test_reads_only_the_beginning_of_a_large_member(tmp_path, source, monkeypatch):
    """A scan of an archive costs a window of each member, not its pixels."""
    from radio_io.sources.content import FileContent

    (source / "a.zip").write_bytes(zip_of({"1.dcm": dicom(40) + os.urandom(4 << 20)}))
    taken = []
    read = FileContent.read
    monkeypatch.setattr(FileContent, "read", lambda self, at, count: taken.append(count) or read(self, at, count))
    assert scan(config_of(tmp_path), NoProgress()).images == 1
    assert sum(taken) < 200_000


def test_reads_zip64_archives(tmp_path, source, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    packed = zip_of(CONTENTS)
    assert b"PK\6\6" in packed
    (source / "a.zip").write_bytes(b"#!/bin/sh self-extracting" + packed)
    assert built(tmp_path).images == 6


def test_is_safe_from_any_byte(tmp_path, source):
    """Damage anywhere in a small archive costs files, never the build."""
    small = {"a": b"x" * 40, "b": zlib.compress(b"y")}
    for name in ("a.zip", "a.tar"):
        packed = PACKERS[name](small)[:3000]
        for position in range(0, len(packed), 1 if name == "a.zip" else 37):
            (source / f"{position}-{name}").write_bytes(with_other_byte(packed, position))
    summary = scan(config_of(tmp_path), NoProgress())
    assert summary.images == 0
    assert set(summary.rejects) <= {"BAD_ARCHIVE", "NOT_DICOM", "UNREADABLE", "DECOMPRESSION_BOMB"}
