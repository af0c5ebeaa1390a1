"""Figures of an evaluation as SVG: confusion matrix, ROC, precision over recall, calibration.

Comes in: `Outcomes`. Goes out: SVG text, which needs no plotting library and looks sharp at every size. The same
outcomes give the same bytes. Refuses nothing: a curve that does not exist is left out.
"""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from radio_train.evaluation.metrics import confusion
from radio_train.evaluation.outcomes import Numbers, Outcomes, TaskKind
from radio_train.evaluation.weighted import Flags

SIDE = 320
LEFT, TOP, RIGHT, BOTTOM = 70, 40, 190, 60
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Told apart by most colour-blind readers. Source: Okabe and Ito, Color Universal Design (2008), and a brown."""
CALIBRATION_BINS = 10
_TEXT = 'font-family="sans-serif" font-size="12"'
Curve = tuple[str, Numbers, Numbers]


def figures(outcomes: Outcomes) -> dict[str, str]:
    """All figures of a task by file name."""
    made = {
        "roc.svg": curve_figure("ROC", "1 - specificity", "sensitivity", _curves(outcomes, roc_curve)),
        "precision_recall.svg": curve_figure(
            "Precision and recall", "recall", "precision", _curves(outcomes, precision_recall_curve)
        ),
        "calibration.svg": calibration_figure(outcomes),
    }
    if outcomes.kind is not TaskKind.MULTILABEL:
        made["confusion.svg"] = confusion_figure(outcomes)
    return made


def roc_curve(scores: Numbers, positive: Flags) -> tuple[Numbers, Numbers]:
    """(1 - specificity, sensitivity) at every threshold, from (0, 0) to (1, 1)."""
    found, wrong = _counts(scores, positive)
    return wrong / max(1.0, wrong[-1]), found / max(1.0, found[-1])


def precision_recall_curve(scores: Numbers, positive: Flags) -> tuple[Numbers, Numbers]:
    """(recall, precision) at every threshold, by rising recall."""
    found, wrong = (counts[1:] for counts in _counts(scores, positive))
    return found / max(1.0, found[-1]), found / (found + wrong)


def calibration_curve(outcomes: Outcomes) -> tuple[Numbers, Numbers, Numbers]:
    """Mean confidence, accuracy and number of images in each bin that has images."""
    if outcomes.kind is TaskKind.MULTILABEL:
        confidence, correct = outcomes.scores.ravel(), outcomes.truth.ravel() == 1
    else:
        predicted = outcomes.predicted
        confidence = outcomes.scores[np.arange(len(predicted)), predicted]
        correct = predicted == outcomes.truth
    place = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    counts = np.bincount(place, minlength=CALIBRATION_BINS).astype(np.float64)
    used = counts > 0
    sums = [np.bincount(place, weights=values, minlength=CALIBRATION_BINS) for values in (confidence, correct)]
    return sums[0][used] / counts[used], sums[1][used] / counts[used], counts[used]


def curve_figure(title: str, x_name: str, y_name: str, curves: Sequence[Curve]) -> str:
    """Lines in a unit square with a legend."""
    parts = [_axes(title, x_name, y_name)]
    for index, (name, x, y) in enumerate(curves):
        colour = COLOURS[index % len(COLOURS)]
        dash = ' stroke-dasharray="4 3"' if index >= len(COLOURS) else ""
        points = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in zip(x, y, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>')
        parts.append(_legend(index, name, colour))
    return _svg(parts)


def calibration_figure(outcomes: Outcomes) -> str:
    """Accuracy over confidence; the area of a dot is the number of images."""
    confidence, accuracy, counts = calibration_curve(outcomes)
    parts = [_axes("Calibration", "confidence", "accuracy")]
    parts.append(f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="#888" stroke-dasharray="4 3"/>')
    for x, y, count in zip(confidence, accuracy, counts, strict=True):
        radius = 2 + 14 * (count / counts.max()) ** 0.5
        dot = f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="{radius:.1f}" fill="{COLOURS[0]}" fill-opacity="0.6">'
        parts.append(f"{dot}<title>{count:.0f} images</title></circle>")
    return _svg(parts)


def confusion_figure(outcomes: Outcomes) -> str:
    """Numbers of images by true (rows) and predicted class, shaded by share of the true class."""
    matrix = confusion(outcomes)
    count = len(outcomes.classes)
    cell, margin = max(24, SIDE // count), 130
    parts = [f'<text x="{margin}" y="16" {_TEXT} font-weight="bold">Confusion: true class by row</text>']
    for row, name in enumerate(outcomes.classes):
        y = margin + row * cell
        parts.append(
            f'<text x="{margin - 6}" y="{y + cell / 2 + 4:.0f}" {_TEXT} text-anchor="end">{escape(name)}</text>'
        )
        x = margin + row * cell + cell / 2
        parts.append(f'<text transform="translate({x:.0f},{margin - 6}) rotate(-60)" {_TEXT}>{escape(name)}</text>')
        total = max(1, int(matrix[row].sum()))
        for column in range(count):
            share = matrix[row, column] / total
            place = f'x="{margin + column * cell}" y="{y}" width="{cell}" height="{cell}"'
            parts.append(f'<rect {place} fill="{COLOURS[0]}" fill-opacity="{share:.3f}" stroke="#ccc"/>')
            ink = "#fff" if share > 0.5 else "#000"
            middle = f'x="{margin + column * cell + cell / 2:.0f}" y="{y + cell / 2 + 4:.0f}"'
            parts.append(f'<text {middle} {_TEXT} text-anchor="middle" fill="{ink}">{matrix[row, column]}</text>')
    side = margin + count * cell + 20
    return _svg(parts, width=side, height=side)


def scatter_figure(title: str, groups: Sequence[tuple[str, Numbers]]) -> str:
    """Dots [n, 2] a group, scaled to the frame."""
    every = np.concatenate([places for _, places in groups])
    low, span = every.min(0), np.maximum(np.ptp(every, axis=0), 1e-12)
    parts = [f'<text x="{LEFT}" y="20" {_TEXT} font-weight="bold">{escape(title)}</text>']
    parts.append(f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#444"/>')
    for index, (name, places) in enumerate(groups):
        colour = COLOURS[index % len(COLOURS)]
        hollow = index >= len(COLOURS)  # the colours are used up
        paint = f'fill="none" stroke="{colour}"' if hollow else f'fill="{colour}" fill-opacity="0.7"'
        for x, y in 0.03 + 0.94 * (places - low) / span:
            parts.append(f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="2.5" {paint}/>')
        parts.append(_legend(index, name, colour))
    return _svg(parts)


def _curves(
    outcomes: Outcomes,
    curve: Callable[[Numbers, Flags], tuple[Numbers, Numbers]],
) -> list[Curve]:
    """A curve a class (the positive one alone of two) that has images and is not all images."""
    several = outcomes.kind is TaskKind.MULTILABEL
    made: list[Curve] = []
    for index, name in enumerate(outcomes.classes):
        if outcomes.kind is TaskKind.BINARY and index == 0:
            continue
        positive = outcomes.truth[:, index] == 1 if several else outcomes.truth == index
        if positive.any() and not positive.all():
            made.append((name, *curve(outcomes.scores[:, index], positive)))
    return made


def _counts(scores: Numbers, positive: Flags) -> tuple[Numbers, Numbers]:
    """Positives and negatives at or above each different score, falling, with 0 first."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    found, wrong = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    return np.concatenate([[0.0], found]), np.concatenate([[0.0], wrong])


def _axes(title: str, x_name: str, y_name: str) -> str:
    parts = [f'<text x="{LEFT}" y="20" {_TEXT} font-weight="bold">{escape(title)}</text>']
    parts.append(f'<rect x="{LEFT}" y="{TOP}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#444"/>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{_x(tick):.0f}" y="{TOP + SIDE + 16}" {_TEXT} text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{LEFT - 8}" y="{_y(tick) + 4:.0f}" {_TEXT} text-anchor="end">{tick:g}</text>')
    middle = LEFT + SIDE / 2
    parts.append(f'<text x="{middle}" y="{TOP + SIDE + 38}" {_TEXT} text-anchor="middle">{escape(x_name)}</text>')
    turned = f'transform="translate(20,{TOP + SIDE / 2}) rotate(-90)"'
    parts.append(f'<text {turned} {_TEXT} text-anchor="middle">{escape(y_name)}</text>')
    return "".join(parts)


def _legend(index: int, name: str, colour: str) -> str:
    y = TOP + 12 + 18 * index
    x = LEFT + SIDE + 12
    line = f'<line x1="{x}" y1="{y}" x2="{x + 20}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    return line + f'<text x="{LEFT + SIDE + 38}" y="{y + 4}" {_TEXT}>{escape(name)}</text>'


def _x(share: float) -> float:
    return LEFT + SIDE * float(share)


def _y(share: float) -> float:
    return TOP + SIDE * (1 - float(share))


def _svg(parts: Sequence[str], width: int = LEFT + SIDE + RIGHT, height: int = TOP + SIDE + BOTTOM) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return head + '<rect width="100%" height="100%" fill="#fff"/>' + "".join(parts) + "</svg>\n"
