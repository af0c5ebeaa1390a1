"""What a dead worker had finished of its shard is taken over, as far as it reads back as it was noted."""

import contextlib
import dataclasses
import errno
import os

import numpy as np
import pytest

from radio_io.config import BuildConfig
from radio_io.errors import RejectReason, StorageError
from radio_io.layout import DatasetLayout
from radio_io.progress import NoProgress
from radio_io.sharding import file_ahead, shard_unit
from radio_io.sharding.build import open_key, scan
from radio_io.sharding.journal import NotedReject, open_journal, read_progress
from radio_io.sharding.plan import GuiltyFile, extend_plan, planned_shards
from radio_io.sharding.sample import Sample, decode_metadata, encode_metadata, sample_context
from radio_io.sharding.shard_unit import build_shard
from synthetic_dicom import dicom_bytes
from unit.dicom import make_dicom as make

FILES = 12
DEATH = 8


class DeathError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def planned(tmp_path):
    """A plan of one shard of `FILES` files, one of them blank and one twice there."""
    (tmp_path / "src").mkdir()
    for number in range(FILES):
        pixels = make.picture(64, 48, seed=max(number, 1), noise=0.02) if number != 3 else np.zeros((64, 48))
        changes = {"SOPInstanceUID": f"1.2.3.{max(number, 1)}", "PatientID": "one", "Rows": 64, "Columns": 48}
        path = tmp_path / "src" / f"{number:05}.dcm"
        path.write_bytes(dicom_bytes(changes | {"PixelData": pixels.astype("<u2").tobytes()}))
    config = BuildConfig(dataset=tmp_path / "d", sources=(str(tmp_path / "src"),), workers=0)
    pseudonyms = open_key(config)
    scan(config, NoProgress())
    extend_plan(config, pseudonyms)
    (plan,) = planned_shards(DatasetLayout(config.dataset))
    return config, sample_context(config, pseudonyms), plan


def die_at(monkeypatch, position, plan, error=DeathError):
    """Let the file at a position end the process; returns the paths that are read."""
    read = []
    original = file_ahead.read_bytes

    def reading(path, *others):
        read.append(path)
        if path == plan.files[position].path:
            raise error
        return original(path, *others)

    monkeypatch.setattr(file_ahead, "read_bytes", reading)
    monkeypatch.setattr(shard_unit, "internal_error", lambda error: (_ for _ in ()).throw(error))
    return read


def contents(layout, shard_id):
    paths = [*layout.shard_paths(shard_id), layout.shard_rejects_path(shard_id)]
    return [path.read_bytes() for path in paths]


def without(plan, position):
    guilty = GuiltyFile(position=position, reason="WORKER_CRASHED", detail="for the test")
    return dataclasses.replace(plan, guilty=(guilty,))


def died(planned, monkeypatch):
    """The state after the death of a process; its files keep the names that it gave them."""
    config, context, plan = planned
    layout = DatasetLayout(config.dataset)
    read = die_at(monkeypatch, DEATH, plan)
    unlinked = type(layout.root).unlink
    temp = str(layout.tar_path(plan.shard_id).parent / ".tmp-")
    monkeypatch.setattr(
        type(layout.root),
        "unlink",
        lambda path, **options: None if str(path).startswith(temp) else unlinked(path, **options),
    )
    with pytest.raises(DeathError):
        build_shard(str(config.dataset), context, plan)
    monkeypatch.setattr(type(layout.root), "unlink", unlinked)
    # A later process has another number.
    (left,) = layout.tar_path(plan.shard_id).parent.glob(".tmp-*")
    left.rename(left.with_name(left.name.replace(str(os.getpid()), "4000000")))
    note = next((layout.private / "in_progress").iterdir())
    note.write_text(note.read_text().replace(f"pid {os.getpid()}", "pid 4000000"))
    read.clear()
    return layout, read


def test_takes_over_what_was_finished(planned, monkeypatch):
    config, context, plan = planned
    layout, read = died(planned, monkeypatch)
    progress = read_progress(layout, plan.shard_id)
    assert (progress.position, len(progress.done)) == (DEATH, DEATH)
    receipt = build_shard(str(config.dataset), context, without(plan, DEATH))
    assert read == [file.path for file in plan.files[DEATH + 1 :]]
    assert receipt.rejects == {"WORKER_CRASHED": 1, "BLANK_IMAGE": 1, "DUPLICATE": 1}
    resumed = contents(layout, plan.shard_id)
    read.clear()
    again = build_shard(str(config.dataset), context, without(plan, DEATH))
    assert len(read) == FILES - 1
    assert contents(layout, plan.shard_id) == resumed
    assert dataclasses.replace(again, slowest_file_s=0) == dataclasses.replace(receipt, slowest_file_s=0)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_decodes_again_what_does_not_read_back(planned, monkeypatch, damage):
    config, context, plan = planned
    layout, read = died(planned, monkeypatch)
    (left,) = layout.tar_path(plan.shard_id).parent.glob(".tmp-4000000-*")
    data = bytearray(left.read_bytes())
    middle = len(data) // 2
    if damage == "gone":
        left.unlink()
    else:
        left.write_bytes(data[:middle] if damage == "cut" else data[:middle] + bytes(len(data) - middle))
    build_shard(str(config.dataset), context, without(plan, DEATH))
    assert FILES - DEATH - 1 < len(read) <= FILES - 1
    damaged = contents(layout, plan.shard_id)
    build_shard(str(config.dataset), context, without(plan, DEATH))
    assert contents(layout, plan.shard_id) == damaged


def test_a_journal_of_another_run_is_not_used(planned, monkeypatch):
    config, context, plan = planned
    _, read = died(planned, monkeypatch)
    monkeypatch.undo()
    original = file_ahead.read_bytes
    monkeypatch.setattr(file_ahead, "read_bytes", lambda path, *others: read.append(path) or original(path, *others))
    build_shard(str(config.dataset), context, plan)
    assert len(read) == FILES


def test_reads_what_was_noted(tmp_path):
    layout = DatasetLayout(tmp_path / "d")
    with contextlib.suppress(DeathError), open_journal(layout, "train/h1536w1536/000000") as journal:
        journal.at(0)
        journal.rejected(RejectReason.BLANK_IMAGE, 'with "quotes",\nlines and ü')
        journal.at(1)
        raise DeathError
    progress = read_progress(layout, "train/h1536w1536/000000")
    assert progress.position == 1
    assert [(each.reason, each.detail) for each in progress.done] == [
        (RejectReason.BLANK_IMAGE, 'with "quotes",\nlines and ü')
    ]
    with open_journal(layout, "train/h1536w1536/000000"):
        assert read_progress(layout, "train/h1536w1536/000000") is None
    assert not list((layout.private / "in_progress").iterdir())


def test_a_row_comes_back_from_its_json_member(planned):
    _, context, plan = planned
    for file in plan.files:
        sample = shard_unit.one_sample(context, file)
        if isinstance(sample, Sample):
            assert decode_metadata(encode_metadata(sample.row)) == sample.row


@pytest.mark.parametrize("torn", [b"at 1image 12\n", b"at 1\nreject [1\n", b"reject 7\n", b"image \xff\n", b"at\n"])
def test_what_the_disk_did_not_take_whole_ends_what_is_known(tmp_path, torn):
    layout, shard_id = DatasetLayout(tmp_path / "d"), "train/h1536w1536/000000"
    with contextlib.suppress(DeathError), open_journal(layout, shard_id) as journal:
        journal.at(0)
        journal.rejected(RejectReason.BLANK_IMAGE, "")
        raise DeathError
    (path,) = (layout.private / "in_progress").iterdir()
    path.write_bytes(path.read_bytes() + torn + b"at 9\n")
    progress = read_progress(layout, shard_id)
    assert progress.position in (0, 1)
    assert progress.done == (NotedReject(RejectReason.BLANK_IMAGE, ""),)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("radio_io.sharding.journal.os.write", full)
    with pytest.raises(StorageError, match="free some space"), open_journal(DatasetLayout(tmp_path), "train/h1w1/0"):
        pass
