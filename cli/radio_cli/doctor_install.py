"""`radio doctor --install`: what is installed and whether it works."""

import typer


def show_installation(*, as_json: bool) -> None:
    """Print what was found; end with code 1 where something that radio needs is missing or wrong."""
    from pathlib import Path

    from radio_cli.console import as_object, emit_json, print_table
    from radio_train.installation import Verdict, inspect_installation

    findings = inspect_installation(Path())
    if as_json:
        emit_json([as_object(each) for each in findings])
    else:
        rows = [[f"{each.group}: {each.name}", each.found, each.verdict.value] for each in findings]
        print_table("Installation", ["what", "found", "verdict"], rows)
        for each in findings:
            if each.advice:
                typer.echo(f"{each.verdict}: {each.name}: {each.advice}")
    if any(each.verdict is Verdict.BROKEN for each in findings):
        raise typer.Exit(1)
