"""Reading files into datasets, whatever their first bytes claim."""

import hashlib
import os
import struct
import tarfile
import threading
import time
import tracemalloc
import zipfile
import zlib
from io import BytesIO

import pytest
from pydicom import dcmread

from radio_io.dicom import parse
from radio_io.dicom.parse import read_before_pixels, read_file
from radio_io.dicom.values import integer, text
from radio_io.errors import ImageRejectedError, RejectReason
from synthetic_dicom import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG_LOSSLESS,
    RADIOGRAPH,
    UNDEFINED,
    dataset_bytes,
    deflated,
    dicom_bytes,
    element,
    encoded,
    meta_bytes,
    sequence,
)

PIXELS = RADIOGRAPH["PixelData"]
SYNTAXES = [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED]
NATIVE = [IMPLICIT, EXPLICIT, BIG_ENDIAN]


def saved(tmp_path, data, name="file.dcm"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def reason(action, *arguments):
    with pytest.raises(ImageRejectedError) as caught:
        action(*arguments)
    return caught.value.reason


def outcome(action, source):
    """The reason of a reject, or None."""
    try:
        action(source)
    except ImageRejectedError as error:
        return error.reason
    return None


def reasons(tmp_path, data):
    """The one reason that both ways of reading give."""
    path = saved(tmp_path, data)
    found = {reason(read_file, data), reason(read_file, path), reason(read_before_pixels, path)}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_reads_every_encoding(tmp_path, syntax):
    data = dicom_bytes(syntax=syntax)
    whole, header = read_file(data), read_before_pixels(saved(tmp_path, data))
    for parsed in (whole, header):
        assert (parsed.transfer_syntax_uid, parsed.transfer_syntax_source) == (syntax, "meta")
        assert integer(parsed.dataset, "Rows") == 2
        assert text(parsed.dataset, "SeriesDescription") == "Knie re. ap"
        assert parsed.has_pixel_data
        assert parsed.damage is None
        assert parsed.content_digest is None
    assert whole.dataset.PixelData == PIXELS
    assert "PixelData" not in header.dataset


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("shape", ["no label", "no meta", "no preamble", "dataset alone", "label is no UID"])
def test_tells_the_encoding_without_a_label(tmp_path, syntax, shape):
    dataset = dataset_bytes(syntax=syntax)
    mark = bytes(128) + b"DICM"
    data = {
        "no label": mark + meta_bytes(None) + dataset,
        "no meta": mark + dataset,
        "no preamble": meta_bytes(None) + dataset,
        "dataset alone": dataset,
        "label is no UID": mark + meta_bytes("explicit") + dataset,
    }[shape]
    for parsed in (read_file(data), read_before_pixels(saved(tmp_path, data))):
        assert (parsed.transfer_syntax_uid, parsed.transfer_syntax_source) == (syntax, "sniffed")
        assert integer(parsed.dataset, "Columns") == 3


@pytest.mark.parametrize("true", NATIVE)
@pytest.mark.parametrize("label", SYNTAXES)
def test_corrects_a_label_that_the_bytes_contradict(tmp_path, true, label):
    data = dicom_bytes(syntax=true, label=label)
    for parsed in (read_file(data), read_before_pixels(saved(tmp_path, data))):
        assert parsed.transfer_syntax_uid == true
        assert parsed.transfer_syntax_source == ("meta" if true == label else "corrected")
        assert integer(parsed.dataset, "Rows") == 2


@pytest.mark.parametrize("true", [IMPLICIT, BIG_ENDIAN])
def test_keeps_the_label_of_compressed_pixels_in_a_wrongly_encoded_dataset(true):
    parsed = read_file(dicom_bytes(syntax=true, label=JPEG_LOSSLESS))
    assert (parsed.transfer_syntax_uid, parsed.transfer_syntax_source) == (JPEG_LOSSLESS, "corrected")
    assert integer(parsed.dataset, "Rows") == 2


def test_keeps_an_unknown_label():
    parsed = read_file(dicom_bytes(label="1.2.840.113619.5.2"))
    assert parsed.transfer_syntax_uid == "1.2.840.113619.5.2"
    assert integer(parsed.dataset, "Rows") == 2


def test_reads_a_meta_group_without_or_with_a_lying_length():
    body = element(0x00020010, "UI", EXPLICIT.encode())
    for length in (b"", element(0x00020000, "UL", struct.pack("<L", 9999))):
        assert read_file(bytes(128) + b"DICM" + length + body + dataset_bytes()).transfer_syntax_uid == EXPLICIT


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("size", [5_000, *range(32_400, 32_700, 20), 100_000])
def test_reads_a_dataset_that_begins_anywhere(tmp_path, syntax, size):
    """Behind private information of the meta group, on both sides of the end of the first window."""
    meta = element(0x00020010, "UI", syntax.encode()) + element(0x00020102, "OB", bytes(size))
    data = bytes(128) + b"DICM" + meta + dataset_bytes(syntax=syntax)
    parsed = read_before_pixels(saved(tmp_path, data))
    assert (parsed.transfer_syntax_uid, parsed.transfer_syntax_source) == (syntax, "meta")
    assert text(parsed.dataset, "StudyInstanceUID") == "1.2.3.4"
    assert read_file(data).dataset.PixelData == PIXELS


@pytest.mark.parametrize("size", range(31_600, 32_800, 40))
def test_reads_every_element_around_the_end_of_the_window(tmp_path, size):
    data = dicom_bytes({0x00090010: ("OB", bytes(size))})
    parsed = read_before_pixels(saved(tmp_path, data))
    assert parsed.has_pixel_data
    assert (text(parsed.dataset, "PatientID"), integer(parsed.dataset, "HighBit")) == ("4711", 11)


def test_reads_an_implicit_meta_group():
    meta = element(0x00020010, "UI", EXPLICIT.encode(), syntax=IMPLICIT)
    assert read_file(bytes(128) + b"DICM" + meta + dataset_bytes()).transfer_syntax_uid == EXPLICIT


def test_reads_a_preamble_of_any_content_and_a_mark_without_one():
    data = dicom_bytes()
    assert integer(read_file(b"\xff" * 128 + data[128:]).dataset, "Rows") == 2
    assert integer(read_file(data[128:]).dataset, "Rows") == 2


def test_agrees_with_pydicom_on_every_element():
    changes = {
        "AnatomicRegionSequence": ("SQ", sequence(encoded("CodeValue", "T-D8800"))),
        0x00091001: ("UN", b"private value"),
        0x00090010: ("LO", b"CREATOR"),
    }
    for syntax in (EXPLICIT, DEFLATED):
        data = dicom_bytes(changes, syntax=syntax)
        ours, theirs = read_file(data).dataset, dcmread(BytesIO(data))
        assert set(ours.keys()) == set(theirs.keys())
        assert all(ours[tag] == theirs[tag] for tag in list(theirs.keys()))


@pytest.mark.parametrize("vr", ["SQ", "UN"])
def test_skips_sequences_of_undefined_length_before_the_pixels(tmp_path, vr):
    inner = sequence(encoded("CodeValue", "A"), undefined=True)
    deep = inner
    for _ in range(6):
        body = element(0x00081140, "SQ", deep, length=UNDEFINED)
        deep = sequence(body, body, undefined=True)
    odd = element(0x00091010, vr, deep, length=UNDEFINED)
    data = dicom_bytes()
    place = data.index(struct.pack("<HH", 0x0010, 0x0010))
    data = data[:place] + odd + data[place:]
    for parsed in (read_file(data), read_before_pixels(saved(tmp_path, data))):
        assert integer(parsed.dataset, "Rows") == 2
        assert parsed.damage is None


def test_closes_a_sequence_whose_item_delimiter_is_missing():
    value = sequence(encoded("CodeValue", "A"), undefined=True)
    value = value.replace(struct.pack("<HHL", 0xFFFE, 0xE00D, 0), b"")
    data = dicom_bytes()
    place = data.index(struct.pack("<HH", 0x0010, 0x0010))
    parsed = read_file(data[:place] + element(0x00091010, "SQ", value, length=UNDEFINED) + data[place:])
    assert integer(parsed.dataset, "Rows") == 2


def fragments(*parts, closed=True):
    items = sequence(b"", *parts)
    return items + (struct.pack("<HHL", 0xFFFE, 0xE0DD, 0) if closed else b"")


@pytest.mark.parametrize("closed", [True, False])
def test_gives_fragments_without_their_delimiter(closed):
    value = fragments(b"\xff\xd8frame\0", b"\xff\xd9", closed=closed)
    data = dicom_bytes({"PixelData": None}, label=JPEG_LOSSLESS) + element(0x7FE00010, "OB", value, length=UNDEFINED)
    parsed = read_file(data)
    assert parsed.dataset.PixelData == fragments(b"\xff\xd8frame\0", b"\xff\xd9", closed=False)
    assert parsed.dataset["PixelData"].is_undefined_length


def test_takes_a_delimiter_inside_a_fragment_for_pixels():
    """Whoever searches for the bytes of the delimiter, as pydicom does, cuts this image."""
    frame = b"ab" + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0) + b"cd"
    data = dicom_bytes({"PixelData": None}, label=JPEG_LOSSLESS)
    data += element(0x7FE00010, "OB", fragments(frame), length=UNDEFINED)
    assert frame in bytes(read_file(data).dataset.PixelData)


def test_gives_what_there_is_of_cut_pixels():
    data = dicom_bytes()
    assert read_file(data[:-5]).dataset.PixelData == PIXELS[:-5]


def test_ignores_what_follows_the_pixels():
    for tail in (element(0xFFFCFFFC, "OB", bytes(500)), b"\0" * 99, b"garbage"):
        parsed = read_file(dicom_bytes() + tail)
        assert parsed.dataset.PixelData == PIXELS
        assert parsed.damage is None


@pytest.mark.parametrize(
    "changes", [{"PixelData": None}, {"PixelData": b""}, {"PixelData": None, "FloatPixelData": ("OF", bytes(24))}]
)
def test_sees_that_there_is_no_pixel_data(tmp_path, changes):
    data = dicom_bytes(changes)
    assert not read_file(data).has_pixel_data
    assert not read_before_pixels(saved(tmp_path, data)).has_pixel_data


def test_is_not_deceived_by_pixels_of_an_icon(tmp_path):
    icon = sequence(encoded("Rows", 1) + encoded("PixelData", b"\1\0"))
    data = dicom_bytes({"IconImageSequence": ("SQ", icon), "PixelData": None})
    assert not read_file(data).has_pixel_data
    assert not read_before_pixels(saved(tmp_path, data)).has_pixel_data


@pytest.mark.parametrize(
    ("data", "expected", "detail"),
    [
        (b"", RejectReason.EMPTY_FILE, "0 bytes"),
        (b"\xff\xd8\xff\xe0" + bytes(500), RejectReason.NOT_DICOM, "JPEG"),
        (b"PK\x03\x04" + bytes(500), RejectReason.NOT_DICOM, "zip"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), RejectReason.NOT_DICOM, "PNG"),
        (b"%PDF-1.4\n" + bytes(500), RejectReason.NOT_DICOM, "PDF"),
        (b"Patient: somebody\n" * 30, RejectReason.NOT_DICOM, "a text file, not DICOM"),
        (b"x", RejectReason.NOT_DICOM, "text"),
        (bytes(4096), RejectReason.NOT_DICOM, "zeros"),
        (bytes(range(256)) * 8, RejectReason.NOT_DICOM, "no DICM mark"),
        (b"\xff" * 4096, RejectReason.NOT_DICOM, "no DICM mark"),
        (bytes(128) + b"DICM", RejectReason.NO_TRANSFER_SYNTAX, "TransferSyntaxUID"),
        (bytes(128) + b"DICM" + b"garbage!" * 40, RejectReason.NO_TRANSFER_SYNTAX, "TransferSyntaxUID"),
        (bytes(128) + b"DICM\x02\x00\x10\x00UI\x12", RejectReason.BAD_HEADER, "stray bytes"),
    ],
)
def test_refuses_what_is_not_dicom_with_its_kind(tmp_path, data, expected, detail):
    assert reasons(tmp_path, data) is expected
    with pytest.raises(ImageRejectedError, match=detail):
        read_file(data)


def disguised(kind):
    """An archive of two radiographs, neither of them packed, whose first bytes hold the beginning of the first."""
    buffer = BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in ("1.dcm", "2.dcm"):
                archive.writestr(name, dicom_bytes())
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name in ("1.dcm", "2.dcm"):
            entry = tarfile.TarInfo(name)
            entry.size = len(dicom_bytes())
            archive.addfile(entry, BytesIO(dicom_bytes()))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_does_not_take_an_archive_for_its_first_member(tmp_path, kind):
    data = disguised(kind)
    assert reasons(tmp_path, data) is RejectReason.NOT_DICOM
    with pytest.raises(ImageRejectedError, match=r"archive, not DICOM: its members are read where its name ends in"):
        read_file(data)


def test_still_reads_dicom_whose_preamble_is_that_of_an_archive():
    for start in (b"PK\x03\x04", b"Rar!", b"BZh91AY&SY"):
        assert read_file(start.ljust(128, b"\0") + dicom_bytes()[128:]).has_pixel_data


def test_says_where_a_header_breaks_off(tmp_path):
    data = dicom_bytes()
    lying = data.replace(encoded("PatientID", "4711"), element(0x00100020, "LO", b"4711", length=60_000))
    for parsed in (read_file(lying), read_before_pixels(saved(tmp_path, lying))):
        assert parsed.damage is not None
        assert "(0010,0020) claims 60000 bytes" in parsed.damage
        assert text(parsed.dataset, "Modality") == "CR"
        assert not parsed.has_pixel_data


@pytest.mark.parametrize("position", range(132, 900, 7))
def test_ends_at_every_cut_with_a_file_or_a_reason(tmp_path, position):
    data = dicom_bytes()[:position]
    for action, source in ((read_file, data), (read_before_pixels, saved(tmp_path, data))):
        assert outcome(action, source) in {None, RejectReason.NO_TRANSFER_SYNTAX, RejectReason.BAD_HEADER}


def test_inflates_with_a_bound(tmp_path, monkeypatch):
    """A header of 16 MiB and more before the pixels, and a file of 256 MiB, are bombs."""
    monkeypatch.setattr(parse, "MAX_INFLATED_HEADER_BYTES", 100_000)
    monkeypatch.setattr(parse, "MAX_INFLATED_BYTES", 1_000_000)
    late = dicom_bytes({0x00091010: ("OB", bytes(150_000))}, syntax=DEFLATED)
    large = dicom_bytes({"PixelData": bytes(1_100_000)}, syntax=DEFLATED)
    assert reason(read_before_pixels, saved(tmp_path, late)) is RejectReason.DECOMPRESSION_BOMB
    assert reason(read_file, large) is RejectReason.DECOMPRESSION_BOMB
    assert read_before_pixels(saved(tmp_path, large)).has_pixel_data
    assert integer(read_file(late).dataset, "Rows") == 2


@pytest.mark.slow
def test_stays_small_under_a_real_bomb(tmp_path):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = encoded("SpecificCharacterSet", "ISO_IR 100") + element(0x00091010, "OB", b"", length=1_300_000_000)
    bomb = packer.compress(head) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(1300)) + packer.flush()
    path = saved(tmp_path, bytes(128) + b"DICM" + meta_bytes(DEFLATED) + bomb)
    assert path.stat().st_size < 2_000_000
    tracemalloc.start()
    try:
        assert reason(read_before_pixels, path) is RejectReason.DECOMPRESSION_BOMB
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
        assert reason(read_file, path) is RejectReason.DECOMPRESSION_BOMB
        assert tracemalloc.get_traced_memory()[1] < 700 << 20
    finally:
        tracemalloc.stop()


def test_inflates_with_a_zlib_header_too():
    data = bytes(128) + b"DICM" + meta_bytes(DEFLATED) + zlib.compress(dataset_bytes())
    assert integer(read_file(data).dataset, "Rows") == 2


def test_reads_what_a_cut_deflate_stream_holds():
    packed = deflated(dataset_bytes({"PixelData": bytes(range(256)) * 40}))
    parsed = read_file(bytes(128) + b"DICM" + meta_bytes(DEFLATED) + packed[:-20])
    assert integer(parsed.dataset, "Rows") == 2


def test_refuses_a_deflated_dataset_that_is_none():
    data = bytes(128) + b"DICM" + meta_bytes(DEFLATED) + b"\xff" * 300
    assert reason(read_file, data) is RejectReason.BAD_HEADER


@pytest.mark.parametrize("length", [0, 8])
def test_does_not_hang_on_a_flood_of_elements(tmp_path, length):
    flood = struct.pack("<HH2sH", 0x0009, 0x1010, b"LO", length) + bytes(length)
    data = dicom_bytes({"PixelData": None}) + flood * 2_000_000
    started = time.monotonic()
    parsed = read_before_pixels(saved(tmp_path, data))
    assert "more than 1000000" in parsed.damage
    # 0.7 s here; a machine ten times as slow still passes.
    assert time.monotonic() - started < 10


def test_does_not_recurse_into_nested_sequences(tmp_path):
    head = struct.pack("<HH2s2xL", 0x0008, 0x1140, b"SQ", UNDEFINED) + struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    data = dicom_bytes({"PixelData": None}) + head * 50_000
    for parsed in (read_file(data), read_before_pixels(saved(tmp_path, data))):
        assert "nested deeper" in parsed.damage


def test_reads_no_more_than_the_header(tmp_path, monkeypatch):
    data = dicom_bytes({0x00091010: ("OB", bytes(3_000_000)), "PixelData": bytes(8_000_000)})
    path, sizes, pread = saved(tmp_path, data), [], os.pread

    def count(descriptor, size, position):
        sizes.append(size)
        return pread(descriptor, size, position)

    monkeypatch.setattr(os, "pread", count)
    assert read_before_pixels(path).has_pixel_data
    assert sum(sizes) <= 2 * 32 * 1024


def test_keeps_allow_listed_attributes_only(tmp_path):
    header = read_before_pixels(saved(tmp_path, dicom_bytes({0x00091010: ("LO", b"private")}))).dataset
    assert "PatientID" in header
    assert "PatientName" not in header
    assert (0x0009, 0x1010) not in header


@pytest.mark.parametrize("uid", [None, "", "\0"])
def test_adds_a_digest_of_the_content_where_there_is_no_instance_uid(tmp_path, uid):
    data = dicom_bytes({"SOPInstanceUID": uid})
    expected = hashlib.sha256(data).hexdigest()
    assert read_file(data).content_digest == expected
    assert read_before_pixels(saved(tmp_path, data)).content_digest == expected


@pytest.mark.parametrize("action", [read_file, read_before_pixels])
def test_refuses_what_is_no_regular_file_without_waiting(tmp_path, action):
    os.mkfifo(tmp_path / "fifo")
    assert reason(action, tmp_path / "fifo") is RejectReason.UNREADABLE
    assert reason(action, tmp_path) is RejectReason.UNREADABLE
    assert reason(action, "/dev/zero") is RejectReason.UNREADABLE
    assert reason(action, tmp_path / "missing") is RejectReason.VANISHED
    assert reason(action, tmp_path / "fifo" / "below") is RejectReason.VANISHED
    assert reason(action, f"{tmp_path}/\0") is RejectReason.UNREADABLE
    assert reason(action, tmp_path / ("x" * 300)) is RejectReason.UNREADABLE
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert reason(action, tmp_path / "loop") is RejectReason.SYMLINK_LOOP


@pytest.mark.parametrize("action", [read_file, read_before_pixels])
def test_translates_an_error_of_the_drive(tmp_path, monkeypatch, action):
    def fail(*_):
        raise OSError(5, "Input/output error")

    path = saved(tmp_path, dicom_bytes())
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(ImageRejectedError) as caught:
        action(path)
    assert caught.value.reason is RejectReason.UNREADABLE
    assert str(tmp_path) not in str(caught.value)


def test_opens_names_that_are_no_utf8(tmp_path):
    path = str(saved(tmp_path, dicom_bytes(), os.fsdecode(b"\xff\xe9")))
    assert integer(read_file(path).dataset, "Rows") == 2
    assert integer(read_before_pixels(path).dataset, "Rows") == 2


def test_notices_a_file_that_grows_or_shrinks_while_it_is_read(tmp_path, monkeypatch):
    path, pread = saved(tmp_path, dicom_bytes()), os.pread

    def grow(descriptor, size, position):
        with path.open("ab") as file:
            file.write(b"more")
        return pread(descriptor, size, position)

    def shrink(descriptor, size, position):
        os.truncate(path, 100)
        return pread(descriptor, size, position)

    for change in (grow, shrink):
        monkeypatch.setattr(os, "pread", change)
        assert reason(read_file, path) is RejectReason.CHANGED_WHILE_READING


def test_refuses_a_file_that_no_radiograph_is(tmp_path):
    path = saved(tmp_path, dicom_bytes())
    os.truncate(path, parse.MAX_FILE_BYTES + 1)
    assert reason(read_file, path) is RejectReason.TOO_LARGE


def test_reads_in_several_threads(tmp_path):
    path, results = saved(tmp_path, dicom_bytes()), []

    def read():
        results.extend(integer(read_before_pixels(path).dataset, "Rows") for _ in range(50))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2] * 200


@pytest.mark.parametrize("junk", [b"\x20", b"sender header\r\n\r\n", bytes(100), bytes(range(256)) * 2])
@pytest.mark.parametrize("part", ["mark", "meta", "dataset"])
def test_finds_dicom_behind_foreign_bytes(tmp_path, junk, part):
    data = dicom_bytes(syntax=EXPLICIT)
    start = {"mark": 128, "meta": 132, "dataset": data.index(b"\x08\x00\x16\x00UI")}[part]
    changed = junk + data[start:]
    for parsed in (read_file(changed), read_before_pixels(saved(tmp_path, changed))):
        assert integer(parsed.dataset, "Rows") == 2
        assert parsed.has_pixel_data


def test_looks_for_dicom_at_the_beginning_only(tmp_path):
    assert reasons(tmp_path, bytes(2000) + dicom_bytes(syntax=EXPLICIT)) is RejectReason.NOT_DICOM


def test_knows_pixels_in_floating_point(tmp_path):
    data = dicom_bytes({"PixelData": None})
    floats = data + struct.pack("<HH2sHI", 0x7FE0, 0x0008, b"OF", 0, 16) + bytes(16)
    for parsed in (read_file(floats), read_before_pixels(saved(tmp_path, floats))):
        assert (parsed.has_pixel_data, parsed.has_float_pixels) == (False, True)
