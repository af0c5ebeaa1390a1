"""`radio train finetune` and `radio train compare`: classifiers from few labels."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption

KindOption = Annotated[
    str | None, typer.Option("--kind", help="binary, multiclass, multilabel or ordinal. Default: by the labels.")
]
LabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="CSV or Parquet with columns key, label instead of the index's labels.")
]
PositiveOption = Annotated[str | None, typer.Option("--positive", help="The positive class of a binary task.")]
PresetOption = Annotated[
    str, typer.Option("--preset", help="Sizes where the weights do not say them: vit-mae-b48, vit-b16 or tiny.")
]
WhereOption = Annotated[str | None, typer.Option("--where", help="Only images that this SQL predicate selects.")]
FreezeOption = Annotated[bool, typer.Option("--freeze", help="Train the linear layer alone, with augmentation.")]
ProbeOption = Annotated[
    bool, typer.Option("--linear-probe", help="Fit the linear layer alone, on vectors computed once.")
]
PoolingOption = Annotated[str, typer.Option("--pooling", help="cls or mean: what stands for an image.")]
FractionOption = Annotated[
    str, typer.Option("--label-fraction", help="Shares of the training labels, such as 0.01,0.1,1.")
]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Trainings a share, with seeds from 0 on.")]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", help="Try learning rates first: default, or such as 1e-3,1e-4.")
]
SplitsOption = Annotated[
    str, typer.Option("--splits", help="stratified (75/10/15 by patient and class) or dataset (its own).")
]
SplitSeedOption = Annotated[int, typer.Option("--split-seed", min=0, help="Of the stratified splits.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="training.NAME=VALUE or augment.NAME=VALUE; may be repeated."),
]


FINETUNE_EXAMPLE = "Example: radio train finetune --task region --init runs/demo --seeds 3 --label-fraction 0.1,1"
COMPARE_EXAMPLE = "Example: radio train compare region fracture --inits random --inits runs/demo --seeds 3"


def register(app: typer.Typer) -> None:
    """Add the commands to `radio train`."""
    app.command(epilog=FINETUNE_EXAMPLE)(finetune)
    app.command(epilog=COMPARE_EXAMPLE)(compare)


def finetune(
    task: Annotated[str, typer.Option("--task", help="region, or the name of imported labels.")],
    init: Annotated[str, typer.Option("--init", help="random, a run folder, or a file of weights.")] = "random",
    run: Annotated[Path | None, typer.Option("--run", help="Folder. Default: runs/TASK-INIT.")] = None,
    kind: KindOption = None,
    labels: LabelsOption = None,
    positive: PositiveOption = None,
    where: WhereOption = None,
    preset: PresetOption = "vit-mae-b48",
    freeze: FreezeOption = False,
    linear_probe: ProbeOption = False,
    pooling: PoolingOption = "cls",
    label_fraction: FractionOption = "1",
    seeds: SeedsOption = 1,
    sweep: SweepOption = None,
    splits: SplitsOption = "stratified",
    split_seed: SplitSeedOption = 0,
    assignments: SetOption = None,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier on labelled images; the same command goes on after an interruption."""
    from radio_cli.console import emit_json, note
    from radio_cli.finetune_output import EpochLine, print_finetune_summary
    from radio_cli.finetune_settings import base_config, run_plan, task_spec
    from radio_cli.project import readable_dataset
    from radio_train.evaluation.plain import plain
    from radio_train.finetuning.run import prepare_task, run_finetune

    spec = task_spec(task, kind=kind, labels=labels, positive=positive, where=where)
    config = base_config(spec, init, preset, freeze, linear_probe, pooling, splits, split_seed, assignments or [])
    folder = run or Path("runs") / f"{task}-{Path(init).name}"
    plan = run_plan(seeds, label_fraction, sweep)
    root = readable_dataset(dataset)
    if dry_run:
        prepared = prepare_task(config, root)
        note(
            f"would train {len(plan.fractions) * plan.seeds} classifiers of {len(prepared.task.classes)} classes on "
            f"{len(prepared.task):,} images into {folder}; nothing was written"
        )
        return
    summary = run_finetune(config, root, folder, plan, report=EpochLine(quiet=as_json))
    if as_json:
        emit_json(plain(summary))
    else:
        print_finetune_summary(summary)


def compare(
    tasks: Annotated[list[str], typer.Argument(help="region, or names of imported labels.")],
    inits: Annotated[list[str], typer.Option("--inits", help="random, PATH or NAME=PATH; once for each.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for runs and tables.")] = Path("runs/compare"),
    rates: Annotated[list[str] | None, typer.Option("--rate", help="NAME=RATE of one of --inits.")] = None,
    where: WhereOption = None,
    preset: PresetOption = "vit-mae-b48",
    freeze: FreezeOption = False,
    linear_probe: ProbeOption = False,
    pooling: PoolingOption = "cls",
    label_fraction: FractionOption = "1",
    seeds: SeedsOption = 3,
    sweep: SweepOption = None,
    splits: SplitsOption = "stratified",
    split_seed: SplitSeedOption = 0,
    assignments: SetOption = None,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train classifiers from several initialisations under equal conditions and print the table of the thesis."""
    from radio_cli.console import emit_json, note
    from radio_cli.finetune_output import CompareLine
    from radio_cli.finetune_settings import base_config, run_plan, task_spec
    from radio_cli.project import readable_dataset
    from radio_train.evaluation.plain import plain
    from radio_train.finetuning.compare import as_markdown, parse_inits, run_compare

    specs = [task_spec(task, kind=None, labels=None, positive=None, where=where) for task in tasks]
    chosen = parse_inits(inits, rates or ())
    config = base_config(
        specs[0], chosen[0].source, preset, freeze, linear_probe, pooling, splits, split_seed, assignments or []
    )
    plan = run_plan(seeds, label_fraction, sweep)
    if dry_run:
        count = len(specs) * len(chosen) * len(plan.fractions) * plan.seeds
        note(f"would train {count} classifiers into {out}; nothing was written")
        return
    line = CompareLine(quiet=as_json)
    cells = run_compare(config, specs, chosen, plan, readable_dataset(dataset), out, report=line.begin)
    if as_json:
        emit_json(plain({"out": out, "cells": cells}))
    else:
        typer.echo(as_markdown(cells), nl=False)
        note(f"balanced accuracy (accuracy) [95 % interval], in {out}: compare.md, compare.csv, compare.json")
