"""What `radio doctor --install` finds."""

import dataclasses
import importlib.metadata

import imagecodecs
import pytest

from radio_train import installation
from radio_train.installation import (
    Verdict,
    codec_findings,
    dali_findings,
    gpu_findings,
    inspect_installation,
    meets,
    package_findings,
    system_findings,
)


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_finds_what_this_project_needs(tmp_path):
    found = inspect_installation(tmp_path)
    assert not [each for each in found if each.verdict is Verdict.BROKEN]
    assert {each.group for each in found} == {"packages", "codecs", "gpu", "dali", "system"}
    assert by_name(found)["torch"].found == importlib.metadata.version("torch")


def test_names_missing_and_old_packages(monkeypatch):
    def version(name):
        if name in ("duckdb", "s3fs"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "numpy" else "99.0"

    monkeypatch.setattr(installation.importlib.metadata, "version", version)
    monkeypatch.setattr(
        installation.importlib.metadata,
        "requires",
        lambda _: ["duckdb>=1.4", "numpy>=1.26", 's3fs>=1; extra == "s3"', 'ruff>=1; extra == "dev"'],
    )
    found = by_name(package_findings())
    assert set(found) == {"python", "duckdb", "numpy", "s3fs"}
    assert (found["duckdb"].verdict, found["duckdb"].advice) == (Verdict.BROKEN, "pip install duckdb")
    assert (found["numpy"].verdict, found["numpy"].advice) == (Verdict.BROKEN, "pip install 'numpy>=1.26'")
    assert (found["s3fs"].verdict, "radio[s3]" in found["s3fs"].advice) == (Verdict.ABSENT, True)


@pytest.mark.parametrize(
    ("version", "bounds", "expected"),
    [
        ("1.4.0", ">=1.4", True),
        ("1.3.9", ">=1.4", False),
        ("3.0.1", ">=3.0,<4", True),
        ("4", "<4,>=3.0", False),
        ("2.13.0+cpu", ">=2.6", True),
        ("2.10", ">=2.9", True),
    ],
)
def test_compares_versions_by_their_numbers(version, bounds, expected):
    assert meets(version, bounds) is expected


def test_a_codec_that_changes_pixels_is_broken(monkeypatch):
    real = imagecodecs.jpegls_decode
    monkeypatch.setattr(imagecodecs, "jpegls_decode", lambda data: real(data) ^ 1)
    found = by_name(codec_findings())
    assert found["DICOM: JPEG-LS"].verdict is Verdict.BROKEN
    assert found["shards: htj2k"].found == "round trip exact"


def test_says_that_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (found,) = gpu_findings()
    assert found.verdict is Verdict.ABSENT
    assert found.advice


def test_dali_decodes_as_we_do():
    pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")
    assert by_name(dali_findings())["dali-cpu"].found == "decodes exactly"


def test_warns_of_little_space_and_few_files(monkeypatch, tmp_path):
    usage = dataclasses.make_dataclass("Usage", ["free"])
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda _: usage(free=1000))
    monkeypatch.setattr(installation.resource, "getrlimit", lambda _: (256, 1024))
    found = by_name(system_findings(tmp_path))
    assert found["space here"].verdict is Verdict.WARNING
    assert found["open files"].advice == "ulimit -n 4096"
    assert not any(str(tmp_path) in each.found for each in found.values())
