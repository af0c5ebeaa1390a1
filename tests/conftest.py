"""Fixtures that several packages share: a synthetic export and a dataset built from it."""

import hashlib
import os
import secrets
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from radio_io.config import BuildConfig
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import KEY_BYTES
from radio_io.progress import NoProgress
from radio_io.sharding.build import BuildSummary, build_dataset
from radio_io.synth import write_export

# Keys of datasets that tests build in this process follow from the test: chance decides nothing, runs repeat.
_real_token_bytes = secrets.token_bytes
_drawn: Counter[str] = Counter()


def _token_bytes_of_the_test(nbytes: int | None = None) -> bytes:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
    if nbytes != KEY_BYTES or not test:
        return _real_token_bytes(nbytes)
    _drawn[test] += 1
    return hashlib.sha256(f"{test} {_drawn[test]}".encode()).digest()


secrets.token_bytes = _token_bytes_of_the_test

REAL_FILES = Path(__file__).parent / "data" / "dicom"


@dataclass(frozen=True)
class Built:
    """A dataset, the export it was built from, and what the build said."""

    root: Path
    export: Path
    summary: BuildSummary


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    """80 synthetic radiographs and the bundled real ones, built with two workers."""
    folder = tmp_path_factory.mktemp("built")
    export = folder / "export"
    write_export(export, images=80, seed=5, scale=0.08, labels=True, workers=0, progress=NoProgress())
    layout = DatasetLayout(folder / "shards")  # a known key, so that every session has the same splits and order
    layout.private.mkdir(mode=0o700)
    layout.key_file.write_bytes(bytes(range(32)))
    layout.key_file.chmod(0o600)
    sources = (str(export), str(REAL_FILES))
    summary = build_dataset(BuildConfig(dataset=folder / "shards", sources=sources, workers=2), NoProgress())
    return Built(folder / "shards", export, summary)
