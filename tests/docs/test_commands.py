"""The command reference is what the commands say, and every command says enough."""

from pathlib import Path

import pytest
import typer

from radio_cli.main import app
from radio_cli.reference import command_reference, walk_commands

PROJECT = Path(__file__).resolve().parents[2]
EVERYTHING = list(walk_commands(typer.main.get_command(app)))
COMMANDS = [(path, command) for path, command in EVERYTHING if not hasattr(command, "commands")]
COMPLETION = {"help", "install_completion", "show_completion"}


def by_name(value: object) -> str:
    return "-".join(value) if isinstance(value, tuple) else ""


def test_the_reference_is_what_the_commands_say():
    page = (PROJECT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == command_reference(app), "run: make docs"


@pytest.mark.parametrize(("path", "command"), EVERYTHING, ids=by_name)
def test_every_option_has_a_help_text(path, command):
    assert command.help
    for parameter in command.params:
        if parameter.name not in COMPLETION:
            text = parameter.help or ""
            assert len(text) >= 8, f"{path} {parameter.name}: say what it does"
            assert text.rstrip("]")[-1] in ".)" or "[default" in text, (
                f"{path} {parameter.name}: {text!r} is no sentence"
            )


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=by_name)
def test_every_command_has_an_example_of_itself(path, command):
    assert (command.epilog or "").startswith(f"Example: radio {' '.join(path)}")


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=by_name)
def test_every_command_can_answer_a_program(path, command):
    assert "--json" in options_of(command), path


READS_ONLY = {
    *("query", "rejects", "replay", "doctor", "shard verify", "shard info", "shard ls", "bins suggest", "key show-id"),
    *("key check", "labels list", "train probe", "bench compare"),
    *("bench io", "bench loader", "bench tokens", "bench train", "bench codec", "bench build"),
}
"""What writes nothing, or only where the user said with `--out`, or in a temporary folder."""


def test_every_command_that_writes_can_say_what_it_would_write():
    silent = {" ".join(path) for path, command in COMMANDS if "--dry-run" not in options_of(command)}
    assert silent <= READS_ONLY


def options_of(command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_options_of_one_name_take_a_value_everywhere_or_nowhere():
    kinds: dict[str, set[bool]] = {}
    for _, command in COMMANDS:
        for parameter in command.params:
            for option in parameter.opts:
                kinds.setdefault(option, set()).add(bool(getattr(parameter, "is_flag", False)))
    # Scripts rely on these two: `query --keys` prints what `train --keys FILE` takes; `synth --labels` writes a table.
    assert {option for option, found in kinds.items() if len(found) > 1} == {"--keys", "--labels"}
