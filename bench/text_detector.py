"""How well the detector of burned-in text works: recall on planted text, false alarms without, time per image.

Phantoms carry names, dates and numbers in corners, along edges and in the middle: small and large, upright and turned,
white and black. Phantoms with markers of side, view and position, and real radiographs, must raise no alarm. Text that
nobody could read, such as black letters on black air, is left out of the recall and counted.
"""

import argparse
import json
import platform
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radio_io.dicom.decode import decode_pixels
from radio_io.dicom.parse import read_file
from radio_io.dicom.render import render, render_parameters
from radio_io.privacy.text_detector import TextBox, find_text
from radio_io.synth.anatomy import VIEWS
from radio_io.synth.burned_text import BurnedText, Polarity, burn_text
from radio_io.synth.phantom import PhantomRequest, draw_phantom

PROJECT = Path(__file__).resolve().parent.parent
THRESHOLDS = (0.5, 0.7, 0.8, 0.9)
SIZES = (10, 14, 20, 40, 80)
TURNS = (0, 5, 90, 180)
PLACES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.5), (0.5, 0.02))
TEXTS = (
    "Muster^Erika", "MUELLER, HANS", "12.03.1957", "1957-03-12", "ID 4711-0815", "PID: 90731907", "Acc 20200311",
    "St. Joseph Hosp", "Schmidt, A.", "geb. 04.07.1962", "Dr. Weiss", "M 063Y",
)  # fmt: skip
MARKERS = ("L", "R", "LI", "RE", "PA", "AP", "LAT", "STEHEND", "LIEGEND", "R PA", "L STANDING", "LINKS")
BITS = 12


def main() -> None:
    """Parse the arguments, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40, help="phantoms with text, and as many without")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    recall: dict[str, list[float]] = defaultdict(list)
    unreadable = 0
    for number in range(arguments.images):
        found, left_out = planted(number)
        unreadable += left_out
        for name, score in found:
            recall[name].append(score)
    alarms, times = without_text(arguments.images)
    report = {
        "machine": f"{platform.processor() or platform.machine()}, 1 thread",
        "recall": {
            name: [len(scores), *(share(scores, each) for each in THRESHOLDS)] for name, scores in recall.items()
        },
        "unreadable": unreadable,
        "false alarms": {
            name: [len(scores), *(share(scores, each) for each in THRESHOLDS)] for name, scores in alarms.items()
        },
        "cpu seconds a megapixel": round(float(np.median(times)), 2),
    }
    print(json.dumps(report, indent=1) if arguments.json else table(report))


def share(scores: list[float], threshold: float) -> float:
    return round(sum(score >= threshold for score in scores) / len(scores), 3)


def phantom(number: int) -> NDArray[np.uint16]:
    regions = list(VIEWS)
    region = regions[number % len(regions)]
    rows, columns = ((1000, 800), (1500, 1200), (2000, 1500))[number % 3]
    view = VIEWS[region][number % len(VIEWS[region])].name
    return draw_phantom(
        PhantomRequest(
            region=region, view=view, side="LR"[number % 2], rows=rows, columns=columns, bits=BITS, seed=(5, number)
        )
    )


def planted(number: int) -> tuple[list[tuple[str, float]], int]:
    """Scores of the texts of one phantom by size, polarity, turn and kind of place; how many nobody could read."""
    generator = np.random.default_rng([7, number])
    pixels, burned = phantom(number), []
    for down, right in PLACES:
        text = BurnedText(
            text=TEXTS[int(generator.integers(len(TEXTS)))],
            size=int(generator.choice(SIZES)),
            polarity=list(Polarity)[int(generator.integers(4))],
            turned=int(generator.choice(TURNS)),
            down=down,
            right=right,
        )
        result = burn_text(pixels, text, bits=BITS)
        pixels = result.pixels
        burned.append((text, result))
    boxes = find_text(pixels, threshold=0.0)
    found: list[tuple[str, float]] = []
    for text, result in burned:
        if result.readable:
            score = max((box.score for box in boxes if covers(box, result.rectangle)), default=0.0)
            names = ("all", f"size {text.size}", text.polarity.value, f"turned {text.turned}")
            found.extend((name, score) for name in names)
    return found, sum(not result.readable for _, result in burned)


def covers(box: TextBox, rectangle: tuple[int, int, int, int]) -> bool:
    """Whether a box holds at least half of a rectangle."""
    row, column, height, width = rectangle
    high = min(box.row + box.height, row + height) - max(box.row, row)
    wide = min(box.column + box.width, column + width) - max(box.column, column)
    return max(high, 0) * max(wide, 0) >= 0.5 * height * width


def without_text(images: int) -> tuple[dict[str, list[float]], list[float]]:
    """The best score of each image without identifying text, by kind; CPU seconds a megapixel."""
    alarms: dict[str, list[float]] = defaultdict(list)
    times: list[float] = []

    def look(kind: str, pixels: NDArray[np.uint16]) -> None:
        started_s = time.process_time()
        boxes = find_text(pixels, threshold=0.0)
        times.append((time.process_time() - started_s) / pixels.size * 1e6)
        alarms[kind].append(max((box.score for box in boxes), default=0.0))

    for number in range(images):
        pixels = phantom(1000 + number)
        if number % 2:
            look("phantom with L or R", pixels)
            continue
        for place, (down, right) in enumerate(PLACES[:4]):
            text = MARKERS[(number // 2 + place) % len(MARKERS)]
            pixels = burn_text(
                pixels, BurnedText(text=text, size=(24, 40, 64)[place % 3], down=down, right=right), bits=BITS
            ).pixels
        look("phantom with four markers", pixels)
    for path in sorted((PROJECT / "tests" / "data" / "dicom").iterdir()):
        parsed = read_file(path)
        stored = decode_pixels(parsed)
        look("real radiograph", render(stored, render_parameters(parsed.dataset, stored)).pixels)
    return alarms, times


def table(report: dict[str, object]) -> str:
    lines = [f"{report['machine']}; {report['cpu seconds a megapixel']} CPU s a megapixel"]
    head = "".join(f"{f'at {each}':>9}" for each in THRESHOLDS)
    for title in ("recall", "false alarms"):
        lines.append(f"\n{title:<28}{'n':>6}{head}")
        rows = report[title]
        assert isinstance(rows, dict)
        lines += [
            f"{name:<28}{row[0]:>6}" + "".join(f"{each:>9.1%}" for each in row[1:])
            for name, row in sorted(rows.items())
        ]
    return "\n".join([*lines, f"\n{report['unreadable']} planted texts did not stand out and are not counted"])


if __name__ == "__main__":
    main()
