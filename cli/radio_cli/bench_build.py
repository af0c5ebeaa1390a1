"""`radio bench build`: how fast shards are made, beside the floor and the PNG way."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radio_cli.options import JsonOption

if TYPE_CHECKING:
    from radio_io.benchmarks.building import BuildReport


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("build", epilog="Example: radio bench build --files 400")(build)


def build(
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="SRC...", help="DICOM files or folders. Default: phantoms.")
    ] = None,
    files: Annotated[int, typer.Option("--files", min=8, help="Phantoms to make, 2000 x 1500 pixels.")] = 400,
    png_files: Annotated[int, typer.Option("--png-files", min=1, help="Files that take the PNG way.")] = 24,
    codec: Annotated[str, typer.Option("--codec", help="htj2k or fast.")] = "htj2k",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes. Default: one a core.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where to put phantoms and shards. Default: a temporary folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build shards here and time it: whole, by stage, beside decoding alone and beside pydicom with PNG."""
    import tempfile

    from radio_cli.console import as_object, emit_json
    from radio_io.benchmarks.building import BuildSettings, measure_build
    from radio_io.executors import default_workers

    settings = BuildSettings(files=files, png_files=png_files, codec=codec, workers=workers or default_workers())
    with tempfile.TemporaryDirectory(prefix="radio-bench-", dir=folder) as temporary:
        report = measure_build(sources or (), Path(temporary), settings)
    if as_json:
        derived = {
            name: getattr(report, name)
            for name in ("files_per_s", "floor_per_s", "of_floor", "cpu_of_floor", "cores_busy", "hash_share")
        }
        emit_json(as_object(report) | derived)
        return
    _show(report)


def _show(report: "BuildReport") -> None:
    from radio_cli.console import print_table

    total = sum(report.stage_ms.values())
    rows = [
        [stage, f"{ms:.1f}", f"{100 * ms / total:.1f} %", f"{report.stage_mb_s[stage]:.0f}"]
        for stage, ms in report.stage_ms.items()
    ]
    print_table("One file on one core, CPU time", ["stage", "ms", "share", "MB/s"], rows)
    seconds = report.scan_s + report.build_s
    rows = [
        [
            f"build, {report.workers} workers",
            f"{report.files_per_s:.2f}",
            f"{report.source_bytes / 1e6 / seconds:.0f}",
            "",
        ],
        [
            "floor: decode, render, encode, hash",
            f"{report.floor_per_s:.2f}",
            "",
            f"{100 * report.of_floor:.0f} % of it",
        ],
        *(
            [
                f"pydicom, PNG level {png.level}",
                f"{png.files_per_s:.2f}",
                "",
                f"{report.files_per_s / png.files_per_s:.1f}x",
            ]
            for png in report.png
        ),
    ]
    title = f"{report.files} files, {report.source_bytes / 1e6:.0f} MB, {report.images} images"
    print_table(title, ["way", "files/s", "MB/s", "build reaches"], rows)
    typer.echo(
        f"{report.cores_busy:.2f} cores busy; the floor is {100 * report.cpu_of_floor:.0f} % of the build's CPU time; "
        f"scan {report.scan_s:.1f} s, shards and index {report.build_s:.1f} s, "
        f"pixels {report.pixel_bytes / max(report.encoded_bytes, 1):.2f} times smaller"
    )
