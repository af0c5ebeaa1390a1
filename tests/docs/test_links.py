"""Links between the pages lead somewhere, and the names that pages give to code exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from docs_blocks import PAGES, PROJECT, page_name

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`((?:src|cli|tests|bench|docs|radio_io|radio_train|radio_cli)/[\w/.-]+\.(?:py|md|toml|tsv|txt))`")


def anchors(page: Path) -> set[str]:
    """What headings of a page are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page):
    lost = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_that_a_page_names_exist(page):
    roots = (PROJECT, PROJECT / "src", PROJECT / "cli")
    named = CODE.findall(page.read_text(encoding="utf-8"))
    assert not [name for name in named if not any((root / name).exists() for root in roots)]


def stages() -> list[tuple[str, str]]:
    """The modules of the way of an image, with their main types."""
    text = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (\[`.+) \| `(\w+)` \|$", text, re.MULTILINE)
    return [(re.findall(r"\(\.\./src/([\w/]+\.py)\)", links)[-1], name) for links, name in rows]


@pytest.mark.parametrize(("module", "name"), stages())
def test_each_stage_has_its_main_type(module, name):
    tree = ast.parse((PROJECT / "src" / module).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert name in imported | {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def test_the_way_is_whole():
    assert len(stages()) >= 15
    pages = {page_name(page) for page in PAGES if page.parent.name == "docs"}
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    reached = set(LINK.findall(readme))
    assert not {page for page in pages if page not in reached} - {"docs/privacy_attributes.md"}, (
        "link it from README.md"
    )


@pytest.mark.parametrize("package", ["radio_io", "radio_io.loading"])
def test_stable_names_are_described(package):
    page = (PROJECT / "docs/python.md").read_text(encoding="utf-8")
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name).__doc__
        assert name in page or name in ("Dataset", "Image"), f"docs/python.md does not mention {name}"
