"""Plan, records, index and queries of very many images, without any pixels.

Synthetic headers with the sizes and regions of the thesis take the real way from the table of the scan to the answer of
a query: how long each stage takes, how much memory, and what a query takes as a whole process on a cold and a warm
page cache, beside a bare Python that counts with DuckDB.

Example: python bench/scale.py --images 650000 --folder /fast/disk/scale
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from radio_io import atomic
from radio_io.checked_table import encode_table
from radio_io.config import BuildConfig
from radio_io.dataset_file import describe_dataset, write_dataset_file
from radio_io.index.records import encode_record, record_schema
from radio_io.layout import DatasetLayout
from radio_io.privacy.pseudonyms import Pseudonymizer
from radio_io.sharding.build import publish_index
from radio_io.sharding.plan import extend_plan, planned_shards
from radio_io.sharding.scan import FILES_A_PART
from radio_io.sharding.scan_table import SCAN_SCHEMA
from radio_io.sharding.waves import find_missing
from radio_io.sharding.write import shard_metadata
from radio_io.synth.sizes import REGIONS

RADIO = str(Path(sys.executable).parent / "radio")
REPETITIONS = 7
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stage took: seconds by the clock, seconds of CPU, and the greatest resident memory so far in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measured(function: Callable[[], Result]) -> tuple[Result, Cost]:
    """The result of a function, and its cost."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    result = function()
    cost = Cost(time.perf_counter() - wall_s, time.process_time() - cpu_s, _peak_mb())
    return result, cost


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def draw_images(count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regions (numbers), heights and widths in pixels; sizes spread about the typical one of their region."""
    shares = np.array([region.images for region in REGIONS.values()], float)
    regions = generator.choice(len(shares), count, p=shares / shares.sum())
    typical = np.array([(region.height, region.width) for region in REGIONS.values()])[regions]
    spread = np.exp(0.25 * generator.standard_normal((count, 2)))
    sides = np.clip(np.rint(typical * spread), 300, 3072).astype(np.int32)
    return regions, sides[:, 0], sides[:, 1]


def write_scan(layout: DatasetLayout, count: int) -> None:
    """The private table of files, as a scan of `count` radiographs would leave it; three images a patient."""
    generator = np.random.default_rng(0)
    names = np.array(list(REGIONS))
    atomic.make_folder(layout.scan_dir, mode=0o700)
    for part, first in enumerate(range(0, count, FILES_A_PART)):
        size = min(FILES_A_PART, count - first)
        regions, rows, columns = draw_images(size, generator)
        numbers = np.arange(first, first + size)
        values: dict[str, Any] = {
            "path": [b"/mnt/pacs/export/%04d/%06d/IM%08d.dcm" % (n // 65536, n // 3, n) for n in numbers.tolist()],
            "size_bytes": 2 * rows.astype(np.int64) * columns,
            "modified_ns": np.full(size, 1_700_000_000_000_000_000),
            "instance_key": _keys(generator, size),
            "patient_key": np.repeat(_keys(generator, size // 3 + 1), 3)[:size],
            "rows": rows,
            "columns": columns,
            "frames": np.ones(size, np.int32),
            "region": names[regions],
            "modality": np.full(size, "DX"),
        }
        arrays = [
            pa.array(values[field.name], field.type) if field.name in values else pa.nulls(size, field.type)
            for field in SCAN_SCHEMA
        ]
        table = pa.table(arrays, schema=SCAN_SCHEMA)
        (layout.scan_dir / f"part-{part:05}.parquet").write_bytes(encode_table(table, compression="zstd"))


def _keys(generator: np.random.Generator, count: int) -> np.ndarray:
    return np.array([generator.bytes(16).hex() for _ in range(count)])


def write_records(layout: DatasetLayout) -> int:
    """A record for each planned shard, filled as records are, without any tar; returns their bytes."""
    generator = np.random.default_rng(1)
    size_bytes = 0
    for plan in planned_shards(layout):
        path = layout.record_path(plan.shard_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = shard_metadata(plan.shard_id, "htj2k", len(plan.files), 2_000_000 * len(plan.files), "0" * 64)
        keys = [file.instance_key for file in plan.files]
        data = encode_record(record_rows(plan.shard_id, keys, metadata, generator), metadata)
        path.write_bytes(data)
        size_bytes += len(data)
    return size_bytes


def record_rows(shard_id: str, keys: list[str], metadata: Any, generator: np.random.Generator) -> pa.Table:  # noqa: ANN401
    """Rows with values of about the entropy of real ones."""
    count = len(keys)
    regions, rows, columns = draw_images(count, generator)
    names = np.array(list(REGIONS))
    fixed: dict[str, Any] = {
        "key": _keys(generator, count),
        "instance_key": keys,
        "patient_key": _keys(generator, count),
        "study_key": _keys(generator, count),
        "series_key": _keys(generator, count),
        "pixel_hash": _keys(generator, count),
        "device_key": _keys(generator, 1).repeat(count),
        "accession_key": _keys(generator, count),
        "split": np.full(count, metadata.split),
        "region": names[regions],
        "rows": rows,
        "columns": columns,
        "bin_height": np.full(count, metadata.bin_height),
        "bin_width": np.full(count, metadata.bin_width),
        "shard_id": np.full(count, shard_id),
        "image_offset": np.arange(count) * 2_000_000 + 512,
        "image_size": generator.integers(1_000_000, 2_000_000, count),
        "image_crc32": generator.integers(0, 2**32, count),
        "level_sizes": [generator.integers(10_000, 2_000_000, 6).tolist() for _ in range(count)],
        "text_score": None,
        "masked_boxes": None,
    }
    arrays = []
    for field in record_schema():
        values = fixed.get(field.name, _drawn(field.type, count, generator))
        arrays.append(pa.nulls(count, field.type) if values is None else pa.array(values, field.type))
    return pa.table(arrays, schema=record_schema())


def _drawn(kind: pa.DataType, count: int, generator: np.random.Generator) -> Any:  # noqa: ANN401 - arrays of any kind
    if pa.types.is_boolean(kind):
        return generator.random(count) < 0.1
    if pa.types.is_floating(kind):
        return generator.random(count)
    if pa.types.is_date(kind):
        return pa.array(generator.integers(10_000, 20_000, count).astype(np.int32)).cast(pa.date32())
    if pa.types.is_integer(kind):
        return generator.integers(0, 4096, count)
    return generator.choice(np.array(["AP", "PA", "LATERAL", "MONOCHROME1"]), count)


def time_queries(dataset: Path) -> dict[str, list[float]]:
    """Seconds of whole processes: with the file in the page cache, and after its pages have been dropped."""
    floor = f'import duckdb; duckdb.connect({str(dataset / "index.duckdb")!r}, read_only=True).sql("{{}}").fetchall()'
    predicate = "region='Knee'"
    commands = {
        "radio query --count": [RADIO, "query", predicate, "--count", "--dataset", str(dataset)],
        "python + duckdb, same count": [
            sys.executable,
            "-c",
            floor.format(f"select count(*) from images where {predicate}"),
        ],
        "radio query, 5 fields, 100 rows": [RADIO, "query", predicate, "--limit", "100", "--dataset", str(dataset)],
    }
    times: dict[str, list[float]] = {}
    for cold in (True, False):
        for name, command in commands.items():
            label = f"{name} ({'cold' if cold else 'warm'})"
            times[label] = [_time(command, dataset / "index.duckdb", cold=cold) for _ in range(REPETITIONS)]
    return times


def _time(command: list[str], index: Path, *, cold: bool) -> float:
    if cold:
        with index.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began_s = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began_s


def main() -> None:
    """Run the stages and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=650_000)
    parser.add_argument("--folder", type=Path, required=True, help="a folder to fill and to remove again")
    parser.add_argument("--keep", action="store_true", help="leave the dataset there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    dataset = arguments.folder / "dataset"
    layout = DatasetLayout(dataset)
    config = BuildConfig(dataset=dataset)
    costs: dict[str, Cost] = {}
    if not layout.index.exists():
        layout.private.mkdir(parents=True, mode=0o700)
        pseudonyms = Pseudonymizer.create_file(layout.key_file, layout.root)
        dataset.mkdir()
        content = describe_dataset(config, pseudonyms.key_id)
        write_dataset_file(layout, content)
        _, costs["write the scan (not ours)"] = measured(lambda: write_scan(layout, arguments.images))
        _, costs["plan"] = measured(lambda: extend_plan(config, pseudonyms))
        _, costs["find what is missing"] = measured(lambda: find_missing(layout))
        size, costs["write the records (not ours)"] = measured(lambda: write_records(layout))
        print(f"records: {size / 1e6:.1f} MB in {len(layout.record_paths())} files", file=sys.stderr)
        _, costs["index"] = measured(lambda: publish_index(layout, content))
    times = time_queries(dataset)
    medians = {name: statistics.median(values) for name, values in times.items()}
    if arguments.json:
        stages = {name: {"wall_s": c.wall_s, "cpu_s": c.cpu_s, "peak_mb": c.peak_mb} for name, c in costs.items()}
        print(json.dumps({"images": arguments.images, "stages": stages, "query_s": medians}))
    else:
        print(f"{arguments.images} images, index of {layout.index.stat().st_size / 1e6:.1f} MB")
        for name, cost in costs.items():
            print(f"{name:34}{cost.wall_s:9.1f} s{cost.cpu_s:9.1f} CPU s{cost.peak_mb:9.0f} MB at most so far")
        for name, seconds in medians.items():
            print(f"{name:44}{seconds:8.3f} s, median of {REPETITIONS}")
    if not arguments.keep:
        shutil.rmtree(arguments.folder)


if __name__ == "__main__":
    main()
