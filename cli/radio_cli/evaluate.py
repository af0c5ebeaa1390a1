"""`radio train evaluate`: how good a fine-tuned classifier is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radio_cli.options import DryRunOption, JsonOption

if TYPE_CHECKING:
    from radio_train.finetuning.evaluate import Evaluation

EXAMPLE = "Example: radio train evaluate runs/fracture-demo --split test --by region,device"


def register(app: typer.Typer) -> None:
    """Add the command to `radio train`."""
    app.command(epilog=EXAMPLE)(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder of radio train finetune.")],
    split: Annotated[str, typer.Option("--split", help="val or test.")] = "test",
    label_fraction: Annotated[
        float | None, typer.Option("--label-fraction", help="Which of the run's shares. Default: the largest.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="Subgroups: region, device, sex; empty for none.")] = "region,device",
    resamples: Annotated[int, typer.Option("--resamples", min=1, help="Of the bootstrap.")] = 2_000,
    dataset: Annotated[
        Path | None, typer.Option("--dataset", help="Predict all labelled images of this other dataset instead.")
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="Label file of that dataset.")] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge a run: metrics with intervals by patient, by class, region and device; figures and predictions."""
    from radio_cli.console import emit_json, note
    from radio_train.evaluation.plain import plain
    from radio_train.finetuning.evaluate import EvaluateConfig, run_evaluate, trained_on

    config = EvaluateConfig(
        split=split,
        fraction=label_fraction,
        by=tuple(name for name in by.split(",") if name),
        resamples=resamples,
        dataset=dataset,
        labels_file=labels,
    )
    if dry_run:
        images = f"all labelled images of {dataset}" if dataset else f"split {split} of {trained_on(run)}"
        note(f"would judge {run} on {images} and write {run / 'evaluation'}; nothing was written")
        return
    evaluation = run_evaluate(run, config)
    if as_json:
        emit_json(plain(evaluation))
    else:
        _print(evaluation)


def _print(evaluation: "Evaluation") -> None:
    from radio_cli.console import print_table
    from radio_cli.finetune_output import percent

    metrics = [
        [name, f"{each.value:.3f}", f"{each.low:.3f} to {each.high:.3f}"] for name, each in evaluation.metrics.items()
    ]
    title = (
        f"{evaluation.task}, {evaluation.split}: {evaluation.images:,} images of {evaluation.patients:,} patients, "
        f"label fraction {evaluation.fraction:g}, {len(evaluation.seeds)} seed(s)"
    )
    print_table(title, ["metric", "value", "95 % interval"], metrics)
    classes = [
        [each.name, f"{each.images:,}", *(_number(getattr(each, name)) for name in _CLASS_COLUMNS)]
        for each in evaluation.classes
    ]
    print_table("Classes", ["class", "images", *_CLASS_COLUMNS], classes)
    groups = [
        [f"{group.by}: {group.name}", f"{group.images:,}", percent(group.metrics["balanced_accuracy"])]
        for group in evaluation.subgroups
    ]
    if groups:
        print_table("Subgroups of at least 10 images", ["subgroup", "images", "balanced accuracy"], groups)
    typer.echo(f"figures, predictions and evaluation.json in {Path(evaluation.run) / 'evaluation'}")


_CLASS_COLUMNS = ("sensitivity", "specificity", "f1", "auroc", "auprc")


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
