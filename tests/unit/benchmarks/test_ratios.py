"""Reports of benchmarks: what is kept, shown and compared."""

from dataclasses import replace

import pytest

from radio_io.benchmarks.ratios import (
    BenchOutcome,
    BenchReport,
    Ratio,
    compare,
    from_json,
    machine_class,
    missing,
    to_json,
    to_markdown,
    worse,
)
from radio_io.benchmarks.startup import measure_commands
from radio_io.errors import StorageError, UsageError


def ratio(name, value, *, higher=True):
    return Ratio(name=name, value=value, higher_is_better=higher, ours="10 images/s", yardstick="other: 5 images/s")


def report(*outcomes):
    return BenchReport(
        date="2026-01-02",
        machine="2-cores-8-gb-no-gpu",
        quick=False,
        load=0.1,
        versions={"radio": "1"},
        outcomes=outcomes,
    )


CODEC = BenchOutcome(bench="codec", seconds=3, ratios=(ratio("a", 2.0), ratio("b", 3.0, higher=False)))
IO = BenchOutcome(bench="io", seconds=0, not_run="no FUSE here")


def test_a_report_comes_back_from_its_file(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(to_json(report(CODEC, IO)), encoding="utf-8")
    assert from_json(path) == report(CODEC, IO)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1, "outcomes": [{}]}'])
def test_refuses_what_is_no_report(tmp_path, text):
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="report"):
        from_json(path)


def test_shows_ratios_first_and_what_was_not_measured():
    page = to_markdown(report(CODEC, IO))
    assert page.index("| codec | a | **2** | higher |") < page.index("| io | no FUSE here |")
    assert "Not measured here" not in to_markdown(report(CODEC))
    assert "too small to quote" in to_markdown(replace(report(CODEC), quick=True))


@pytest.mark.parametrize(
    ("a", "b", "bad"),
    [
        (2.0, 3.0, []),
        (1.8, 3.3, []),
        (1.7, 3.0, ["codec: a"]),
        (2.5, 3.5, ["codec: b"]),
        (1.0, 9.0, ["codec: b", "codec: a"]),
    ],
)
def test_names_what_became_worse_by_more_than_the_tolerance(a, b, bad):
    later = BenchOutcome(bench="codec", seconds=3, ratios=(ratio("a", a), ratio("b", b, higher=False)))
    changes = compare(report(CODEC), report(later))
    assert [change.name for change in worse(changes)] == bad


def test_names_what_is_no_longer_measured():
    later = report(BenchOutcome(bench="codec", seconds=3, ratios=(ratio("a", 2.0),)))
    assert missing(report(CODEC), later) == ("codec: b",)


def test_a_machine_class_names_no_host():
    import socket

    assert socket.gethostname() not in machine_class(None)
    assert machine_class("NVIDIA H100 80GB").endswith("-gb-nvidia-h100-80gb")


def test_counts_the_cpu_of_a_command():
    busy = ["python3", "-c", "sum(range(10**7))"]
    found = {each.name: each for each in measure_commands({"busy": busy, "idle": ["true"]}, repetitions=2)}
    assert found["busy"].least_cpu_s > 10 * found["idle"].least_cpu_s
    with pytest.raises(StorageError, match="bad ended with code 1"):
        measure_commands({"bad": ["false"]}, repetitions=1)
