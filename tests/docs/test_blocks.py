"""Every piece of code in the pages runs, or says why not; every call of `radio` in them is one that radio knows."""

import re
import shutil
from typing import Any

import numpy as np
import pytest
import typer

from docs_blocks import LANGUAGES, PAGES, PROJECT, CommandLine, command_lines, page_name, read_blocks, run_block
from golden_sample import SAMPLE
from radio_cli.main import app
from radio_io.dataset import open_dataset
from radio_io.layout import DatasetLayout

ROOT = typer.main.get_command(app)
RUNNABLE = [page for page in PAGES if any(block.not_run is None for block in read_blocks(page))]
SLOW = [page for page in RUNNABLE if any(block.slow for block in read_blocks(page))]


EMPTY = "<!-- starts in an empty folder -->"


@pytest.fixture
def folder(built, tmp_path, monkeypatch):
    """A folder with a dataset `shards`, the export `export` that it was built from, and this project as `project`."""
    for source, target in ((built.root, "shards"), (DatasetLayout(built.root).private, "shards.private")):
        shutil.copytree(source, tmp_path / target)
    (tmp_path / "export").symlink_to(built.export)
    (tmp_path / "project").symlink_to(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_page(page, folder, *, slow):
    if EMPTY in page.read_text(encoding="utf-8"):
        shutil.rmtree(folder / "shards")
        shutil.rmtree(folder / "shards.private")
        (folder / "export").unlink()
    names: dict[str, object] = {"__name__": "__main__"}
    for block in read_blocks(page):
        if block.not_run is None and (slow or not block.slow):
            run_block(block, folder, names)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("page", [page for page in RUNNABLE if page not in SLOW], ids=page_name)
def test_the_code_of_a_page_runs(page, folder):
    run_page(page, folder, slow=False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("page", SLOW, ids=page_name)
def test_the_code_of_a_page_with_slow_steps_runs(page, folder):
    run_page(page, folder, slow=True)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_block_runs_or_says_why_not(page):
    for block in read_blocks(page):
        if block.not_run is None:
            assert block.language in LANGUAGES, f"{block.place}: name one of {LANGUAGES}, or put a 'not run' comment"


def problem_of(line: CommandLine) -> str | None:
    """Why radio would not know a command line; None where it would."""
    command, path = ROOT, "radio"
    words = line.words
    while words and getattr(command, "commands", None):
        if words[0].startswith("-"):
            break
        name = words.pop(0)
        if name not in command.commands:
            return f"{path} has no command {name!r}"
        command, path = command.commands[name], f"{path} {name}"
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known | {"--help"}]
    return f"{path} has no option {unknown[0]}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_command_line_of_a_page_is_one(page):
    found = []
    for line in command_lines(page):
        for text in expand(line.text):
            problem = problem_of(CommandLine(page=line.page, line=line.line, text=text))
            if problem:
                found.append(f"{line.page}:{line.line}: {problem}: radio {text}")
    assert not found


def expand(text: str) -> list[str]:
    """`shard verify | info` names two commands; dots and words in capitals stand for something."""
    alternatives = re.fullmatch(r"(?:([a-z-]+) )?([a-z-]+(?: \| [a-z-]+)+)", text)
    if alternatives is None:
        return [text.replace("...", "").replace("…", "")]
    group = f"{alternatives[1]} " if alternatives[1] else ""
    return [f"{group}{name}" for name in alternatives[2].split(" | ")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shard build x --bins 1", None),
        ("shard bild x", "radio shard has no command 'bild'"),
        ("query a | head", None),
        ("query \"a='b'\" --colums key", "radio query has no option --colums"),
    ],
)
def test_finds_what_radio_does_not_know(text, expected):
    assert problem_of(CommandLine(page="", line=1, text=text)) == expected


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_decoders_of_the_page_for_strangers_are_exact(folder):
    """What docs/reading.md tells others to do gives the pixels of every image, in both codecs."""
    names: dict[str, Any] = {}
    for block in read_blocks(PROJECT / "docs/reading.md"):
        if block.language == "python":
            run_block(block, folder, names)
    names["connection"].close()
    for root, decode in ((folder / "shards", names["decode"]), (SAMPLE / "v1-fast", names["decode_fast"])):
        for image in open_dataset(root).images():
            row = image.metadata
            with (root / f"{row['shard_id']}.tar").open("rb") as file:
                file.seek(row["image_offset"])
                np.testing.assert_array_equal(decode(file.read(row["image_size"])), image.pixels)
