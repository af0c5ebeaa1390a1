"""`radio shard rebin` and `radio shard merge`: new datasets from finished shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radio_cli.options import DatasetOption, DryRunOption, JsonOption, WorkersOption

if TYPE_CHECKING:
    from radio_io.sharding.derive import DeriveConfig, DeriveSummary

OutOption = Annotated[str, typer.Option("--out", metavar="NEW", help="Folder or URL of the new dataset.")]
OutPrivateOption = Annotated[
    Path | None,
    typer.Option("--private", help="Private folder of a new dataset at a URL. Default: ./NAME.private beside you."),
]
ShardSizeOption = Annotated[str, typer.Option("--shard-size", help="Such as 2MB or 1GB.")]
MinImagesOption = Annotated[int, typer.Option("--min-shard-images", min=1, help="At least so many images a shard.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    rebinned = "Example: radio shard rebin --bins 1024,...,3072 --out shards-1024"
    app.command("rebin", epilog=rebinned)(rebin)
    app.command("merge", epilog="Example: radio shard merge site-a/shards site-b/shards --out shards")(merge)


def rebin(
    bins: Annotated[str, typer.Option("--bins", help="Cut-offs (1152,...,3072 or a list) or HxW rectangles.")],
    out: OutOption,
    shard_size: ShardSizeOption = "1GB",
    min_shard_images: MinImagesOption = 100,
    workers: WorkersOption = None,
    dataset: DatasetOption = None,
    private: OutPrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Move the images of a dataset to shards of other bins, byte for byte, without the DICOM files.

    Interrupted, the same command goes on. The dataset itself stays as it is.
    """
    from radio_cli.console import ConsoleProgress
    from radio_cli.project import dataset_place
    from radio_io.sharding.bins import Bins
    from radio_io.sharding.derive import rebin_dataset

    config = _config((dataset_place(dataset),), out, private, shard_size, min_shard_images, workers)
    summary = rebin_dataset(config, Bins.parse(bins), ConsoleProgress(quiet=as_json), dry_run=dry_run)
    _answer(summary, dry_run=dry_run, as_json=as_json)


def merge(
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET...", help="Folders or URLs of datasets of one key; two or more.")
    ],
    out: OutOption,
    shard_size: ShardSizeOption = "1GB",
    min_shard_images: MinImagesOption = 100,
    workers: WorkersOption = None,
    private: OutPrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Unite datasets of one key in a new one: each image once, labels united, withdrawn patients left out.

    Interrupted, the same command goes on. The datasets themselves stay as they are.
    """
    from radio_cli.console import ConsoleProgress
    from radio_io.sharding.derive import merge_datasets

    config = _config(tuple(datasets), out, private, shard_size, min_shard_images, workers)
    summary = merge_datasets(config, ConsoleProgress(quiet=as_json), dry_run=dry_run)
    _answer(summary, dry_run=dry_run, as_json=as_json)


def _config(
    sources: tuple[str, ...], out: str, private: Path | None, shard_size: str, min_images: int, workers: int | None
) -> "DeriveConfig":
    from radio_cli.build_options import place_to_build
    from radio_cli.console import parse_size
    from radio_io.executors import default_workers
    from radio_io.sharding.derive import DeriveConfig
    from radio_io.sharding.derive_plan import ShardSizes
    from radio_io.sharding.places import source_root

    sizes = ShardSizes(size_bytes=parse_size(shard_size), min_images=min_images)
    folder, url = place_to_build(out, private)
    roots = tuple(map(source_root, sources))
    return DeriveConfig(sources=roots, out=folder, out_url=url, sizes=sizes, workers=workers or default_workers())


def _answer(summary: "DeriveSummary", *, dry_run: bool, as_json: bool) -> None:
    from radio_cli.console import emit_json, format_duration, format_size, note, print_counts, print_table

    if as_json:
        emit_json(summary)
    else:
        rows = [
            [each.bin, f"{each.images:,}", f"{each.shards:,}", format_size(each.size_bytes)] for each in summary.bins
        ]
        print_table("Bins", ["bin", "images", "shards", "size"], rows)
        size = f"{summary.images:,} images in {summary.shards:,} shards ({format_size(summary.size_bytes)})"
        typer.echo(f"{size}, copied {summary.new_images:,} in {format_duration(summary.elapsed_s)}")
        print_counts("Left out", "reason", summary.left_out)
        print_counts("Labels", "task", summary.labels)
    for conflict in summary.conflicts:
        note(f"labels contradict each other, that of the first dataset counts: {conflict}")
    if dry_run:
        note("nothing was written")
    elif summary.missing_shards:
        note("interrupted: what is finished is safe; run the same command again to go on")
        raise typer.Exit(1)
