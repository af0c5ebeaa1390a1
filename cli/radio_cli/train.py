"""`radio train`: pre-training and what follows from it."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli import evaluate, finetune, probe, train_background, train_sweep
from radio_cli.loader_options import (
    CacheOption,
    CacheSizeOption,
    DropBackgroundOption,
    MaxBadOption,
    ResolutionOption,
    ScaleOption,
    loader_assignments,
)
from radio_cli.options import DatasetOption, DryRunOption, JsonOption

app = typer.Typer(help="Pre-train a masked autoencoder and look at it.", no_args_is_help=True)
train_sweep.register(app)
train_background.register(app)
finetune.register(app)
evaluate.register(app)
probe.register(app)

CheckpointOption = Annotated[
    str, typer.Option("--checkpoint", help="last, best (by validation loss) or a number of steps.")
]


ParallelOption = Annotated[
    str | None,
    typer.Option(
        "--parallel",
        help="What the ranks of torchrun share: ddp (each has the whole model) or fsdp (each a part).  [default: ddp]",
    ),
]


@app.command(epilog="Example: radio train pretrain --preset tiny --where \"region='Knee'\" --set run.max_steps=60")
def pretrain(
    preset: Annotated[str, typer.Option("--preset", help="vit-mae-b48 (the thesis) or tiny (CPU).")] = "vit-mae-b48",
    config_file: Annotated[Path | None, typer.Option("--config", help="TOML file that changes the preset.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, such as run.max_steps=60; may be repeated.")
    ] = None,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder. Default: runs/PRESET.")] = None,
    where: Annotated[str | None, typer.Option("--where", help="Only images that this SQL predicate selects.")] = None,
    keys: Annotated[Path | None, typer.Option("--keys", help="File with keys, one a line: only these.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint; begin where there is none.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="Resume in spite of another dataset, images, data or model; may be repeated."),
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", help="Begin with these weights: a run, an export, a file of weights.")
    ] = None,
    parallel: ParallelOption = None,
    resolution: ResolutionOption = None,
    scale: ScaleOption = None,
    max_bad: MaxBadOption = None,
    cache: CacheOption = None,
    cache_size: CacheSizeOption = None,
    drop_background: DropBackgroundOption = False,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Pre-train a masked autoencoder on a dataset's shards, at full resolution and without padding."""
    from radio_cli.console import ConsoleProgress, note
    from radio_cli.project import readable_dataset
    from radio_cli.train_output import StepLine, read_keys, show_summary
    from radio_train.config import load_config
    from radio_train.distributed import ranks_of_environment
    from radio_train.pretrain import run_pretrain
    from radio_train.run_folder import Selection, load_table

    given = loader_assignments(
        resolution=resolution,
        scale=scale,
        max_bad=max_bad,
        cache=cache,
        cache_size=cache_size,
        drop_background=drop_background,
    )
    shared = [f'run.parallel="{parallel}"'] if parallel is not None else []
    config = load_config(preset, config_file, [*given, *shared, *(assignments or ())])
    folder = run or Path("runs") / preset
    selection = Selection(where=where, keys=read_keys(keys) if keys else None)
    root = readable_dataset(dataset)
    if dry_run:
        table = load_table(config, root, "train", selection)
        note(f"would train {preset} on {len(table):,} images into {folder}; nothing was written")
        return
    line = StepLine(quiet=as_json)
    summary = run_pretrain(
        config,
        root,
        folder,
        selection=selection,
        resume=resume,
        allow=allow or (),
        init=init,
        report=line,
        note=line.note,
        progress=ConsoleProgress(quiet=as_json),
    )
    if ranks_of_environment().is_first:
        show_summary(summary, as_json=as_json)


@app.command(epilog="Example: radio train reconstruct runs/demo --out sheet.png --images 8")
def reconstruct(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path, typer.Option("--out", help="PNG file to write.")] = Path("reconstruction.png"),
    images: Annotated[int, typer.Option("--images", min=1, help="Rows of the sheet.")] = 6,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Chooses images and masks.")] = 0x5EE7,
    checkpoint: CheckpointOption = "last",
    error_map: Annotated[bool, typer.Option("--error-map", help="Show where reconstruction fails instead.")] = False,
    masks: Annotated[int, typer.Option("--masks", min=1, help="That an error map averages over.")] = 8,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a sheet of validation images: original, masked, reconstructed; or with a map of the error."""
    from radio_cli.console import emit_json, note
    from radio_cli.project import readable_dataset
    from radio_train.error_map import error_map_sheet
    from radio_train.reconstruct import reconstruction_sheet
    from radio_train.run_folder import load_model, read_run

    config, trained_on, selection = read_run(run)
    root = trained_on if dataset is None else readable_dataset(dataset)
    if dry_run:
        note(f"would write a sheet of {images} images of {root} to {out}; nothing was written")
        return
    model = load_model(run, config, checkpoint)
    if error_map:
        split = error_map_sheet(model, config, root, selection, out, images=images, masks=masks, seed=seed)
    else:
        split = reconstruction_sheet(model, config, root, selection, out, images=images, seed=seed)
    if split != "val":
        note("the selection has no validation image: the sheet shows training images")
    if as_json:
        emit_json({"sheet": str(out), "split": split})
    else:
        shown = "error map" if error_map else "masked, reconstructed"
        typer.echo(f"wrote {out}: original, {shown} ({split} images)")


@app.command(epilog="Example: radio train embed runs/demo --out embeddings.parquet --where \"region='Knee'\"")
def embed(
    run: Annotated[Path, typer.Argument(help="Run folder, checkpoint or exported weights.")],
    out: Annotated[Path, typer.Option("--out", help="Parquet file to write.")] = Path("embeddings.parquet"),
    split: Annotated[str | None, typer.Option("--split", help="train, val or test. Default: all.")] = None,
    where: Annotated[str | None, typer.Option("--where", help="Only images that this SQL predicate selects.")] = None,
    precision: Annotated[int, typer.Option("--precision", help="16 or 32 bits a number.")] = 16,
    resolution: Annotated[str, typer.Option("--resolution", help="1, 1/2, 1/4 or 1/8.")] = "1",
    checkpoint: CheckpointOption = "last",
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the vectors of all images (CLS and mean of patches), joined by key; an interrupted call goes on."""
    from radio_cli.console import ConsoleProgress, as_object, emit_json, note
    from radio_cli.project import readable_dataset
    from radio_io.loading.table import load_image_table
    from radio_train.embed import EmbedConfig
    from radio_train.embed import embed as embed_images
    from radio_train.run_folder import find_checkpoint

    config = EmbedConfig(split=split, where=where, precision=precision, resolution=resolution)
    weights = run if checkpoint == "last" else find_checkpoint(run, checkpoint)
    root = readable_dataset(dataset)
    if dry_run:
        table = load_image_table(root, split, where=where)
        note(f"would write the vectors of {len(table):,} images to {out}; nothing was written")
        return
    summary = embed_images(weights, root, out, config, ConsoleProgress(quiet=as_json))
    if as_json:
        emit_json(as_object(summary) | {"out": str(out)})
    else:
        typer.echo(f"wrote the vectors of {summary.images:,} images to {out}")


@app.command(epilog="Example: radio train export runs/demo --format hf --out exported")
def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; must be missing or empty.")],
    layout: Annotated[str, typer.Option("--format", help="hf, timm or safetensors.")] = "hf",
    checkpoint: CheckpointOption = "last",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the weights of a run's checkpoint under the names of Hugging Face, of timm, or our own."""
    from radio_cli.console import emit_json, note
    from radio_io.errors import UsageError
    from radio_train.export import ExportFormat, export_model
    from radio_train.run_folder import load_model, read_run

    if layout not in list(ExportFormat):
        raise UsageError(f"--format {layout!r}; expected one of {', '.join(ExportFormat)}")
    config, _, _ = read_run(run)
    if dry_run:
        note(f"would write the weights of {run}, checkpoint {checkpoint}, to {out}; nothing was written")
        return
    path = export_model(load_model(run, config, checkpoint), out, ExportFormat(layout))
    if as_json:
        emit_json({"weights": str(path), "format": layout})
    else:
        typer.echo(f"wrote {path} and {path.parent / 'config.json'}")
