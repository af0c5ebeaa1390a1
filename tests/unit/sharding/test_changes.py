"""What becomes of files that change between two runs, of rejects that are tried again, and of frames."""

import os

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from radio_io.config import BuildConfig, FramePolicy
from radio_io.errors import RejectReason, UsageError
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding import retry, shard_unit
from radio_io.sharding.build import build_dataset, scan
from radio_io.sharding.retry import parse_reasons, request_retry
from radio_io.sharding.verify import verify_dataset
from synthetic_dicom import RADIOGRAPH, dicom_bytes

RNG = np.random.default_rng(12)


def picture(seed, frames=1):
    """Smooth structure with noise, `[frames, 64, 48]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :48]
    frames = [
        1000 + 800 * np.sin(y / 9 + rng.uniform(0, 6)) * np.cos(x / 7) + rng.normal(0, 20, y.shape)
        for _ in range(frames)
    ]
    return np.stack(frames).astype("<u2")


def write(path, seed, *, frames=1, **changes):
    pixels = picture(seed, frames)
    attributes = {
        "SOPInstanceUID": f"1.2.3.{seed}",
        "PatientID": f"patient {seed}",
        "Rows": 64,
        "Columns": 48,
        "PixelData": pixels.tobytes(),
    }
    if frames > 1:
        attributes["NumberOfFrames"] = str(frames)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(dicom_bytes(attributes | changes))
    return pixels


def config(tmp_path, **settings):
    return BuildConfig(dataset=tmp_path / "d", sources=(str(tmp_path / "src"),), workers=0, **settings)


def adds_up(summary):
    return summary.images + sum(summary.rejects.values()) == summary.found + summary.extra_frames


def rows_of(tmp_path, sql):
    with duckdb.connect(str(tmp_path / "d" / "index.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_a_touched_file_counts_once(tmp_path):
    for seed in range(3):
        write(tmp_path / "src" / f"{seed}.dcm", seed)
    (tmp_path / "src" / "text.dcm").write_text("no image")
    build_dataset(config(tmp_path), NoProgress())
    for path in (tmp_path / "src").iterdir():
        os.utime(path, (1, 1))
    for _ in range(2):
        summary = build_dataset(config(tmp_path), NoProgress())
        assert (summary.found, summary.images, summary.rejects) == (4, 3, {"NOT_DICOM": 1})
        assert summary.new_shards == 0


def test_a_reject_that_became_an_image_counts_once(tmp_path):
    path = tmp_path / "src" / "1.dcm"
    write(path, 1)
    whole = path.read_bytes()
    path.write_bytes(b"not yet copied")
    assert build_dataset(config(tmp_path), NoProgress()).rejects == {"NOT_DICOM": 1}
    path.write_bytes(whole)
    summary = build_dataset(config(tmp_path), NoProgress())
    assert (summary.found, summary.images, summary.rejects) == (1, 1, {})


def test_an_image_that_was_replaced_counts_as_a_further_file(tmp_path):
    path = tmp_path / "src" / "1.dcm"
    write(path, 1)
    build_dataset(config(tmp_path), NoProgress())
    write(path, 2)
    summary = build_dataset(config(tmp_path), NoProgress())
    assert (summary.found, summary.images) == (2, 2)
    assert verify_dataset(tmp_path / "d", NoProgress(), workers=0).faults == []


@pytest.mark.parametrize("policy", list(FramePolicy))
def test_takes_frames_as_it_is_told(tmp_path, policy):
    write(tmp_path / "src" / "0.dcm", 0)
    write(tmp_path / "src" / "1.dcm", 1, frames=5)
    summary = build_dataset(config(tmp_path, frames=policy), NoProgress())
    expected = {"reject": (1, 0), "first": (2, 0), "all": (6, 4)}[policy]
    assert (summary.images, summary.extra_frames) == expected
    assert summary.found == 2
    assert adds_up(summary)
    numbers = [n for (n,) in rows_of(tmp_path, "SELECT frame_number FROM images ORDER BY ALL")]
    assert numbers == {"reject": [1], "first": [1, 1], "all": [1, 1, 2, 3, 4, 5]}[policy]
    assert verify_dataset(tmp_path / "d", NoProgress(), workers=0).faults == []


def test_every_frame_is_its_own_picture(tmp_path):
    pixels = write(tmp_path / "src" / "1.dcm", 1, frames=3)
    build_dataset(config(tmp_path, frames="all"), NoProgress())
    found = rows_of(tmp_path, "SELECT mean FROM images ORDER BY frame_number")
    np.testing.assert_allclose([mean for (mean,) in found], pixels.mean(axis=(1, 2)))


def test_a_number_of_frames_that_lies_costs_one_reject(tmp_path):
    write(tmp_path / "src" / "1.dcm", 1, NumberOfFrames="2000000000")
    write(tmp_path / "src" / "2.dcm", 2, NumberOfFrames="7")
    summary = build_dataset(config(tmp_path, frames="all"), NoProgress())
    assert (summary.found, summary.images) == (2, 0)
    assert adds_up(summary)


def test_tries_again_what_it_is_told_to(tmp_path):
    for seed in range(4):
        write(tmp_path / "src" / f"{seed}.dcm", seed)
    folder = tmp_path / "src" / "later"
    folder.mkdir()
    broken = tmp_path / "src" / "1.dcm"
    whole, status = broken.read_bytes(), broken.stat()
    broken.write_bytes(whole[:-100])
    first = build_dataset(config(tmp_path), NoProgress())
    assert first.rejects == {"TRUNCATED": 1}
    before = {path: path.read_bytes() for path in (tmp_path / "d").glob("*/*/*.tar")}
    broken.write_bytes(whole)
    os.utime(broken, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = build_dataset(config(tmp_path), NoProgress(), retry=parse_reasons(["truncated"]))
    assert (again.found, again.images, again.rejects) == (4, 4, {})
    assert {path: path.read_bytes() for path in before} == before
    assert verify_dataset(tmp_path / "d", NoProgress(), workers=0).faults == []
    assert build_dataset(config(tmp_path), NoProgress()).new_shards == 0


@pytest.mark.parametrize("step", ["drop_rows", "_rewrite_without", "unlink"])
def test_goes_on_with_an_interrupted_retry(tmp_path, monkeypatch, step):
    for seed in range(3):
        write(tmp_path / "src" / f"{seed}.dcm", seed)
    write(tmp_path / "src" / "cut.dcm", 9, PixelData=bytes(10))
    write(tmp_path / "src" / "ct.dcm", 8, Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    build_dataset(config(tmp_path), NoProgress())
    layout = DatasetLayout(tmp_path / "d")
    request_retry(layout, parse_reasons(["TRUNCATED", "WRONG_MODALITY"]))
    calls = 0
    target = retry if step != "unlink" else type(layout.private)
    original = getattr(target, step)

    def stop_in_the_middle(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == (2 if step == "_rewrite_without" else 1):
            raise KeyboardInterrupt
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(target, step, stop_in_the_middle)
        with pytest.raises(KeyboardInterrupt):
            scan(config(tmp_path), NoProgress())
    summary = build_dataset(config(tmp_path), NoProgress())
    assert (summary.found, summary.images) == (5, 3)
    assert summary.rejects == {"TRUNCATED": 1, "WRONG_MODALITY": 1}
    assert not (layout.private / "retry.json").exists()


@pytest.mark.parametrize("name", ["NO_SUCH", "TOO_LARGE", "DUPLICATE", "WITHDRAWN"])
def test_refuses_reasons_that_stay(name):
    with pytest.raises(UsageError, match=name):
        parse_reasons([name])
    assert parse_reasons(["timeout", "VANISHED"]) == {RejectReason.TIMEOUT, RejectReason.VANISHED}


def test_copies_under_other_patients_are_duplicates_whatever_their_splits(tmp_path):
    for number in range(30):
        write(tmp_path / "src" / f"{number}.dcm", 1, PatientID=f"patient {number}")
    summary = build_dataset(config(tmp_path), NoProgress())
    assert (summary.images, summary.rejects) == (1, {"DUPLICATE": 29})
    assert verify_dataset(tmp_path / "d", NoProgress(), workers=0).faults == []


def test_lists_names_of_regions_that_many_patients_have(tmp_path):
    for seed in range(12):
        write(tmp_path / "src" / f"{seed}.dcm", seed, BodyPartExamined="Flugel Dex", SeriesDescription="")
    for seed in range(12, 21):
        write(tmp_path / "src" / f"{seed}.dcm", seed, BodyPartExamined="Erika Muster", SeriesDescription="")
    for seed in range(21, 40):
        write(
            tmp_path / "src" / f"{seed}.dcm", seed, BodyPartExamined="One Patient", SeriesDescription="", PatientID="1"
        )
    summary = scan(config(tmp_path), NoProgress())
    assert summary.unmapped_regions == {"flugel dex": 12}
    assert summary.regions == {"Unknown": 40}


def test_the_fixture_is_a_radiograph():
    assert RADIOGRAPH["Modality"] == "CR"


def test_a_mistake_of_ours_costs_one_file_and_says_where(tmp_path, monkeypatch):
    for seed in range(3):
        write(tmp_path / "src" / f"{seed}.dcm", seed)
    original = shard_unit.make_sample

    def fails_for_one(parsed, context, *, frame):
        if parsed.dataset.PatientID == "patient 1":
            raise KeyError("Muster^Erika")
        return original(parsed, context, frame=frame)

    monkeypatch.setattr(shard_unit, "make_sample", fails_for_one)
    summary = build_dataset(config(tmp_path), NoProgress())
    assert (summary.images, summary.rejects) == (2, {"INTERNAL_ERROR": 1})
    lists = [pq.read_table(path) for path in DatasetLayout(tmp_path / "d").rejects_dir.glob("*/*/*.parquet")]
    (detail,) = [detail for table in lists for detail in table["detail"].to_pylist()]
    assert detail.startswith("KeyError at ")
    assert "test_changes.py:" in detail
    assert "Muster" not in detail
