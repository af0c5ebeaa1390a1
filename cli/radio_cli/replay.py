"""`radio replay`: exactly which images were in a step."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("replay", epilog="Example: radio replay runs/demo --step 17 --json")(replay)


def replay(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    step: Annotated[int, typer.Option("--step", min=0, help="Step of the run, from 0, as in metrics.jsonl.")],
    as_json: JsonOption = False,
) -> None:
    """List the keys of the images of a training step."""
    from radio_cli.console import emit_json
    from radio_train.replay import images_of_run_step

    found = images_of_run_step(run, step)
    if as_json:
        emit_json(found)
    else:
        for image in found.keys:
            typer.echo(image)
