"""What a dataset holds and what to look at, as one HTML page.

Comes in: a dataset folder, and a training run where wanted. Goes out: the page in a file. Refuses a folder that is no
dataset. Only what the index holds is shown: vocabularies, numbers, and small pictures unless they are left out.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from radio_io import atomic
from radio_io.dataset import Dataset, open_dataset
from radio_io.errors import DatasetError
from radio_io.index.catalog import open_index
from radio_io.index.sizes import image_sizes
from radio_io.reporting import charts
from radio_io.reporting.page import Section, page
from radio_io.sharding.bins import Bins
from radio_io.sharding.info import DatasetInfo, dataset_info
from radio_io.sharding.suggest import compare_bins

THUMBNAIL_PIXELS = 160
PICTURES_A_REGION = 4
MOST_PICTURES = 60
PATCH = 48


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFacts:
    """What was written where."""

    out: str
    size_bytes: int
    images: int
    pictures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportTable:
    """A further table of a report, for what is known outside of this package."""

    title: str
    text: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_report(
    root: Path,
    out: Path,
    *,
    pictures: bool = True,
    run: Path | None = None,
    costs: Callable[[NDArray[np.int64], NDArray[np.int64]], ReportTable] | None = None,
) -> ReportFacts:
    """Write the report of a dataset; `costs` makes a table of its heights and widths.

    Raises:
        DatasetError: There is no dataset, or it has no image, or the run has no metrics.
    """
    data, info = open_dataset(root), dataset_info(root)
    if not info.images:
        raise DatasetError(f"the dataset in {root} has no image to report on")
    heights, widths = image_sizes(root)
    bins = Bins.parse(info.bins)
    shown = list(_thumbnails(data)) if pictures else []
    sections: list[Section] = [
        ("Overview", _overview(info)),
        ("What to look at", _advice(root, info)),
        ("From files to images", _rejects(info)),
        ("Regions", _regions(root)),
        ("Pictures", _pictures(shown)),
        ("Sizes", charts.size_density(heights, widths, [(each.height, each.width) for each in bins.rectangles])),
        ("Bins and tokens", _tokens(heights, widths)),
        *([_section(costs(heights, widths))] if costs is not None else []),
        ("Storage by bin", _storage(root)),
        ("Splits", _splits(root)),
        *(_counted(root, title, column) for title, column in COUNTED),
        ("Exposure", _exposure(root)),
    ]
    if run is not None:
        sections.append(("Training", _training(run)))
    lead = f"{info.images:,} radiographs of {info.patients:,} patients, dataset {info.dataset_id}, codec {info.codec}."
    content = page("Radiographs", lead, sections).encode()
    atomic.write_file(out.absolute(), content)
    return ReportFacts(out=str(out), size_bytes=len(content), images=info.images, pictures=len(shown))


COUNTED = (
    ("Bits", "bits_stored"),
    ("Polarity", "polarity_source"),
    ("Views", "view_position"),
    ("Manufacturers", "manufacturer"),
    ("Models", "model"),
    ("Spacing", "spacing_source"),
)


EXPOSURE = (
    ("tube voltage, kV", "kvp"),
    ("exposure, mAs", "exposure_mas"),
    ("exposure time, ms", "exposure_time_ms"),
    ("distance of source and detector, mm", "distance_source_to_detector_mm"),
    ("pixel spacing, mm", "imager_spacing_row_mm"),
)


def _query(root: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_index(root) as connection:
        return connection.execute(sql).fetchall()


def _section(table: ReportTable) -> Section:
    return table.title, f"<p>{escape(table.text)}</p>" + charts.table(table.columns, table.rows)


def _overview(info: DatasetInfo) -> str:
    rows = [
        ("images", f"{info.images:,}"),
        ("patients", f"{info.patients:,}"),
        ("shards", f"{info.shards:,}"),
        ("size", f"{info.size_bytes / 1e9:.2f} GB"),
        ("compression against 16-bit pixels", f"{info.compression:.2f}x"),
        ("bins", info.bins),
    ]
    return charts.table(("", ""), rows)


def _advice(root: Path, info: DatasetInfo) -> str:
    """Worded as advice, each with the query that shows the images."""
    checks = (
        ("polarity_suspect > 0.8", "may still be inverted; look at them before training"),
        (
            "polarity_conflict",
            "have attributes that contradict each other about polarity",
        ),
        ("region = 'Unknown'", "have no known region; `radio scan` lists their names, `--regions` maps them"),
        ("lossy", "were compressed with loss before"),
        ("saturated_fraction > 0.3", "are at the greatest value in more than 30 % of their area"),
        ("uid_conflict", "share their SOPInstanceUID with other pixels"),
        ("pixel_duplicate", "repeat the pixels of another image"),
        ("burned_in_annotation IN ('yes', 'suspected')", "may carry text in the picture"),
        ("NOT pixels_square", "have pixels that are not square"),
    )
    items: list[str] = []
    for predicate, meaning in checks:
        ((count,),) = _query(root, f"SELECT count(*) FROM images WHERE {predicate}")  # noqa: S608 - from the list above
        if count:
            items.append(
                f"<li><strong>{count:,}</strong> images {escape(meaning)}: <code>radio query "
                f"{escape(json.dumps(predicate))}</code></li>"
            )
    if info.mixed_studies:
        items.append(f"<li><strong>{info.mixed_studies:,}</strong> studies hold images of several PatientIDs</li>")
    return f'<ul class="advice">{"".join(items) or "<li>Nothing stands out.</li>"}</ul>'


def _rejects(info: DatasetInfo) -> str:
    counts = {"images": info.images} | info.rejects
    return charts.bars("became", counts, unit="files or frames") + "<p>docs/rejects.md says what each reason means.</p>"


def _regions(root: Path) -> str:
    rows = _query(
        root,
        "SELECT region, count(*), count(DISTINCT patient_key), quantile_disc(rows, [0.25, 0.5, 0.75]), "
        "quantile_disc(columns, [0.25, 0.5, 0.75]) FROM images GROUP BY region ORDER BY 2 DESC, 1",
    )
    counts = {str(row[0]): int(row[1]) for row in rows}
    quartiles = [(row[0], f"{row[2]:,}", " / ".join(map(str, row[3])), " / ".join(map(str, row[4]))) for row in rows]
    columns = ("region", "patients", "height: quartiles", "width: quartiles")
    return charts.bars("region", counts) + charts.table(columns, quartiles)


def _tokens(heights: NDArray[np.int64], widths: NDArray[np.int64]) -> str:
    occupied = min(len(np.unique(-(-sizes // PATCH))) for sizes in (heights, widths))
    choices = compare_bins(heights, widths, patch=PATCH, num_cutoffs=min(6, occupied))
    rows = [
        (name, len(choice.bins), f"{choice.tokens:,}", f"{choice.overhead:+.1%}", choice.smallest_bin)
        for name, choice in choices.items()
    ]
    text = f"<p>Tokens of one epoch with patches of {PATCH} pixels; overhead against padding to the patch alone.</p>"
    return text + charts.table(("choice", "bins", "tokens", "overhead", "images in the smallest bin"), rows)


def _storage(root: Path) -> str:
    rows = _query(
        root,
        "SELECT bin_height || ' x ' || bin_width, count(*), sum(image_size), "
        "sum(2.0 * rows * columns) / sum(image_size) FROM images GROUP BY 1, bin_height, bin_width "
        "ORDER BY bin_height, bin_width",
    )
    shown = [(name, f"{count:,}", f"{size / 1e6:,.1f}", f"{ratio:.2f}x") for name, count, size, ratio in rows]
    return charts.table(("bin", "images", "MB", "compression"), shown)


def _splits(root: Path) -> str:
    rows = _query(
        root,
        "SELECT split, count(*), count(DISTINCT patient_key) FROM images GROUP BY split ORDER BY 2 DESC",
    )
    return charts.table(("split", "images", "patients"), [(name, f"{n:,}", f"{p:,}") for name, n, p in rows])


def _counted(root: Path, title: str, column: str) -> Section:
    rows = _query(
        root,
        f"SELECT coalesce(CAST({column} AS VARCHAR), 'not known'), count(*) FROM images GROUP BY 1 "  # noqa: S608
        "ORDER BY 2 DESC, 1 LIMIT 20",
    )
    return title, charts.bars(column, {str(name): int(count) for name, count in rows})


def _exposure(root: Path) -> str:
    """Quartiles of what the tube was set to, where the header tells."""
    shown: list[tuple[str, str, str]] = []
    for name, column in EXPOSURE:
        ((count, quartiles),) = _query(
            root,
            f"SELECT count({column}), quantile_cont({column}, [0.25, 0.5, 0.75]) FROM images",  # noqa: S608 - from above
        )
        if count:
            shown.append((name, f"{count:,}", " / ".join(f"{value:.4g}" for value in quartiles)))
    return charts.table(("quantity", "images", "quartiles"), shown) if shown else ""


def _thumbnails(data: Dataset) -> Iterator[tuple[str, str]]:
    """(caption, PNG as base64) of a few images of each region; none that may carry text in the picture."""
    columns = "key, region, rows, columns, percentile_0_5, percentile_99_5"
    rows = _query(
        data.root,
        f"SELECT {columns} FROM images WHERE burned_in_annotation NOT IN ('yes', 'suspected') "  # noqa: S608
        f"QUALIFY row_number() OVER (PARTITION BY region ORDER BY key) <= {PICTURES_A_REGION} "
        f"ORDER BY region, key LIMIT {MOST_PICTURES}",
    )
    for row in (dict(zip(columns.split(", "), values, strict=True)) for values in rows):
        pixels = data[row["key"]].pixels
        step = max(-(-max(pixels.shape) // THUMBNAIL_PIXELS), 1)
        low, high = row["percentile_0_5"], max(row["percentile_99_5"], row["percentile_0_5"] + 1)
        small = np.clip((pixels[::step, ::step].astype(np.float32) - low) / (high - low), 0, 1)
        png = imagecodecs.png_encode((small * 255).astype(np.uint8))
        yield f"{row['region']}, {row['rows']} x {row['columns']}", base64.b64encode(png).decode()


def _pictures(shown: list[tuple[str, str]]) -> str:
    figures = "".join(
        f'<figure><img src="data:image/png;base64,{data}" alt="Radiograph: {escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, data in shown
    )
    return f'<div class="pictures">{figures}</div>' if figures else ""


def _training(run: Path) -> str:
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        raise DatasetError(f"no metrics.jsonl in {run}; name the folder of a training run") from None
    steps = [json.loads(line) for line in lines]
    parts = [
        charts.line(
            [(step["step"], step[name]) for step in steps if step.get(name) is not None], name=title, across="step"
        )
        for name, title in (("loss", "loss"), ("images_per_s", "images a second"), ("data_wait", "share of waiting"))
    ]
    sheets = sorted((run / "reconstructions").glob("*.png"))
    if sheets:
        data = base64.b64encode(sheets[-1].read_bytes()).decode()
        parts.append(f'<img style="max-width:100%" src="data:image/png;base64,{data}" alt="The last reconstructions">')
    return "".join(parts)
