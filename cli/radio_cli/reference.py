"""The command reference `docs/commands.md`, made from the commands themselves: `python -m radio_cli.reference`.

Comes in: the command tree. Goes out: Markdown, on stdout; `walk_commands` gives each command with its path. Refuses
nothing. `make docs` writes the file, a test compares it.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import typer

INTRODUCTION = """\
# Commands

Made from the commands by `make docs`; change their help texts, not this page.

Results go to stdout, progress and notes to stderr. {exit_codes}

A command takes its dataset from `--dataset`, else the variable `RADIO_DATASET`, else `radio.toml` in the current
folder, else `shards`. `radio --debug COMMAND` shows the traceback of an error, `radio --version` the version;
`radio --install-completion` sets up completion in your shell.
"""
_KINDS: dict[object, str] = {str: "TEXT", int: "N", float: "NUMBER", Path: "PATH", bool: ""}
_WRITTEN_DEFAULT = re.compile(r"\s*\[default: ([^\]]+)\]")


def walk_commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401
    """Every group and command below `command` with its path, groups before what is in them."""
    yield path, command
    for name, child in (getattr(command, "commands", None) or {}).items():
        yield from walk_commands(child, (*path, name))


def command_reference(app: typer.Typer) -> str:
    """The whole page."""
    root = cast("Any", typer.main.get_command(app))
    parts = [INTRODUCTION.format(exit_codes=root.epilog), _contents(root)]
    for path, command in walk_commands(root):
        if path and not hasattr(command, "commands"):
            parts.append(_section(path, command))
    return "\n".join(parts)


def _contents(root: Any) -> str:  # noqa: ANN401
    lines = ["| command | |", "|---|---|"]
    for path, command in walk_commands(root):
        if path and not hasattr(command, "commands"):
            name = " ".join(path)
            lines.append(f"| [`radio {name}`](#radio-{name.replace(' ', '-')}) | {_first_sentence(command.help)} |")
    return "\n".join(lines) + "\n"


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    return _cell(paragraph)


def _section(path: tuple[str, ...], command: Any) -> str:  # noqa: ANN401
    hints = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    usage = " ".join(("radio", *path, *(_usage(each) for each in command.params if each.param_type_name == "argument")))
    example = command.epilog.removeprefix("Example: ")
    blocks = [
        f"## radio {' '.join(path)}",
        "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(command.help).split("\n\n")),
        f"    {usage} [OPTIONS]",
        f"Example: `{example}`",
        "\n".join(["| option | what it does |", "|---|---|", *(_row(each, hints) for each in _shown(command))]),
    ]
    return "\n\n".join(blocks) + "\n"


def _shown(command: Any) -> list[Any]:  # noqa: ANN401
    return [each for each in command.params if each.name != "help" and not getattr(each, "hidden", False)]


def _usage(argument: Any) -> str:  # noqa: ANN401
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _row(parameter: Any, hints: dict[str, Any]) -> str:  # noqa: ANN401
    kind = _kind(hints.get(parameter.name))
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        value = (parameter.metavar or kind) if not getattr(parameter, "is_flag", False) else ""
        spelled = [f"{option} {value}".strip() for option in parameter.opts] + list(parameter.secondary_opts)
        name = ", ".join(f"`{option}`" for option in spelled)
    text = _WRITTEN_DEFAULT.sub(r" Default: `\1`.", _cell(parameter.help or ""))
    return f"| {_cell(name)} | {text}{_default(parameter)} |"


def _kind(hint: object) -> str:
    """What an option takes: `TEXT`, `N`, or its choices."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) in (list, tuple):
        hint = get_args(hint)[0]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "|".join(str(each.value) for each in hint)
    return _KINDS.get(hint, "VALUE")


def _default(parameter: Any) -> str:  # noqa: ANN401
    if parameter.required:
        return " **Required.**"
    default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    if default in (None, False, "", (), []) or callable(default):
        return ""
    if default is True:
        return f" Default: `{parameter.opts[0]}`."
    shown = ", ".join(str(each) for each in default) if isinstance(default, list | tuple) else default
    return f" Default: `{shown}`."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Print the page."""
    from radio_cli.main import app

    sys.stdout.write(command_reference(app))


if __name__ == "__main__":
    main()
