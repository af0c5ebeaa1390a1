"""Finds code in the project's pages, and runs it.

Comes in: Markdown. Goes out: fenced blocks with what their page says about running them, and every command line of
`radio` that a page names. A block of bash, python, sql or toml (a `radio.toml`) runs; a comment on the line before the
fence says otherwise: `<!-- not run: REASON -->`, or `<!-- slow -->` where it takes over a few seconds.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        PROJECT / "README.md",
        PROJECT / "CONTRIBUTING.md",
        *PROJECT.glob("docs/*.md"),
        *PROJECT.glob("docs/decisions/*.md"),
        PROJECT / "shards/FORMAT.md",
        PROJECT / "shards/sample/README.md",
    ]
)
LANGUAGES = ("bash", "python", "sql", "toml")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\s*$")
_NOT_RUN = re.compile(r"^\s*<!-- not run: (?P<reason>.{8,}) -->$")
_SLOW = re.compile(r"^\s*<!-- slow -->$")
_COMMAND = re.compile(r"(?:^|\s|\$ )radio ((?:-{0,2}[a-z]).*)")
_INLINE = re.compile(r"`radio ([^`]+)`")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A fenced block: `not_run` is the reason that stands before it, if any."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None
    slow: bool = False

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandLine:
    """A line of a page that calls `radio`."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """The words after `radio`, up to a pipe, redirection or comment."""
        lexer = shlex.shlex(self.text, posix=True, punctuation_chars="|;&<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("|;&<>"):
                break
            words.append(word)
        return words


def page_name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def read_blocks(path: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    blocks: list[Block] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        before = lines[number - 1] if number else ""
        end = next(at for at in range(number + 1, len(lines)) if lines[at].strip() == "```")
        reason = _NOT_RUN.match(before)
        indent = len(opening["indent"])
        blocks.append(
            Block(
                page=page_name(path),
                line=number + 1,
                language=opening["language"],
                text="\n".join(line[indent:] for line in lines[number + 1 : end]) + "\n",
                not_run=reason["reason"] if reason else None,
                slow=_SLOW.match(before) is not None,
            )
        )
        number = end + 1
    return blocks


def command_lines(path: Path) -> list[CommandLine]:
    """Every call of `radio` in fenced or indented code and between backticks."""
    found: list[CommandLine] = []
    fenced, joined, began = False, "", 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if _FENCE.match(line):
            fenced = not fenced
        elif fenced or line.startswith("    ") or joined:
            began = began if joined else number
            joined += line.strip()
            if joined.endswith("\\"):
                joined = joined[:-1]
                continue
            if fenced and joined.count('"') % 2:
                joined += " "
                continue
            called = _COMMAND.search(joined)
            if called and not joined.lstrip().startswith("#"):
                found.append(CommandLine(page=page_name(path), line=began, text=called[1]))
            joined = ""
        else:
            found.extend(CommandLine(page=page_name(path), line=number, text=text) for text in _INLINE.findall(line))
    return found


def run_block(block: Block, folder: Path, names: dict[str, object]) -> str:
    """Run a block in `folder`; python blocks of a page share `names`. Returns what bash printed.

    Raises:
        AssertionError: A command of it failed; whatever Python raised.
    """
    if block.language == "toml":
        (folder / "radio.toml").write_text(block.text, encoding="utf-8")
        return ""
    if block.language == "bash":
        return _run_bash(block, folder)
    if block.language == "sql":
        _run_sql(block.text, folder)
        return ""
    path = folder / f"block_{block.line}.py"
    path.write_text(block.text, encoding="utf-8")  # some libraries read the source of what they are given
    try:
        exec(compile(block.text, str(path), "exec"), names)
    finally:
        path.unlink()
    return ""


def _run_bash(block: Block, folder: Path) -> str:
    bin_folder = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if name != "RADIO_DATASET"}
    environment |= {"PATH": f"{bin_folder}:{environment['PATH']}", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.place} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _run_sql(text: str, folder: Path) -> None:
    import duckdb

    with duckdb.connect(str(folder / "shards/index.duckdb"), read_only=True) as connection:
        for statement in duckdb.extract_statements(text):
            connection.execute(statement).fetchall()
