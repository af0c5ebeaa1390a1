"""`radio shard`: build, info, ls; rebin and merge stand in `derive`, verify in `verify`."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli import derive, verify
from radio_cli.options import (
    DatasetOption,
    DryRunOption,
    FromOption,
    JsonOption,
    PrivateOption,
    SourcesArgument,
    WorkersOption,
)

app = typer.Typer(help="Build, check and list shards.", no_args_is_help=True)
TOO_MANY_REJECTS = 3
derive.register(app)
verify.register(app)


@app.command(epilog="Example: radio shard build /mnt/pacs/export --bins 1152,...,3072 --workers 8")
def build(
    sources: SourcesArgument = None,
    listed: FromOption = None,
    bins: Annotated[
        str | None,
        typer.Option("--bins", help="Cut-offs (1152,...,3072 or a list) or HxW rectangles.  [default: 1152,...,3072]"),
    ] = None,
    codec: Annotated[str | None, typer.Option("--codec", help="htj2k or fast.  [default: htj2k]")] = None,
    shard_size: Annotated[str | None, typer.Option("--shard-size", help="Such as 2MB or 1GB.  [default: 1GB]")] = None,
    min_shard_images: Annotated[
        int | None,
        typer.Option("--min-shard-images", min=1, help="At least so many images, whatever the size.  [default: 100]"),
    ] = None,
    modalities: Annotated[
        str | None, typer.Option("--modalities", help="Comma-separated, such as CR,DX, or all.  [default: CR,DX,RG]")
    ] = None,
    render: Annotated[str | None, typer.Option("--render", help="modality or voi.  [default: modality]")] = None,
    dates: Annotated[str | None, typer.Option("--dates", help="shift, year or drop.  [default: shift]")] = None,
    frames: Annotated[str | None, typer.Option("--frames", help="reject, first or all.  [default: reject]")] = None,
    regions: Annotated[Path | None, typer.Option("--regions", help="TOML file with more names of regions.")] = None,
    allow_burned_in: Annotated[
        bool, typer.Option("--allow-burned-in", help="Keep images that are marked as carrying burned-in text.")
    ] = False,
    executor: Annotated[
        str | None,
        typer.Option(
            "--executor", help="local, dask, or a dask scheduler such as tcp://10.0.0.1:8786. [default: local]"
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="I/N", help="Build only every N-th shard from I on: a SLURM array.")
    ] = None,
    file_timeout: Annotated[
        float | None, typer.Option("--file-timeout", min=0.1, help="Reject files that take longer, s.  [default: 120]")
    ] = None,
    retry: Annotated[
        list[str] | None,
        typer.Option("--retry", metavar="REASON", help="Try files again that were rejected for REASON; repeatable."),
    ] = None,
    text_detector: Annotated[
        bool, typer.Option("--text-detector", help="Look for text in the pixels; fills text_score. Needs radio[text].")
    ] = False,
    mask_text: Annotated[
        bool, typer.Option("--mask-text", help="Blank the text that the detector finds, and record where.")
    ] = False,
    max_reject_rate: Annotated[
        float, typer.Option("--max-reject-rate", min=0, max=1, help="Exit with 3 where more of the files are rejected.")
    ] = 1.0,
    workers: WorkersOption = None,
    dataset: DatasetOption = None,
    private: PrivateOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn DICOM files into shards and an index. Run it again to go on after an interruption or with new files."""
    from radio_cli.build_options import make_config
    from radio_cli.console import ConsoleProgress, as_object, emit_json, note
    from radio_io.sharding.build import build_dataset
    from radio_io.sharding.retry import parse_reasons

    reasons = parse_reasons(retry or ())
    config = make_config(
        sources,
        dataset,
        private=private,
        listed=listed,
        regions=regions,
        allow_burned_in=allow_burned_in,
        text="mask" if mask_text else "detect" if text_detector else None,
        bins=bins,
        codec=codec,
        shard_size=shard_size,
        min_shard_images=min_shard_images,
        modalities=modalities,
        render=render,
        dates=dates,
        frames=frames,
        workers=workers,
        executor=executor,
        file_timeout=file_timeout,
        task=task,
    )
    if dry_run:
        place = config.dataset_url or config.dataset
        note(
            f"would build {len(config.sources)} sources into {place} with {len(config.bins.rectangles)} "
            f"bins, codec {config.codec}, {config.workers} workers; nothing was written"
        )
        return
    summary = build_dataset(config, ConsoleProgress(quiet=as_json), retry=reasons)
    if as_json:
        emit_json(as_object(summary) | {"reject_rate": summary.reject_rate})
    else:
        _show(summary)
    if summary.interrupted:
        note("interrupted: what is finished is safe; run the same command again to go on")
        raise typer.Exit(1)
    if summary.missing_shards:
        note(
            f"{summary.missing_shards} shards of other tasks are not finished; the last task publishes the index, "
            "or run the same command without --task"
        )
        return
    if summary.reject_rate > max_reject_rate:
        note(f"{summary.reject_rate:.1%} of the files were rejected, more than --max-reject-rate {max_reject_rate:.1%}")
        raise typer.Exit(TOO_MANY_REJECTS)


def _show(summary: object) -> None:
    from radio_cli.console import format_duration, format_size, print_rejects
    from radio_io.sharding.build import BuildSummary

    assert isinstance(summary, BuildSummary)
    if summary.missing_shards and not summary.found:
        typer.echo(f"this task: {summary.new_images:,} images in {summary.new_shards} shards")
        return
    ratio = f", compressed {summary.pixel_bytes / summary.encoded_bytes:.1f}x" if summary.encoded_bytes else ""
    frames = f" with {summary.extra_frames:,} further frames" if summary.extra_frames else ""
    typer.echo(
        f"{summary.found:,} files{frames}: {summary.images:,} images in {summary.shards} shards "
        f"({format_size(summary.size_bytes)}), {sum(summary.rejects.values()):,} rejected"
    )
    typer.echo(
        f"this run: {summary.new_images:,} images in {summary.new_shards} shards, "
        f"{format_duration(summary.elapsed_s)}{ratio}"
    )
    print_rejects("Rejected", summary.rejects)


@app.command(epilog="Example: radio shard info --json")
def info(dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """Summarise a dataset: images, patients, splits, regions, bins, rejects."""
    from radio_cli.console import as_object, emit_json, format_size, print_counts
    from radio_cli.project import readable_dataset
    from radio_io.sharding.info import dataset_info

    found = dataset_info(readable_dataset(dataset))
    if as_json:
        emit_json(as_object(found))
        return
    typer.echo(
        f"dataset {found.dataset_id}, key {found.key_id}, codec {found.codec}\n"
        f"{found.images:,} images of {found.patients:,} patients in {found.shards} shards, "
        f"{format_size(found.size_bytes)}, compressed {found.compression:.2f}x"
    )
    if found.unseen_text:
        typer.echo(
            f"{found.unseen_text:,} scanned films, secondary captures or marked images may carry names in their pixels "
            "and no detector looked at them: build with --text-detector or --mask-text"
        )
    if found.doubtful_ids or found.mixed_studies:
        typer.echo(
            f"in doubt: {found.doubtful_ids:,} patient IDs with several issuers or none (one split each), "
            f"{found.mixed_studies:,} studies with several patients (see docs/privacy.md)"
        )
    for title, name, counts in (
        ("Splits", "split", found.splits),
        ("Regions", "region", found.regions),
        ("Bins", "bin", found.occupied_bins),
        ("Rejected", "reason", found.rejects),
    ):
        print_counts(title, name, counts)


@app.command("ls", epilog="Example: radio shard ls --json")
def list_shards(dataset: DatasetOption = None, as_json: JsonOption = False) -> None:
    """List the shards with their sizes."""
    from radio_cli.project import readable_dataset
    from radio_io.index.query import Request, run_query

    sql = "SELECT shard_id, num_images, size_bytes, codec FROM shards ORDER BY shard_id"
    run_query(readable_dataset(dataset), Request(sql=sql), "json" if as_json else "table", None)
