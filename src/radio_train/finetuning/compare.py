"""Initialisations compared under equal conditions: the table of the thesis.

Comes in: tasks, initialisations, shares of the labels, seeds. Goes out: a run a task and initialisation below one
folder, and `compare.json`, `compare.csv` and `compare.md` with balanced accuracy, accuracy in brackets, intervals and a
paired test against the first initialisation. What is finished is taken over; the tables are written anew after every
task. Refuses fewer than two initialisations and names that occur twice.

Source: Buehler, Large-scale Radiograph Pre-training (TUM 2024), Table 4.2.
"""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from radio_io import atomic
from radio_io.errors import UsageError
from radio_train.evaluation.bootstrap import Interval, PairedTest, compare_runs
from radio_train.evaluation.plain import json_bytes
from radio_train.finetuning.config import FinetuneConfig
from radio_train.finetuning.linear import VectorStore
from radio_train.finetuning.member import Report
from radio_train.finetuning.run import FinetuneSummary, RunPlan, predictions_of_seeds, run_finetune
from radio_train.finetuning.tasks import TaskSpec

CSV_COLUMNS = (
    "task",
    "label_fraction",
    "training_images",
    "test_images",
    "init",
    "rate",
    "seeds",
    "balanced_accuracy",
    "balanced_accuracy_low",
    "balanced_accuracy_high",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Init:
    """An initialisation: its name in the table, where its weights are, its learning rate (None: that of all)."""

    name: str
    source: str
    rate: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One initialisation on one task with one share of the labels; `test` is against the first initialisation."""

    task: str
    fraction: float
    training_images: int
    test_images: int
    init: str
    rate: float
    seeds: int
    balanced_accuracy: Interval
    accuracy: Interval
    test: PairedTest | None


def parse_inits(texts: Sequence[str], rates: Sequence[str] = ()) -> tuple[Init, ...]:
    """Initialisations from `random`, `runs/demo` or `NAME=PATH`, and rates from `NAME=1e-4`.

    Example:
        >>> [init.name for init in parse_inits(["random", "runs/demo", "imagenet=vit.safetensors"], ["demo=1e-4"])]
        ['random', 'demo', 'imagenet']

    Raises:
        UsageError: Fewer than two, a name twice, or a rate of an unknown name.
    """
    given: dict[str, float] = {}
    for text in rates:
        name, _, value = text.partition("=")
        try:
            given[name] = float(value)
        except ValueError:
            raise UsageError(f"--rate {text!r}: give NAME=RATE, for example random=1e-4") from None
    inits: list[Init] = []
    for text in texts:
        name, equals, source = text.partition("=")
        source = source if equals else text
        name = name if equals else Path(text).name
        inits.append(Init(name=name, source=source, rate=given.pop(name, None)))
    names = [init.name for init in inits]
    if len(set(names)) < 2 or len(set(names)) != len(names):
        raise UsageError(f"found --inits {', '.join(names)}; give at least two of different names, as NAME=PATH")
    if given:
        raise UsageError(f"--rate is given for {', '.join(given)}, which --inits does not name: {', '.join(names)}")
    return tuple(inits)


def run_compare(
    base: FinetuneConfig,
    tasks: Sequence[TaskSpec],
    inits: Sequence[Init],
    plan: RunPlan,
    dataset: Path,
    out: Path,
    *,
    report: Callable[[str, str], Report] = lambda task, init: lambda member, metrics: None,
) -> list[Cell]:
    """Train everything and write the tables; returns their cells.

    Raises:
        UsageError, DatasetError, TrainingError: See `run_finetune`.
    """
    cells: list[Cell] = []
    store = VectorStore()  # tasks share images
    for task in tasks:
        summaries: list[FinetuneSummary] = []
        for init in inits:
            config = replace(base, task=task, init=init.source)
            if init.rate is not None:
                config = replace(config, training=replace(config.training, base_rate=init.rate))
            chosen = plan if init.rate is None else replace(plan, sweep=())
            run = out / f"{task.name}-{init.name}"
            summaries.append(
                run_finetune(config, dataset, run, chosen, report=report(task.name, init.name), store=store)
            )
        cells += _cells(summaries, [init.name for init in inits])
        write_tables(cells, out)
    return cells


def write_tables(cells: Sequence[Cell], out: Path) -> None:
    """Write `compare.json`, `compare.csv` and `compare.md` into a folder."""
    atomic.make_folder(out)
    atomic.write_file(out / "compare.json", json_bytes(cells))
    atomic.write_file(out / "compare.csv", as_csv(cells).encode())
    atomic.write_file(out / "compare.md", as_markdown(cells).encode())


def as_csv(cells: Sequence[Cell]) -> str:
    """One row a cell; what does not exist is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for cell in cells:
        test = cell.test
        values = (
            *(cell.balanced_accuracy.value, cell.balanced_accuracy.low, cell.balanced_accuracy.high),
            *(cell.accuracy.value, cell.accuracy.low, cell.accuracy.high),
            *((test.difference, test.low, test.high, test.p_value) if test else ("",) * 4),
        )
        facts = (cell.task, f"{cell.fraction:g}", cell.training_images, cell.test_images, cell.init, f"{cell.rate:g}")
        writer.writerow([*facts, cell.seeds, *(f"{v:.6f}" if isinstance(v, float) else v for v in values)])
    return buffer.getvalue()


def as_markdown(cells: Sequence[Cell]) -> str:
    """A row a task and share of the labels, a column an initialisation, then a paired test each."""
    names = list(dict.fromkeys(cell.init for cell in cells))
    tests = [f"{name} - {names[0]}" for name in names[1:]]
    lines = [
        "| " + " | ".join(["Task", "Labels", *names, *tests]) + " |",
        "|" + "---|" * (2 + len(names) + len(tests)),
    ]
    for task, fraction in dict.fromkeys((cell.task, cell.fraction) for cell in cells):
        row = {cell.init: cell for cell in cells if (cell.task, cell.fraction) == (task, fraction)}
        any_cell = next(iter(row.values()))
        texts = [task, f"{fraction:.4g} ({any_cell.training_images} images)"]
        texts += [_shown(row[name]) if name in row else "" for name in names]
        texts += [_shown_test(row[name].test) if name in row else "" for name in names[1:]]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def _cells(summaries: Sequence[FinetuneSummary], names: Sequence[str]) -> list[Cell]:
    cells: list[Cell] = []
    for place, first in enumerate(summaries[0].results):
        reference = predictions_of_seeds(Path(summaries[0].run), first.fraction, first.seeds)
        for summary, name in zip(summaries, names, strict=True):
            result = summary.results[place]
            test: PairedTest | None = None
            if summary is not summaries[0]:
                mine = predictions_of_seeds(Path(summary.run), result.fraction, result.seeds)
                test = compare_runs(
                    [each.outcomes for each in reference], [each.outcomes for each in mine], reference[0].patients
                )
            cells.append(
                Cell(
                    task=summary.task,
                    fraction=result.fraction,
                    training_images=result.training_images,
                    test_images=len(reference[0].keys),
                    init=name,
                    rate=summary.rate,
                    seeds=len(result.seeds),
                    balanced_accuracy=result.metrics["balanced_accuracy"],
                    accuracy=result.metrics["accuracy"],
                    test=test,
                )
            )
    return cells


def _shown(cell: Cell) -> str:
    """`73.57 % (82.86 %) [70.1, 77.0]`: balanced accuracy, accuracy, interval of the first."""
    balanced = cell.balanced_accuracy
    bounds = f"[{100 * balanced.low:.1f}, {100 * balanced.high:.1f}]"
    return f"{_percent(balanced.value)} ({_percent(cell.accuracy.value)}) {bounds}"


def _shown_test(test: PairedTest | None) -> str:
    if test is None:
        return ""
    bounds = f"[{100 * test.low:+.1f}, {100 * test.high:+.1f}]"
    chance = f"p = {test.p_value:.3f}" if test.p_value >= 0.001 else "p < 0.001"
    return f"{100 * test.difference:+.2f} {bounds}, {chance}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f} %"
