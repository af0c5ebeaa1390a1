"""`radio bench io` and `radio bench loader`: how fast packs come, beside what others do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radio_cli.options import DatasetOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from radio_io.benchmarks.loading import Compared

EpochsOption = Annotated[int, typer.Option("--epochs", min=1, help="Epochs that are measured.")]
CoresOption = Annotated[int | None, typer.Option("--workers", min=1, help="Decoding threads. Default: one a core.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("io", epilog="Example: radio bench io /mnt/pacs/export --mbit 1000 --latency-ms 5")(io)
    app.command("loader", epilog="Example: radio bench loader --dataset shards")(loader)


def io(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with the DICOM files of the dataset.")],
    mbit: Annotated[float, typer.Option("--mbit", min=0.001, help="Bandwidth of the link, Mbit/s.")] = 1000.0,
    latency_ms: Annotated[float, typer.Option("--latency-ms", min=0, help="Latency of each request.")] = 5.0,
    streams: Annotated[int, typer.Option("--streams", min=1, help="Requests under way at once.")] = 8,
    resolution: Annotated[str, typer.Option("--resolution", help="1, 1/2, 1/4 or 1/8.")] = "1",
    epochs: EpochsOption = 4,
    workers: CoresOption = None,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read through a slow link, made with FUSE for it: first epoch, cache, DICOM files one by one, webdataset."""
    from radio_cli.project import dataset_root
    from radio_io.benchmarks.loading import IoSettings, measure_io
    from radio_io.errors import UsageError
    from radio_io.executors import default_workers
    from radio_io.loading.batch import RESOLUTIONS

    if resolution not in RESOLUTIONS:
        raise UsageError(f"--resolution {resolution!r}; expected one of {', '.join(RESOLUTIONS)}")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    if not files:
        raise UsageError(f"no file below {source}; name the folder that the dataset was built from")
    settings = IoSettings(
        mbit_per_s=mbit,
        latency_ms=latency_ms,
        streams=streams,
        epochs=epochs,
        workers=workers or default_workers(),
        halvings=RESOLUTIONS[resolution],
    )
    title = f"{mbit:g} Mbit/s, {latency_ms:g} ms, {streams} streams, {settings.workers} decoding threads"
    _show(measure_io(dataset_root(dataset), files, settings), title, as_json=as_json)


def loader(
    epochs: EpochsOption = 4,
    workers: CoresOption = None,
    dataset: DatasetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read warm local shards: packs of the loader beside the decoder alone, webdataset and litdata with PNG."""
    from radio_cli.project import dataset_root
    from radio_io.benchmarks.loading import measure_local
    from radio_io.executors import default_workers

    threads = workers or default_workers()
    found = measure_local(dataset_root(dataset), workers=threads, epochs=epochs)
    _show(found, f"Warm local shards, {threads} decoding threads", as_json=as_json)


def _show(found: "Sequence[Compared]", title: str, *, as_json: bool) -> None:
    from radio_cli.console import as_object, emit_json, print_table

    if as_json:
        emit_json([{**as_object(each.rate), **_ratios(each)} for each in found])
        return
    rows = [
        [
            each.rate.name,
            f"{each.rate.images_per_s:.1f}",
            f"{each.rate.mb_per_s:.0f}" if each.rate.bytes_read else "",
            f"{each.rate.cpu_ms:.1f}" if each.rate.cpu_s else "",
            f"{each.ratio:.2f}" if each.ratio is not None else "",
            f"{each.cpu_ratio:.2f}" if each.cpu_ratio is not None else "",
            each.yardstick,
        ]
        for each in found
    ]
    print_table(title, ["way", "images/s", "MB/s", "CPU ms/image", "ratio", "of CPU", "to"], rows)
    for rate in (each.rate for each in found[:1] if each.rate.link_cpu_s):
        typer.echo(
            f"The link itself took {1e3 * rate.link_cpu_s / rate.images:.1f} ms of CPU an image on this machine."
        )


def _ratios(each: "Compared") -> dict[str, object]:
    return {
        "images_per_s": each.rate.images_per_s,
        "cpu_ms": each.rate.cpu_ms,
        "ratio": each.ratio,
        "cpu_ratio": each.cpu_ratio,
        "yardstick": each.yardstick,
    }
