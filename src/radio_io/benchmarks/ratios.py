"""What benchmarks found, as ratios to yardsticks of the same run: kept, shown, compared.

Comes in: `Ratio`s of each benchmark, or the reason why it could not run. Goes out: a `BenchReport` as JSON and
Markdown; the `Change`s between two reports. Refuses files that are no report. A report names neither host nor paths.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from radio_io.errors import UsageError

REPORT_VERSION = 1
TOLERANCE = 0.15
PACKAGES = ("radio", "torch", "numpy", "imagecodecs", "duckdb", "pyarrow", "pydicom")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """One result: `value` is what ours is to `yardstick`, both measured in this run.

    Attributes:
        name: What was measured; stays the same between versions.
        value: The ratio.
        higher_is_better: Else lower is.
        ours: What was measured, with its unit.
        yardstick: What it was compared with, with its value.
    """

    name: str
    value: float
    higher_is_better: bool
    ours: str
    yardstick: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchOutcome:
    """A benchmark: its ratios, or why there are none."""

    bench: str
    seconds: float
    ratios: tuple[Ratio, ...] = ()
    not_run: str | None = None
    failed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchReport:
    """All benchmarks of one run on one machine; `load` is what other processes took when it began, in cores."""

    date: str
    machine: str
    quick: bool
    load: float
    versions: dict[str, str]
    outcomes: tuple[BenchOutcome, ...]

    @property
    def ratios(self) -> dict[str, Ratio]:
        """Every ratio by `bench: name`."""
        return {f"{each.bench}: {ratio.name}": ratio for each in self.outcomes for ratio in each.ratios}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A ratio in two reports; `by` is how much worse it is (0.2: by 20 %), negative where it is better."""

    name: str
    old: float
    new: float
    by: float


def machine_class(gpu: str | None) -> str:
    """Cores, memory and GPU: what machines of a kind have in common.

    Example:
        >>> machine_class(None).endswith("no-gpu")
        True
    """
    memory_gb = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    shown = "-".join(gpu.lower().split()) if gpu else "no-gpu"
    return f"{len(os.sched_getaffinity(0))}-cores-{memory_gb}-gb-{shown}"


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        found[name] = metadata.version(name)
    return found


def to_json(report: BenchReport) -> str:
    """The report for programs; `from_json` reads it."""
    return json.dumps({"version": REPORT_VERSION} | asdict(report), indent=2) + "\n"


def from_json(path: Path) -> BenchReport:
    """A report that `to_json` wrote.

    Raises:
        UsageError: The file is missing, or no report of this version.
    """
    try:
        values = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        if values.pop("version") != REPORT_VERSION:
            raise UsageError(f"{path} is a report of another version; measure again")
        outcomes = tuple(_outcome(each) for each in values.pop("outcomes"))
        return BenchReport(**values, outcomes=outcomes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{path} is no report; write one with: radio bench all") from None


def _outcome(values: dict[str, Any]) -> BenchOutcome:
    ratios = tuple(Ratio(**ratio) for ratio in values.pop("ratios"))
    return BenchOutcome(**values, ratios=ratios)


def to_markdown(report: BenchReport) -> str:
    """The report for people: ratios first."""
    kind = ", quick: sizes too small to quote" if report.quick else ""
    lines = [
        f"# {report.date}, {report.machine}{kind}",
        "",
        f"Other processes took {report.load:.1f} cores when it began. Ratios compare with a yardstick of the same run.",
        "",
        "| bench | what | ratio | better | ours | yardstick |",
        "|---|---|---|---|---|---|",
    ]
    for each in report.outcomes:
        lines += [f"| {each.bench} | {_cells(ratio)} |" for ratio in each.ratios]
    absent = [each for each in report.outcomes if each.not_run is not None]
    if absent:
        lines += ["", "## Not measured here", "", "| bench | why |", "|---|---|"]
        lines += [f"| {each.bench} | {each.not_run} |" for each in absent]
    lines += ["", "## Run", "", "| bench | seconds |", "|---|---|"]
    lines += [f"| {each.bench} | {each.seconds:.0f} |" for each in report.outcomes]
    lines += ["", ", ".join(f"{name} {version}" for name, version in report.versions.items()) + "."]
    return "\n".join(lines) + "\n"


def _cells(ratio: Ratio) -> str:
    better = "higher" if ratio.higher_is_better else "lower"
    return f"{ratio.name} | **{ratio.value:.3g}** | {better} | {ratio.ours} | {ratio.yardstick}"


def compare(old: BenchReport, new: BenchReport) -> tuple[Change, ...]:
    """Each ratio that both reports have, the worst change first."""
    before, after = old.ratios, new.ratios
    changes = [
        Change(name=name, old=before[name].value, new=ratio.value, by=_worse_by(before[name], ratio))
        for name, ratio in after.items()
        if name in before
    ]
    return tuple(sorted(changes, key=lambda change: -change.by))


def worse(changes: Sequence[Change], tolerance: float = TOLERANCE) -> tuple[Change, ...]:
    """The changes for the worse by more than `tolerance`."""
    return tuple(change for change in changes if change.by > tolerance)


def missing(old: BenchReport, new: BenchReport) -> tuple[str, ...]:
    """Ratios of the old report that the new one lacks."""
    return tuple(name for name in old.ratios if name not in new.ratios)


def _worse_by(old: Ratio, new: Ratio) -> float:
    if old.value <= 0 or new.value <= 0:
        return 0.0 if old.value == new.value else float("inf")
    return (old.value / new.value if new.higher_is_better else new.value / old.value) - 1
