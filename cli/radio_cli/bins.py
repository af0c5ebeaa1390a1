"""`radio bins`: the best bins for a dataset."""

from typing import Annotated

import typer

from radio_cli.options import DatasetOption, JsonOption

app = typer.Typer(help="Choose resolution bins.", no_args_is_help=True)


@app.callback()
def bins() -> None:
    """Choose resolution bins."""


@app.command(epilog="Example: radio bins suggest --cutoffs 6 --patch 48")
def suggest(
    cutoffs: Annotated[int, typer.Option(min=1, help="Cut-offs on each axis; all pairs are bins.")] = 6,
    rectangles: Annotated[
        int | None, typer.Option(min=1, help="Also the best so many free height x width rectangles.")
    ] = None,
    patch: Annotated[int, typer.Option(min=1, help="Patch size of the model in pixels.")] = 48,
    where: Annotated[str | None, typer.Option("--where", help="Only images that this predicate selects.")] = None,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """The cut-offs that pad this dataset to the fewest tokens, beside the thesis's, minimal padding and packing."""
    from dataclasses import asdict

    from radio_cli.console import emit_json, note, print_table
    from radio_cli.project import dataset_root
    from radio_io.index.sizes import image_sizes
    from radio_io.sharding.suggest import compare_bins

    heights, widths = image_sizes(dataset_root(dataset), where=where)
    choices = compare_bins(heights, widths, patch=patch, num_cutoffs=cutoffs, num_rectangles=rectangles)
    if as_json:
        emit_json({name: asdict(choice) for name, choice in choices.items()})
        return
    rows = [
        [name, str(len(c.bins)), f"{c.tokens:,}", f"{c.overhead:+.1%}", str(c.smallest_bin), str(c.empty_bins)]
        for name, c in choices.items()
    ]
    columns = ["choice", "bins", "tokens", "overhead", "smallest bin", "empty bins"]
    print_table(f"Bins for {len(heights):,} images, patch {patch}", columns, rows)
    for name, choice in choices.items():
        note(f"{name}: --bins {choice.argument}")
