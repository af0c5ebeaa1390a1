"""Thousands of damaged files through scan and build: no crash, no hang, every file accounted for.

`RADIO_FUZZ_FILES` sets how many files the slow test makes (20,000), `RADIO_FUZZ_SEED` where their seeds begin.
"""

import json
import os
import subprocess
import sys
import time

import pytest

from fuzz.mutations import bases, mutate

QUICK, WHOLE, BATCH = 200, int(os.environ.get("RADIO_FUZZ_FILES", "20000")), 2500
SEED = int(os.environ.get("RADIO_FUZZ_SEED", "0"))
WORKER_BYTES = 1_500_000_000
FILE_SECONDS = 30
# Runs a command and prints, on a line of its own, the greatest resident size of any process below it.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, end="")
sys.exit(code)
"""


def build(folder, seeds):
    """A build of one damaged file a seed, in a process of its own; its summary."""
    whole = bases()
    source = folder / "source"
    source.mkdir()
    for seed in seeds:
        (source / f"{seed}").write_bytes(mutate(whole[seed % len(whole)], seed))
    command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "radio_cli", "shard", "build", str(source)]
    command += ["--modalities", "all"]
    command += ["--dataset", str(folder / "shards"), "--workers", "2", "--frames", "all", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    answer, _, peak = ended.stdout.rpartition("\n")
    summary = json.loads(answer)
    assert int(peak) < WORKER_BYTES
    assert summary["found"] == len(seeds)
    assert summary["images"] + sum(summary["rejects"].values()) == len(seeds) + summary["extra_frames"]
    # No file may crash a worker, run to its limit of time or memory, or meet a mistake of ours.
    assert not summary["rejects"].keys() & {"WORKER_CRASHED", "TIMEOUT", "OUT_OF_MEMORY", "INTERNAL_ERROR"}, summary[
        "rejects"
    ]
    assert summary["slowest_file_s"] < FILE_SECONDS
    command = [sys.executable, "-m", "radio_cli", "shard", "verify", "--dataset", str(folder / "shards")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    return summary | {"peak_bytes": int(peak)}


def test_mutations_are_reproducible_and_change_the_file():
    whole = bases()
    assert len(whole) >= 12
    damaged = [mutate(whole[seed % len(whole)], seed) for seed in range(300)]
    assert damaged == [mutate(whole[seed % len(whole)], seed) for seed in range(300)]
    assert sum(new != whole[seed % len(whole)] for seed, new in enumerate(damaged)) > 280


def test_accounts_for_damaged_files(tmp_path):
    summary = build(tmp_path, range(QUICK))
    assert summary["images"] > 10
    assert len(summary["rejects"]) >= 8


@pytest.mark.slow
def test_accounts_for_very_many_damaged_files(tmp_path, capsys):
    reasons, images, peak, started_s = {}, 0, 0, time.monotonic()
    for start in range(0, WHOLE, BATCH):
        folder = tmp_path / str(start)
        folder.mkdir()
        seeds = range(SEED + QUICK + start, SEED + QUICK + min(start + BATCH, WHOLE))
        summary = build(folder, seeds)
        images += summary["images"]
        peak = max(peak, summary["peak_bytes"])
        for reason, count in summary["rejects"].items():
            reasons[reason] = reasons.get(reason, 0) + count
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    speed = f"{WHOLE} damaged files in {time.monotonic() - started_s:.0f} s, peak {peak / 1e6:.0f} MB"
    with capsys.disabled():
        sys.stdout.write(f"\n{speed}\n{images} images; {dict(sorted(reasons.items(), key=lambda item: -item[1]))}\n")
