"""`radio train probe` and `radio train augment-preview`: quick looks before a long training."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.finetune import KindOption, LabelsOption, PositiveOption, WhereOption
from radio_cli.options import DatasetOption, DryRunOption, JsonOption

PROBE_EXAMPLE = "Example: radio train probe embeddings.parquet --task region --picture regions.svg"
PREVIEW_EXAMPLE = "Example: radio train augment-preview --out sheet.png --where \"region='Hand'\""


def register(app: typer.Typer) -> None:
    """Add the commands to `radio train`."""
    app.command(epilog=PROBE_EXAMPLE)(probe)
    app.command("augment-preview", epilog=PREVIEW_EXAMPLE)(augment_preview)


def probe(
    vectors: Annotated[Path, typer.Argument(help="Parquet file of radio train embed.")],
    task: Annotated[str, typer.Option("--task", help="region, or the name of imported labels.")] = "region",
    column: Annotated[str, typer.Option("--column", help="cls or mean.")] = "mean",
    neighbours: Annotated[int, typer.Option("--neighbours", min=1, help="That vote.")] = 20,
    label_fraction: Annotated[float, typer.Option("--label-fraction", help="Share of the training labels.")] = 1.0,
    split_seed: Annotated[int, typer.Option("--split-seed", min=0, help="Of the splits.")] = 0,
    picture: Annotated[Path | None, typer.Option("--picture", help="SVG of the vectors, coloured by class.")] = None,
    projection: Annotated[str, typer.Option("--projection", help="Of the picture: pca, or umap (extra umap).")] = "pca",
    kind: KindOption = None,
    labels: LabelsOption = None,
    positive: PositiveOption = None,
    where: WhereOption = None,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge vectors by nearest neighbours and a linear layer, in seconds."""
    from radio_cli.console import emit_json, print_table
    from radio_cli.finetune_output import percent
    from radio_cli.finetune_settings import task_spec
    from radio_cli.project import readable_dataset
    from radio_train.evaluation.plain import plain
    from radio_train.finetuning.probe import ProbeConfig, run_probe
    from radio_train.finetuning.projection import parse_projection

    spec = task_spec(task, kind=kind, labels=labels, positive=positive, where=where)
    config = ProbeConfig(
        column=column,
        neighbours=neighbours,
        fraction=label_fraction,
        split_seed=split_seed,
        projection=parse_projection(projection),
    )
    results = run_probe(vectors, readable_dataset(dataset), spec, config, picture)
    if as_json:
        emit_json(plain(results))
        return
    rows = [
        [each.method, *(percent(each.metrics[name]) for name in ("balanced_accuracy", "accuracy", "auroc"))]
        for each in results
    ]
    title = f"{task}: {results[0].training_images:,} training images, {results[0].test_images:,} test images"
    print_table(title, ["method", "balanced accuracy", "accuracy", "AUROC"], rows)


def augment_preview(
    out: Annotated[Path, typer.Option("--out", help="PNG file to write.")] = Path("augmentations.png"),
    images: Annotated[int, typer.Option("--images", min=1, help="Columns of the sheet.")] = 6,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses images and changes.")] = 0xA06,
    resolution: Annotated[str, typer.Option("--resolution", help="1, 1/2, 1/4 or 1/8.")] = "1",
    where: WhereOption = None,
    assignments: Annotated[list[str] | None, typer.Option("--set", help="augment.NAME=VALUE; may be repeated.")] = None,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a sheet of the random changes of fine-tuning: each alone, then all together."""
    from radio_cli.console import emit_json, note
    from radio_cli.finetune_settings import augment_config
    from radio_cli.project import readable_dataset
    from radio_train.finetuning.preview import preview_rows, preview_sheet

    config = augment_config(assignments or [])
    root = readable_dataset(dataset)
    if dry_run:
        note(f"would write a sheet of {images} images of {root} to {out}; nothing was written")
        return
    count = preview_sheet(root, out, config, images=images, where=where, seed=seed, resolution=resolution)
    if as_json:
        emit_json({"sheet": str(out), "images": count, "rows": list(preview_rows())})
    else:
        typer.echo(f"wrote {out}: {count} images; rows from the top: {', '.join(preview_rows())}")
