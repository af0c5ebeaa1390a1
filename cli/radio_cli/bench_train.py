"""`radio bench train`: what packing saves."""

from typing import Annotated

import typer

from radio_cli.options import JsonOption

COLUMNS = [
    *("policy", "packs", "tokens", "CPU ms/image", "spread", "images/s", "tokens/s", "MFU", "memory"),
    *("compile s", "graphs", "loss", "time"),
]


def register(app: typer.Typer) -> None:
    """Add the command to `radio bench`."""
    app.command(epilog="Example: radio bench train --preset tiny --images 64 --rounds 5")(train)


def train(
    preset: Annotated[str, typer.Option("--preset", help="vit-mae-b48 (the thesis) or tiny (CPU).")] = "tiny",
    images: Annotated[int, typer.Option("--images", min=8, help="Images of a step.")] = 64,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Measured rounds; the median counts.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the sizes of the images.")] = 0,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, such as run.compile=true; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure packing against padding to bins and against single images, on the same images of realistic sizes."""
    from radio_cli.console import as_object, emit_json, format_size, note, print_table
    from radio_train.bench_train import bench_config, bench_policies

    config = bench_config(preset, assignments or ())
    result = bench_policies(
        config, images=images, rounds=rounds, seed=seed, note=(lambda text: None) if as_json else note
    )
    if as_json:
        emit_json(as_object(result) | {"ratios": {each.policy: result.ratio(each.policy) for each in result.policies}})
        return
    rows = [
        [
            each.policy,
            str(each.packs),
            f"{each.tokens:,}",
            f"{1_000 * each.cpu_s:.1f}",
            f"{each.spread:.1%}",
            f"{each.images_per_s:.1f}",
            f"{each.tokens_per_s:,.0f}",
            f"{each.mfu:.1%}",
            format_size(each.memory_bytes),
            f"{each.compile_s:.1f}",
            str(each.graphs),
            f"{each.loss:.6f}",
            f"{result.ratio(each.policy):.2f}x",
        ]
        for each in result.policies
    ]
    print_table(
        f"{preset}, {images} images, packs of {result.budget:,} tokens, {config.run.precision}, {result.device}",
        COLUMNS,
        rows,
    )
    typer.echo(f"loss of the padded images in packs {result.bins_packed_loss:.6f}: that of bins")
