"""Every benchmark in one run, with the yardsticks of that run.

Comes in: sizes. Goes out: a `BenchReport`. Refuses nothing: a benchmark that cannot run here is listed with its reason,
one that fails with what it raised.

Data are made for it: a synthetic export and a dataset built from it, in a temporary folder.
"""

import datetime
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from radio_io.benchmarks.building import BuildSettings, measure_build
from radio_io.benchmarks.codec import measure_codecs
from radio_io.benchmarks.loading import Compared, IoSettings, measure_io, measure_local
from radio_io.benchmarks.ratios import BenchOutcome, BenchReport, Ratio, installed_versions, machine_class
from radio_io.benchmarks.startup import BARE, COUNT, measure_commands, start_commands
from radio_io.config import BuildConfig
from radio_io.errors import RadioError, UsageError, internal_error
from radio_io.executors import default_workers
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset
from radio_io.synth import write_export
from radio_train.bench_train import IMAGES, bench_config, bench_policies
from radio_train.model.config import MaeConfig
from radio_train.token_table import compare_batching, thesis_sizes


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSizes:
    """How much is measured; the defaults take under 30 minutes on two cores."""

    images: int = 150
    scale: float = 0.5
    rounds: int = 5
    epochs: int = 4
    token_images: int = 100_000
    build_files: int = 200
    build_side: int = 2000
    train_images: int = IMAGES
    train_rounds: int = 2
    quick: bool = False


QUICK = BenchSizes(
    images=24,
    scale=0.06,
    rounds=1,
    epochs=1,
    token_images=2_000,
    build_files=12,
    build_side=160,
    train_images=8,
    train_rounds=1,
    quick=True,
)
Note = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bench:
    """What every benchmark gets: the dataset, the export that it was built from, sizes."""

    root: Path
    export: Path
    sizes: BenchSizes
    workers: int


def run_benches(sizes: BenchSizes, names: Sequence[str] = (), *, note: Note = lambda text: None) -> BenchReport:
    """Run the benchmarks called `names` (default: all), in the order of `BENCHES`."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="radio-bench-") as name:
        bench = _make_data(Path(name), sizes, note)
        outcomes: list[BenchOutcome] = []
        for each, function in BENCHES.items():
            if not names or each in names:
                note(f"bench {each}")
                outcomes.append(_outcome(each, function, bench))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return BenchReport(
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        machine=machine_class(gpu),
        quick=sizes.quick,
        load=round(load, 2),
        versions=installed_versions(),
        outcomes=tuple(outcomes),
    )


def _make_data(folder: Path, sizes: BenchSizes, note: Note) -> _Bench:
    workers = default_workers()
    note(f"making {sizes.images} radiographs")
    export = folder / "export"
    write_export(export, images=sizes.images, seed=1, scale=sizes.scale, workers=workers, progress=NoProgress())
    root = folder / "shards"
    build_dataset(BuildConfig(dataset=root, sources=(str(export),), workers=workers), NoProgress())
    return _Bench(root=root, export=export, sizes=sizes, workers=workers)


def _outcome(name: str, function: Callable[[_Bench], Iterator[Ratio]], bench: _Bench) -> BenchOutcome:
    began_s = time.perf_counter()
    try:
        ratios = tuple(function(bench))
    except RadioError as error:
        return BenchOutcome(bench=name, seconds=time.perf_counter() - began_s, not_run=str(error))
    except Exception as error:  # noqa: BLE001 - the others still count, and this one is listed
        reason = internal_error(error).detail
        return BenchOutcome(bench=name, seconds=time.perf_counter() - began_s, not_run=reason, failed=True)
    return BenchOutcome(bench=name, seconds=time.perf_counter() - began_s, ratios=ratios)


def _startup(bench: _Bench) -> Iterator[Ratio]:
    found = {each.name: each for each in measure_commands(start_commands(bench.root), repetitions=bench.sizes.rounds)}
    for name, yardstick in (("radio --help", BARE), ("radio query --count", COUNT)):
        ours, theirs = found[name].least_cpu_s, found[yardstick].least_cpu_s
        yield _lower(name, ours / theirs, f"{ours:.3f} s of CPU", f"{yardstick}: {theirs:.3f} s of CPU")


def _codec(bench: _Bench) -> Iterator[Ratio]:
    report = measure_codecs([str(bench.export)] if bench.sizes.quick else (), rounds=bench.sizes.rounds)
    for each in report.decoding:
        if each.ratio is not None and each.pydicom_ms is not None:
            name = f"decoding {each.transfer_syntax}"
            yield _higher(name, each.ratio, f"{each.ours_ms:.1f} ms a file", f"pydicom: {each.pydicom_ms:.1f} ms")
    slowest = min(report.codecs, key=lambda each: each.decode_mb_s)
    for each in report.codecs:
        yield _higher(f"{each.codec}: bytes saved", each.ratio, f"{each.ratio:.2f} : 1", "raw 16-bit pixels")
        if each is not slowest:
            ratio, theirs = each.decode_mb_s / slowest.decode_mb_s, f"{slowest.codec}: {slowest.decode_mb_s:.0f} MB/s"
            yield _higher(f"{each.codec}: decoding", ratio, f"{each.decode_mb_s:.0f} MB/s and core", theirs)


def _build(bench: _Bench) -> Iterator[Ratio]:
    sizes = bench.sizes
    settings = BuildSettings(
        files=sizes.build_files,
        rows=sizes.build_side,
        columns=sizes.build_side * 3 // 4,
        profiled=min(24, sizes.build_files),
        png_files=min(24, sizes.build_files),
        workers=bench.workers,
    )
    with tempfile.TemporaryDirectory(prefix="radio-bench-") as name:
        found = measure_build((), Path(name), settings)
    ours = f"{found.files_per_s:.2f} files/s"
    floor = f"decode, render, encode, hash alone: {found.floor_per_s:.2f} files/s"
    yield _higher("build / floor", found.of_floor, ours, floor)
    yield _higher(
        "CPU of the floor / of the build", found.cpu_of_floor, f"{found.build_cpu_s:.1f} s of CPU", "the floor"
    )
    for png in found.png:
        theirs = f"pydicom, PNG level {png.level}: {png.files_per_s:.2f} files/s"
        yield _higher(f"build / PNG level {png.level}", found.files_per_s / png.files_per_s, ours, theirs)


def _loader(bench: _Bench) -> Iterator[Ratio]:
    yield from _compared(measure_local(bench.root, workers=bench.workers, epochs=bench.sizes.epochs))


def _io(bench: _Bench) -> Iterator[Ratio]:
    files = sorted(path for path in bench.export.rglob("*") if path.is_file())
    settings = IoSettings(epochs=bench.sizes.epochs, workers=bench.workers)
    yield from _compared(measure_io(bench.root, files, settings))


def _compared(found: Sequence[Compared]) -> Iterator[Ratio]:
    rates = {each.rate.name: each.rate for each in found if each.ratio is None}
    for each in found:
        if each.ratio is None:
            continue
        other = rates.get(each.yardstick)
        theirs = f"{each.yardstick}: {other.images_per_s:.1f} images/s" if other else each.yardstick
        ours = f"{each.rate.images_per_s:.1f} images/s"
        yield _higher(f"{each.rate.name} / {each.yardstick}", each.ratio, ours, theirs)
        if each.cpu_ratio is not None and other:
            name = f"{each.rate.name} / {each.yardstick}, CPU"
            yield _higher(
                name, each.cpu_ratio, f"{each.rate.cpu_ms:.1f} ms an image", f"{other.cpu_ms:.1f} ms an image"
            )


def _tokens(bench: _Bench) -> Iterator[Ratio]:
    heights, widths = thesis_sizes(bench.sizes.token_images)
    costs = compare_batching(heights, widths, MaeConfig())
    for each in costs[1:]:
        theirs = f"{costs[0].batching}: {costs[0].flops:.3g} FLOP"
        yield _lower(f"{each.batching}: computation", each.flops_ratio, f"{each.flops:.3g} FLOP", theirs)


def _train(bench: _Bench) -> Iterator[Ratio]:
    result = bench_policies(bench_config("tiny"), images=bench.sizes.train_images, rounds=bench.sizes.train_rounds)
    packed = next(each for each in result.policies if each.policy == "packed")
    for each in result.policies:
        if each is not packed:
            ours, theirs = f"packed: {packed.images_per_s:.1f} images/s", f"{each.images_per_s:.1f} images/s"
            yield _higher(f"packed / {each.policy}", result.ratio(each.policy), ours, f"{each.policy}: {theirs}")


def _gpu(bench: _Bench) -> Iterator[Ratio]:
    del bench
    if not torch.cuda.is_available():
        raise RadioError("no GPU here; on a machine with one run bench/gpu_check.py and bench/gpu_decode_check.py")
    raise RadioError("not part of this: run bench/gpu_check.py and bench/gpu_decode_check.py, which print tables")


def _higher(name: str, value: float, ours: str, yardstick: str) -> Ratio:
    return Ratio(name=name, value=value, higher_is_better=True, ours=ours, yardstick=yardstick)


def _lower(name: str, value: float, ours: str, yardstick: str) -> Ratio:
    return Ratio(name=name, value=value, higher_is_better=False, ours=ours, yardstick=yardstick)


BENCHES: dict[str, Callable[[_Bench], Iterator[Ratio]]] = {
    "startup": _startup,
    "codec": _codec,
    "build": _build,
    "loader": _loader,
    "io": _io,
    "tokens": _tokens,
    "train": _train,
    "gpu": _gpu,
}


def chosen_benches(only: str | None) -> tuple[str, ...]:
    """The names in a comma-separated list; all for None.

    Raises:
        UsageError: One of them is no benchmark.
    """
    names = tuple(BENCHES) if only is None else tuple(name.strip() for name in only.split(",") if name.strip())
    for name in names:
        if name not in BENCHES:
            raise UsageError(f"unknown benchmark {name!r}; there are {', '.join(BENCHES)}")
    return names
