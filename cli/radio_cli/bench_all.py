"""`radio bench all` and `radio bench compare`: every benchmark, and what became worse."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radio_cli.options import DryRunOption, JsonOption

if TYPE_CHECKING:
    from radio_io.benchmarks.ratios import BenchReport

ToleranceOption = Annotated[
    float, typer.Option("--tolerance", min=0, help="A ratio may be worse by this share, for noise.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `radio bench`."""
    app.command("all", epilog="Example: radio bench all --out bench/results --against bench/results/last.json")(run_all)
    app.command("compare", epilog="Example: radio bench compare old.json new.json")(compare)


def run_all(
    out: Annotated[Path, typer.Option("--out", help="Folder for the table and its JSON.")] = Path("bench/results"),
    quick: Annotated[bool, typer.Option("--quick", help="A minute, at sizes too small to quote.")] = False,
    only: Annotated[
        str | None, typer.Option("--only", help="Comma-separated, such as codec,loader. Default: all.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="JSON of an earlier run: end with 1 where a ratio became worse.")
    ] = None,
    tolerance: ToleranceOption = 0.15,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run every benchmark on data made for it; write ratios to yardsticks of the same run, in under half an hour."""
    from radio_cli.console import note
    from radio_io import atomic
    from radio_io.benchmarks.ratios import from_json, to_json, to_markdown
    from radio_train.bench_all import QUICK, BenchSizes, chosen_benches, run_benches

    names = chosen_benches(only)
    old = from_json(against) if against is not None else None
    if dry_run:
        note(f"would run {', '.join(names)} and write two files to {out}; nothing was written")
        return
    report = run_benches(QUICK if quick else BenchSizes(), names, note=(lambda text: None) if as_json else note)
    atomic.make_folder(out)
    stem = out / f"{report.date}-{report.machine}{'-quick' if quick else ''}"
    atomic.write_file(stem.with_name(stem.name + ".md"), to_markdown(report).encode())
    atomic.write_file(stem.with_name(stem.name + ".json"), to_json(report).encode())
    typer.echo(to_json(report) if as_json else to_markdown(report), nl=False)
    note(f"wrote {stem}.md and .json")
    failed = [each.bench for each in report.outcomes if each.failed]
    if failed:
        note(f"failed: {', '.join(failed)}")
    is_worse = old is not None and _show_worse(old, report, tolerance)
    if failed or is_worse:
        raise typer.Exit(1)


def compare(
    old: Annotated[Path, typer.Argument(help="JSON of the earlier run.")],
    new: Annotated[Path, typer.Argument(help="JSON of the later run.")],
    tolerance: ToleranceOption = 0.15,
    as_json: JsonOption = False,
) -> None:
    """Name each ratio that became worse by more than the tolerance, and end with 1 where there is one."""
    from radio_cli.console import as_object, emit_json, print_table
    from radio_io.benchmarks.ratios import compare as changes_of
    from radio_io.benchmarks.ratios import from_json, missing, worse

    before, after = from_json(old), from_json(new)
    changes = changes_of(before, after)
    if as_json:
        bad = worse(changes, tolerance)
        emit_json(
            {
                "changes": [as_object(each) for each in changes],
                "worse": [each.name for each in bad],
                "missing": list(missing(before, after)),
            }
        )
        if bad:
            raise typer.Exit(1)
        return
    rows = [[each.name, f"{each.old:.3g}", f"{each.new:.3g}", f"{each.by:+.0%}"] for each in changes]
    print_table("Ratios, the worst change first", ["bench", "old", "new", "worse by"], rows)
    if _show_worse(before, after, tolerance):
        raise typer.Exit(1)


def _show_worse(old: "BenchReport", new: "BenchReport", tolerance: float) -> bool:
    from radio_cli.console import note
    from radio_io.benchmarks.ratios import compare as changes_of
    from radio_io.benchmarks.ratios import missing, worse

    if (old.machine, old.quick) != (new.machine, new.quick):
        note(f"the runs differ in machine or size ({old.machine}, {new.machine}): ratios may differ without a fault")
    for name in missing(old, new):
        note(f"no longer measured: {name}")
    bad = worse(changes_of(old, new), tolerance)
    for each in bad:
        note(f"worse by {each.by:.0%}: {each.name}, {each.old:.3g} before, {each.new:.3g} now")
    return bool(bad)
