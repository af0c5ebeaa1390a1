"""The bench of builds, at a size that takes seconds."""

import json

import pytest
from typer.testing import CliRunner

from radio_cli.main import app
from radio_io.benchmarks.building import FLOOR_STAGES, STAGES, BuildSettings, measure_build, write_phantoms
from radio_io.dicom.walk import walk_sources
from radio_io.errors import DatasetError

SMALL = BuildSettings(files=16, rows=200, columns=150, profiled=4, png_files=2, png_levels=(1,), workers=1)


def test_measures_what_was_built(tmp_path):
    report = measure_build((), tmp_path, SMALL)
    assert (report.files, report.images) == (16, 16)
    assert report.pixel_bytes == 16 * 2 * 200 * 150
    assert set(report.stage_ms) == set(STAGES)
    assert all(report.stage_ms[stage] > 0 for stage in FLOOR_STAGES)
    assert report.floor_per_s > report.files_per_s > 0
    assert 0 < report.hash_share < 1
    assert report.png[0].files_per_s > 0


def test_phantoms_are_images_of_their_own(tmp_path):
    write_phantoms(tmp_path / "phantoms", SMALL)
    assert len({found.size_bytes for found in walk_sources([tmp_path / "phantoms"])}) > 2
    report = measure_build([str(tmp_path / "phantoms")], tmp_path, SMALL)
    assert report.images == 16


def test_refuses_what_holds_no_radiograph(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "note.txt").write_text("no image")
    (tmp_path / "out").mkdir()
    with pytest.raises(DatasetError, match="no file became an image"):
        measure_build([str(tmp_path / "src")], tmp_path / "out", SMALL)


def test_command(tmp_path):
    command = [
        "bench",
        "build",
        "--files",
        "8",
        "--png-files",
        "1",
        "--workers",
        "1",
        "--json",
        "--folder",
        str(tmp_path),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["images"] == 8
    assert report["of_floor"] > 0
    assert not list(tmp_path.iterdir())
