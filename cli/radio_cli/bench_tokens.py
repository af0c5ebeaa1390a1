"""`radio bench tokens`: what padding, bins and packing cost on these images."""

from typing import Annotated

import typer

from radio_cli.options import DatasetOption, JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("tokens", epilog="Example: radio bench tokens --thesis")(tokens)


def tokens(
    thesis: Annotated[
        bool, typer.Option("--thesis", help="Sizes drawn as the thesis's 639,877 images, instead of a dataset's.")
    ] = False,
    budget: Annotated[int, typer.Option("--budget", min=2, help="Tokens of a pack.")] = 24_576,
    step_images: Annotated[int, typer.Option("--step-images", min=1, help="Images of a step.")] = 1_024,
    ranks: Annotated[int, typer.Option("--ranks", min=1, help="GPUs that share the packs of a step.")] = 1,
    where: Annotated[str | None, typer.Option("--where", help="Only images that this predicate selects.")] = None,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tokens and computation of an epoch: padded to the patch, packed, in bins, at a fixed size (thesis, Table 4.1)."""
    from radio_cli.console import as_object, emit_json, print_table
    from radio_cli.project import dataset_root
    from radio_io.index.sizes import image_sizes
    from radio_train.model.config import MaeConfig
    from radio_train.token_table import compare_batching, thesis_sizes

    heights, widths = thesis_sizes() if thesis else image_sizes(dataset_root(dataset), where=where)
    costs = compare_batching(heights, widths, MaeConfig(), token_budget=budget, step_images=step_images, ranks=ranks)
    if as_json:
        emit_json({"images": len(heights), "costs": [as_object(cost) for cost in costs]})
        return
    rows = [
        [
            cost.batching,
            f"{cost.tokens:,}",
            f"{cost.token_ratio:.1%}",
            f"{cost.flops:.3e}",
            f"{cost.flops_ratio:.1%}",
            f"{cost.waste:.2%}" if cost.waste_in_full_packs is None else f"{cost.waste_in_full_packs:.2%}",
        ]
        for cost in costs
    ]
    columns = ["batching", "input tokens", "processed", "FLOP, training", "compute", "empty"]
    print_table(f"One epoch of {len(heights):,} images, ViT-MAE-B, patch 48", columns, rows)
    packed = next(cost for cost in costs if cost.waste_in_full_packs is not None)
    whose = "one rank" if ranks == 1 else f"{ranks} ranks"
    typer.echo(f"packs: {packed.waste:.2%} empty with the ends of steps of {step_images:,} images, for {whose}")
