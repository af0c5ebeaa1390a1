"""`radio doctor`: which stage limits training on this machine, and what to change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radio_cli.loader_options import CacheOption, CacheSizeOption, ResolutionOption, loader_assignments
from radio_cli.options import DatasetOption, JsonOption

if TYPE_CHECKING:
    from radio_train.doctor import Diagnosis


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("doctor", epilog="Example: radio doctor --cache /nvme/radio --verify")(doctor)


def doctor(
    preset: Annotated[str, typer.Option("--preset", help="vit-mae-b48 (the thesis) or tiny (CPU).")] = "vit-mae-b48",
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, such as reading.streams=16; may be repeated.")
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="Only images that this SQL predicate selects.")] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Folder or URL of the shards, where they are not in the dataset.")
    ] = None,
    resolution: ResolutionOption = None,
    cache: CacheOption = None,
    cache_size: CacheSizeOption = None,
    model: Annotated[bool, typer.Option("--model/--no-model", help="Measure the model too.")] = True,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read an epoch with the loader and compare it with the forecast.")
    ] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Check packages, codecs, GPU, DALI, disk and limits; needs no dataset.")
    ] = False,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure storage, decoding and model here; forecast images/s and data wait; say what to change."""
    if install:
        from radio_cli.doctor_install import show_installation

        show_installation(as_json=as_json)
        return
    from radio_cli.console import as_object, emit_json
    from radio_cli.project import dataset_root
    from radio_train.config import load_config
    from radio_train.doctor import diagnose
    from radio_train.run_folder import Selection

    given = loader_assignments(
        resolution=resolution, scale=None, max_bad=None, cache=cache and Path(cache), cache_size=cache_size
    )
    at = [f"reading.store='{store}'"] if store else []
    config = load_config(preset, None, [*given, *at, *(assignments or ())])
    found = diagnose(config, dataset_root(dataset), selection=Selection(where=where), with_model=model, verify=verify)
    if as_json:
        emit_json(as_object(found) | {"error": found.error})
    else:
        _show(found)


def _show(found: "Diagnosis") -> None:
    from radio_cli.console import print_table

    storage = found.storage
    streams = ", ".join(f"{n}: {rate:.0f}" for n, rate in storage.streams_mb_s)
    reading = (
        f"latency {storage.latency_ms:.1f} ms; MB/s: one stream {storage.sequential_mb_s:.0f}, single images "
        f"{storage.image_mb_s:.0f}, streams {streams}"
    )
    rows = [
        ["reading", f"{found.reading_images_per_s:.1f}", reading],
        ["decoding", f"{found.decoding_images_per_s:.1f}", f"{found.workers} threads: checksum, codec, cutting"],
    ]
    if found.model_images_per_s is not None:
        rows.append(["model", f"{found.model_images_per_s:.1f}", "forward and backward"])
    print_table(f"{found.images:,} images of {found.image_mb:.2f} MB", ["stage", "images/s", "how"], rows)
    for name, each in (("first epoch", found.first_epoch), ("later epochs", found.later_epochs)):
        typer.echo(
            f"{name}: {each.images_per_s:.1f} images/s, waiting for data {each.data_wait:.0%}, limited by "
            f"{each.limited_by}"
        )
    for advice in found.advice:
        typer.echo(f"{advice.gain:.1f}x in {advice.epoch} epochs: {advice.change}")
    if found.measured_images_per_s is not None and found.error is not None:
        typer.echo(f"loader: {found.measured_images_per_s:.1f} images/s measured, forecast {found.error:+.0%}")
