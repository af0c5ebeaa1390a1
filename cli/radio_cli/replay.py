"""`radio replay`: exactly which images were in a step, and which steps an image was in."""

from pathlib import Path
from typing import Annotated

import typer

from radio_cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("replay", epilog="Example: radio replay runs/demo --step 17 --json")(replay)


def replay(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    step: Annotated[
        int | None, typer.Option("--step", min=0, help="Step of the run, from 0, as in metrics.jsonl: list its images.")
    ] = None,
    find: Annotated[
        str | None, typer.Option("--find", metavar="KEY", help="Key of an image: list the steps that saw it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the images of a training step, or the steps that trained on an image."""
    from radio_cli.console import as_object, emit_json
    from radio_io.errors import UsageError
    from radio_train.replay import images_of_run_step, steps_of_image

    if (step is None) == (find is None):
        raise UsageError("give either --step N or --find KEY")
    if step is not None:
        found = images_of_run_step(run, step)
        lines = list(found.keys)
        shown: object = found
    else:
        seen = steps_of_image(run, find or "")
        lines = [f"step {each.step}, epoch {each.epoch}, step {each.epoch_step} in it" for each in seen]
        shown = {"key": find, "steps": [as_object(each) for each in seen]}
    if as_json:
        emit_json(shown)
    else:
        typer.echo("\n".join(lines))
