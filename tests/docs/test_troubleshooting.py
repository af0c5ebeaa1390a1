"""Each message that docs/troubleshooting.md quotes is one that the program can print."""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "troubleshooting.md"
VARIES = "…"


def template(node: ast.AST) -> str | None:
    """A text of the source with an ellipsis for each value in it; None where the node is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else VARIES for part in node.values)
    return None


def texts_of_the_program() -> list[str]:
    sources = [path for folder in ("src", "cli") for path in (PROJECT / folder).rglob("*.py")]
    nodes = (node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return [text for node in nodes if (text := template(node))]


def quoted_messages() -> list[str]:
    """The first cells of tables of messages."""
    text = PAGE.read_text(encoding="utf-8").partition("## Not an error")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


TEXTS = texts_of_the_program()


@pytest.mark.parametrize("message", quoted_messages())
def test_the_program_can_print(message):
    # An ellipsis of the page stands for anything: for a value, or for a part of the message that the page leaves out.
    pattern = re.compile(".*?".join(re.escape(part) for part in message.split(VARIES)), re.DOTALL)
    parts = [part for part in message.split(VARIES) if len(part.strip(" :;,.")) > 3]
    assert parts, f"{message!r} says too little"
    assert any(pattern.search(text) for text in TEXTS) or advice_fits(message), f"no source has {message!r}"


def advice_fits(message: str) -> bool:
    """Whether it is a message of `atomic`, whose advice after the last semicolon comes from a table."""
    beginning, _, advice = message.rpartition("; ")
    return beginning == "cannot write …: …" and any(advice == text for text in TEXTS)


def test_quotes_messages_of_every_kind():
    assert len(quoted_messages()) >= 30
