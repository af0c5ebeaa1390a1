"""`radio train background`: count what dropping patches of background would save, and remember it."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.loader_options import (
    CacheOption,
    CacheSizeOption,
    ResolutionOption,
    ScaleOption,
    loader_assignments,
)
from radio_cli.options import DatasetOption, DryRunOption, JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("background", epilog="Example: radio train background --set data.background_permille=20")(background)


def background(
    preset: Annotated[str, typer.Option("--preset", help="vit-mae-b48 (the thesis) or tiny (CPU).")] = "vit-mae-b48",
    config_file: Annotated[Path | None, typer.Option("--config", help="TOML file that changes the preset.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE, such as data.background_permille=20; may be repeated."),
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="Only images that this SQL predicate selects.")] = None,
    keys: Annotated[Path | None, typer.Option("--keys", help="File with keys, one a line: only these.")] = None,
    resolution: ResolutionOption = None,
    scale: ScaleOption = None,
    cache: CacheOption = None,
    cache_size: CacheSizeOption = None,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Count the patches of background for `pretrain --drop-background`: needed beforehand under torchrun only."""
    from radio_cli.console import ConsoleProgress, emit_json, note
    from radio_cli.project import readable_dataset
    from radio_cli.train_output import read_keys
    from radio_train.background import count_selection
    from radio_train.config import load_config
    from radio_train.run_folder import Selection, load_table

    given = loader_assignments(resolution=resolution, scale=scale, max_bad=None, cache=cache, cache_size=cache_size)
    config = load_config(preset, config_file, [*given, *(assignments or ())])
    selection = Selection(where=where, keys=read_keys(keys) if keys else None)
    root = readable_dataset(dataset)
    if dry_run:
        table = load_table(config, root, "train", selection)
        note(f"would count the background of {len(table):,} images and of those of validation; nothing was written")
        return
    summary = count_selection(config, root, selection, ConsoleProgress(quiet=as_json))
    if as_json:
        emit_json(summary)
        return
    typer.echo(
        f"dropping background saves {summary.share:.1%} of the tokens of {summary.images:,} training images: "
        f"{summary.tokens:,} of {summary.all_tokens:,} are left"
    )
