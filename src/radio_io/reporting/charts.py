"""Charts as HTML and SVG that read well without colour, on paper and by a screen reader.

Comes in: numbers and labels of vocabularies. Goes out: HTML text. Refuses nothing; every text is escaped.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

CELLS = 48


def bars(head: str, counts: dict[str, int], *, unit: str = "images") -> str:
    """A table with a bar, a number and a share in each row."""
    total, largest = sum(counts.values()) or 1, max(counts.values(), default=1) or 1
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="bar"><span style="width:{100 * count / largest:.1f}%">'
        f'</span></td><td class="number">{count:,}</td><td class="number">{count / total:.1%}</td></tr>'
        for name, count in counts.items()
    )
    return (
        f'<table><thead><tr><th scope="col">{escape(head)}</th><th scope="col"><span class="hidden">bar</span></th>'
        f'<th scope="col" class="number">{escape(unit)}</th><th scope="col" class="number">share</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A plain table; the first column names its row, numbers stand to the right."""
    head = "".join(
        f'<th scope="col"{"" if i == 0 else " class=number"}>{escape(name)}</th>' for i, name in enumerate(columns)
    )
    body = "".join(
        f'<tr><th scope="row">{escape(str(row[0]))}</th>'
        + "".join(f'<td class="number">{escape(str(value))}</td>' for value in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def size_density(heights: NDArray[np.int64], widths: NDArray[np.int64], rectangles: Sequence[tuple[int, int]]) -> str:
    """Where the sizes lie, darker where more images are, with the bins drawn over it."""
    limit = int(max(heights.max(), widths.max(), *(max(each) for each in rectangles)))
    counts, _, _ = np.histogram2d(heights, widths, bins=CELLS, range=[[0, limit], [0, limit]])
    largest, side = counts.max() or 1, 480 / CELLS
    cells = "".join(
        f'<rect x="{60 + column * side:.1f}" y="{10 + row * side:.1f}" width="{side:.1f}" height="{side:.1f}" '
        f'class="cell" fill-opacity="{0.15 + 0.85 * (counts[row, column] / largest) ** 0.5:.2f}"/>'
        for row, column in np.argwhere(counts > 0)
    )
    scale = 480 / limit
    outlines = "".join(
        f'<rect x="60" y="10" width="{width * scale:.1f}" height="{height * scale:.1f}" class="bin"/>'
        for height, width in rectangles
    )
    ticks = "".join(
        f'<text x="{60 + value * scale:.0f}" y="508" text-anchor="middle">{value}</text>'
        f'<text x="54" y="{14 + value * scale:.0f}" text-anchor="end">{value}</text>'
        for value in range(0, limit + 1, max(500, limit // 6 // 500 * 500))
    )
    ranges = f"heights {heights.min()} to {heights.max()}, widths {widths.min()} to {widths.max()} pixels"
    label = f"{len(heights):,} images; {ranges}"
    return (
        f'<svg viewBox="0 0 560 530" role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>'
        f'{cells}{outlines}{ticks}<text x="300" y="526" text-anchor="middle">width, pixels</text>'
        '<text x="12" y="250" transform="rotate(-90 12 250)" text-anchor="middle">height, pixels</text></svg>'
    )


def line(values: Sequence[tuple[float, float]], *, name: str, across: str) -> str:
    """A curve of (x, y) with its ends written out."""
    if len(values) < 2:
        return f"<p>{escape(name)}: too few points to draw.</p>"
    x, y = (np.array(each, float) for each in zip(*values, strict=True))
    keep = np.unique(np.linspace(0, len(x) - 1, 400).astype(int))
    low, high = float(y.min()), float(y.max())
    span = (high - low) or 1.0
    points = " ".join(
        f"{60 + 480 * (x[i] - x[0]) / ((x[-1] - x[0]) or 1):.1f},{210 - 190 * (y[i] - low) / span:.1f}" for i in keep
    )
    label = f"{name}: {y[0]:.4g} at the start, {y[-1]:.4g} at the end, from {low:.4g} to {high:.4g}"
    return (
        f'<svg viewBox="0 0 560 250" role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>'
        f'<polyline points="{points}" class="curve"/><text x="54" y="24" text-anchor="end">{high:.3g}</text>'
        f'<text x="54" y="212" text-anchor="end">{low:.3g}</text><text x="60" y="232">{x[0]:g}</text>'
        f'<text x="540" y="232" text-anchor="end">{x[-1]:g}</text>'
        f'<text x="300" y="246" text-anchor="middle">{escape(across)}</text></svg><p>{escape(label)}.</p>'
    )
