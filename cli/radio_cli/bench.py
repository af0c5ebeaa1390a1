"""`radio bench`: measurements on this machine."""

from typing import Annotated

import typer

from radio_cli import bench_all, bench_build, bench_io, bench_tokens, bench_train
from radio_cli.options import JsonOption

app = typer.Typer(help="Measure this machine, its storage and your files.", no_args_is_help=True)
bench_all.register(app)
bench_build.register(app)
bench_io.register(app)
bench_tokens.register(app)
bench_train.register(app)


@app.command(epilog="Example: radio bench codec /mnt/pacs/export --storage 125")
def codec(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SRC...", help="DICOM files or folders. Default: phantoms.")
    ] = None,
    storage_mb_s: Annotated[
        float, typer.Option("--storage", min=0.001, help="Bandwidth of the storage of the shards, MB/s.")
    ] = 125.0,
    cores: Annotated[int | None, typer.Option("--cores", min=1, help="Cores that decode. Default: all.")] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Repetitions; the least time counts.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Decoding of each transfer syntax beside pydicom with pylibjpeg, the codecs of shards, and which one to take."""
    from radio_cli.console import as_object, emit_json, print_table
    from radio_io.benchmarks.codec import measure_codecs, recommend
    from radio_io.executors import default_workers

    report, cores = measure_codecs(sources or (), rounds=rounds), cores or default_workers()
    chosen = recommend(report, storage_mb_s=storage_mb_s, cores=cores)
    if as_json:
        emit_json(as_object(report) | {"recommended": chosen.codec, "storage_mb_s": storage_mb_s, "cores": cores})
        return
    rows = [
        [
            speed.transfer_syntax,
            str(speed.files),
            f"{speed.ours_ms:.2f}",
            f"{speed.pydicom_ms:.2f}" if speed.pydicom_ms is not None else "refused",
            f"{speed.ratio:.1f}x" if speed.ratio is not None else "",
        ]
        for speed in report.decoding
    ]
    print_table("Decoding, CPU ms a file", ["transfer syntax", "files", "radio", "pydicom", "faster"], rows)
    rows = [
        [
            speed.codec,
            f"{speed.ratio:.2f}",
            f"{speed.encode_mb_s:.0f}",
            f"{speed.decode_mb_s:.0f}",
            f"{speed.images_per_s(storage_mb_s=storage_mb_s, cores=cores, image_mb=report.image_mb):.0f}",
        ]
        for speed in report.codecs
    ]
    title = f"Codecs, MB of raw pixels/s and core; images/s from {storage_mb_s:g} MB/s on {cores} cores"
    print_table(title, ["codec", "ratio", "encode", "decode", "images/s"], rows)
    typer.echo(f"take --codec {chosen.codec}")
