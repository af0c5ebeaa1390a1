"""The command tree of `radio` and its one place for errors and exit codes.

Command modules import only typer and the standard library at module level: heavy packages are imported inside the
command that needs them, so that `radio --help` answers at once (tests/policy/test_architecture.py).
"""

import os
import sys
from typing import Annotated

import typer

from radio_cli import (
    bench,
    bins,
    doctor,
    forget,
    index,
    key,
    labels,
    query,
    replay,
    report,
    reports,
    scan,
    shard,
    synth,
    train,
)
from radio_io.errors import RadioError, internal_error

EXIT_CODES = "Exit codes: 0 done, 1 failed, 2 usage, 3 finished but with rejects above --max-reject-rate."

app = typer.Typer(
    name="radio",
    help="Radiographs from a PACS export to indexed WebDataset shards and to full-resolution MAE pre-training.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
scan.register(app)
app.add_typer(shard.app, name="shard")
query.register(app)
app.add_typer(bins.app, name="bins")
app.add_typer(bench.app, name="bench")
app.add_typer(index.app, name="index")
app.add_typer(key.app, name="key")
reports.register(labels.app)
app.add_typer(labels.app, name="labels")
app.add_typer(train.app, name="train")
replay.register(app)
report.register(app)
doctor.register(app)
forget.register(app)
synth.register(app)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"radio {version('radio')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Radiographs from a PACS export to indexed WebDataset shards and to full-resolution MAE pre-training."""
    del version
    if debug:
        os.environ["RADIO_DEBUG"] = "1"


def main() -> None:
    """Run the command line; an error becomes one message and an exit code, never a traceback (but with `--debug`)."""
    try:
        app(prog_name="radio")
    except RadioError as error:
        if _debugging():
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(130)
    except BrokenPipeError:
        _leave_pipe()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer met it first
            _leave_pipe()
        raise
    except Exception as error:
        if _debugging():
            raise
        typer.echo(f"error: {internal_error(error).detail}; radio --debug shows the traceback", err=True)
        sys.exit(1)


def _debugging() -> bool:
    return bool(os.environ.get("RADIO_DEBUG"))


def _leave_pipe() -> None:
    """The reader of our output has left (`radio query ... | head`): that is no failure of ours."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    sys.exit(0)


if __name__ == "__main__":
    main()
