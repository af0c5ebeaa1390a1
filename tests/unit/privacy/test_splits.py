"""Splits over many patients: nobody in two, the shares as asked for, nobody moved by new files."""

import os
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

from radio_io.checked_table import encode_table
from radio_io.config import BuildConfig, SplitShares
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer, person_of
from radio_io.sharding.plan import extend_plan, planned_shards
from radio_io.sharding.scan_table import SCAN_SCHEMA

PATIENTS = 100_000
PSEUDONYMS = Pseudonymizer(bytes(range(32)))


def write_scan(layout, part, patients, *, files_each, issuer=""):
    """A part of a scan with images of these patients."""
    keys = [PSEUDONYMS.patient(f"P{number}", issuer) for number in patients for _ in range(files_each)]
    names = [f"{part}-{number}-{file}" for number in patients for file in range(files_each)]
    count = len(keys)
    columns = {
        "path": [os.fsencode(name) for name in names],
        "size_bytes": [1000] * count,
        "modified_ns": [0] * count,
        "reason": [None] * count,
        "detail": [None] * count,
        "instance_key": [PSEUDONYMS.instance(name) for name in names],
        "patient_key": keys,
        "rows": [1000] * count,
        "columns": [900] * count,
        "frames": [1] * count,
        "region": ["Knee"] * count,
        "unmapped": [None] * count,
        "modality": ["DX"] * count,
    }
    layout.scan_dir.mkdir(parents=True, exist_ok=True)
    path = layout.scan_dir / f"part-{part:05}.parquet"
    path.write_bytes(encode_table(pa.table(columns, schema=SCAN_SCHEMA)))
    return dict(zip(names, keys, strict=True))


def splits_of(layout):
    """Name of a file -> its shard and split."""
    return {
        file.path: (plan.shard_id, plan.shard_id.split("/")[0])
        for plan in planned_shards(layout)
        for file in plan.files
    }


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The plan of 100,000 patients, and the plan after a tenth more files, some of known patients."""
    config = BuildConfig(dataset=tmp_path_factory.mktemp("splits") / "shards", sources=("x",))
    layout = DatasetLayout(config.dataset)
    owners = write_scan(layout, 0, range(PATIENTS), files_each=1)
    extend_plan(config, PSEUDONYMS)
    before = splits_of(layout)
    known, new = range(0, PATIENTS, 20), range(PATIENTS, PATIENTS + PATIENTS // 20)
    owners |= write_scan(layout, 1, [*known, *new], files_each=1, issuer="HOSPITAL")
    extend_plan(config, PSEUDONYMS)
    return owners, before, splits_of(layout)


def test_no_patient_is_in_two_splits(planned):
    owners, _, after = planned
    found = defaultdict(set)
    for name, (_, split) in after.items():
        found[person_of(owners[name])].add(split)
    assert len(after) == len(owners) == PATIENTS * 11 // 10
    assert len(found) == PATIENTS * 105 // 100
    assert max(map(len, found.values())) == 1


def test_the_shares_are_those_asked_for(planned):
    _, before, _ = planned
    counted = {
        split: sum(each == split for _, each in before.values()) / PATIENTS for split in ("train", "val", "test")
    }
    # Half a point is 4 standard deviations of a share of 0.8 among 100,000, and more of the others.
    assert counted == pytest.approx({"train": 0.80, "val": 0.05, "test": 0.15}, abs=0.005)


def test_a_tenth_more_files_moves_nobody(planned):
    _, before, after = planned
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("shares", [(0.8, 0.05, 0.15), (0.6, 0.2, 0.2), (1.0, 0.0, 0.0), (0.9, 0.1, 0.0)])
def test_other_shares_hold_as_well(shares):
    splits = SplitShares(train=shares[0], val=shares[1], test=shares[2])
    fractions = [PSEUDONYMS.split_fraction(PSEUDONYMS.patient(f"P{number}")) for number in range(20_000)]
    counted = np.unique([splits.split_of(fraction).value for fraction in fractions], return_counts=True)
    found = dict(zip(counted[0].tolist(), (counted[1] / 20_000).tolist(), strict=True))
    # 4 standard deviations of a share of 0.6 among 20,000.
    expected = dict(zip(("train", "val", "test"), shares, strict=True))
    assert found == pytest.approx({name: share for name, share in expected.items() if share}, abs=0.014)
