"""`radio train sweep`: the search for the learning rate."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to `radio train`."""
    app.command(epilog="Example: radio train sweep --preset tiny --images 500 --epochs 2 --rates 3e-3,1e-3")(sweep)


def sweep(
    preset: Annotated[str, typer.Option("--preset", help="vit-mae-b48 (the thesis) or tiny (CPU).")] = "vit-mae-b48",
    config_file: Annotated[Path | None, typer.Option("--config", help="TOML file that changes the preset.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, such as data.step_images=64; may be repeated.")
    ] = None,
    rates: Annotated[str, typer.Option("--rates", help="Learning rates, separated by commas.")] = "3e-3,1e-3,3e-4,1e-4",
    images: Annotated[int, typer.Option("--images", min=1, help="Images of the subset.")] = 2_000,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs of each run.")] = 3,
    run: Annotated[Path | None, typer.Option("--run", help="Folder. Default: runs/PRESET-sweep.")] = None,
    where: Annotated[str | None, typer.Option("--where", help="Only images that this SQL predicate selects.")] = None,
    dataset: DatasetOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train briefly with each learning rate on the same subset, and compare; repeated, it does what is missing."""
    from radio_cli.console import emit_json, note, print_table
    from radio_cli.project import readable_dataset
    from radio_cli.train_output import StepLine, parse_rates
    from radio_train.config import load_config
    from radio_train.run_folder import Selection, load_table
    from radio_train.sweep import run_sweep, some_images

    config, root = load_config(preset, config_file, assignments or ()), readable_dataset(dataset)
    folder, selection, chosen = run or Path("runs") / f"{preset}-sweep", Selection(where=where), parse_rates(rates)
    if dry_run:
        count = len(load_table(config, root, "train", some_images(config, root, images, selection)))
        note(f"would train {len(chosen)} times on {count:,} images into {folder}; nothing was written")
        return
    line = StepLine(quiet=as_json)
    results = run_sweep(
        config,
        root,
        folder,
        rates=chosen,
        images=images,
        epochs=epochs,
        selection=selection,
        report=line,
        note=line.note,
    )
    if as_json:
        emit_json(results)
        return

    def shown(loss: float | None) -> str:
        return "-" if loss is None else f"{loss:.5f}"

    rows = [
        [f"{each.rate:g}", shown(each.validation_loss), shown(each.first_loss), shown(each.last_loss), str(each.steps)]
        for each in results
    ]
    print_table("Learning rates, best first", ["rate", "validation loss", "first loss", "last losses", "steps"], rows)
    for each in results:
        if each.failure:
            note(f"rate {each.rate:g}: {each.failure}")
    typer.echo(f"take it with --set optimizer.base_rate={results[0].rate:g}")
