"""Measuring codecs: on phantoms and on files, and what it recommends."""

import json
import subprocess
import sys

import pytest

from radio_io.benchmarks.codec import CodecReport, CodecSpeed, measure_codecs, recommend
from radio_io.errors import DatasetError

HTJ2K = CodecSpeed(codec="htj2k", ratio=3.2, encode_mb_s=280, decode_mb_s=425)
FAST = CodecSpeed(codec="fast", ratio=3.0, encode_mb_s=690, decode_mb_s=840)
PNG = CodecSpeed(codec="png16", ratio=9.0, encode_mb_s=9000, decode_mb_s=9000)
REPORT = CodecReport(decoding=(), codecs=(HTJ2K, FAST, PNG), image_mb=6.0)


def test_says_what_storage_and_cores_allow():
    assert HTJ2K.images_per_s(storage_mb_s=60, cores=8, image_mb=6) == pytest.approx(60 * 3.2 / 6)
    assert HTJ2K.images_per_s(storage_mb_s=10_000, cores=8, image_mb=6) == pytest.approx(425 * 8 / 6)


@pytest.mark.parametrize(("storage", "cores", "codec"), [(100, 16, "htj2k"), (10_000, 2, "fast"), (1000, 2, "fast")])
def test_recommends_what_delivers_most(storage, cores, codec):
    assert recommend(REPORT, storage_mb_s=storage, cores=cores).codec == codec


def test_refuses_files_without_a_radiograph(tmp_path):
    (tmp_path / "a.dcm").write_text("no image")
    with pytest.raises(DatasetError, match="radiograph"):
        measure_codecs([str(tmp_path)])


def test_measures_the_files_it_is_given(built):
    command = [sys.executable, "-m", "radio_cli", "bench", "codec", str(built.export), "--rounds", "1", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(ended.stdout)
    names = {speed["transfer_syntax"] for speed in report["decoding"]}
    assert {"Explicit VR Little Endian", "RLE Lossless"} <= names
    assert all(speed["ours_ms"] > 0 for speed in report["decoding"])
    assert report["recommended"] in ("htj2k", "fast")
    assert all(speed["ratio"] > 1 for speed in report["codecs"])
