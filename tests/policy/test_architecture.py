"""The rules that the structure of the project keeps: layers, heavy imports, sizes of modules and names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "radio_io": PROJECT / "src/radio_io",
    "radio_train": PROJECT / "src/radio_train",
    "radio_cli": PROJECT / "cli/radio_cli",
}
MODULES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))
TORCH_ALLOWED = {"radio_io/loading/torch_loader.py", "radio_io/loading/dali_assemble.py"}

# Packages that are optional, slow to import, or behind one boundary, and the modules that may know them.
HOMES = {
    "dask": {"radio_io/cluster.py"},
    "distributed": {"radio_io/cluster.py"},
    "duckdb": {
        "radio_io/index/catalog.py",
        "radio_io/index/gate.py",
        "radio_io/index/query.py",
        "radio_io/sharding/plan_order.py",
    },
    "fsspec": {"radio_io/loading/store.py", "radio_io/object_store.py"},
    "kornia": {"radio_train/augment/transforms.py"},
    "nvidia": {"radio_io/loading/dali_assemble.py"},
    "rapidocr": {"radio_io/privacy/text_detector.py"},
    "typer": {"radio_cli"},
    "umap": {"radio_train/finetuning/projection.py"},
}
HEAVY = ("numpy", "torch", "pyarrow", "pydicom", "imagecodecs", "pebble", "rich", "scipy", "sklearn")


def imports_of(path: Path) -> set[str]:
    """Top-level names of everything that a module imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def module_name(path: Path) -> str:
    for name, folder in PACKAGES.items():
        if path.is_relative_to(folder):
            return f"{name}/{path.relative_to(folder).as_posix()}"
    raise AssertionError(path)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_keeps_the_layers(path):
    name, imported = module_name(path), imports_of(path)
    if name.startswith("radio_io/"):
        assert not imported & {"radio_train", "radio_cli", "typer"}
        assert "torch" not in imported or name in TORCH_ALLOWED
    if name.startswith("radio_train/"):
        assert not imported & {"radio_cli", "typer"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_has_a_docstring_and_a_size_that_can_be_read(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module says what comes in, what goes out, what it refuses"
    assert len(text.splitlines()) <= 330, "split it by responsibility"


def test_uses_no_name_that_says_nothing():
    vague = {"util", "utils", "helper", "helpers", "common", "misc"}
    assert not [module_name(path) for path in MODULES if path.stem in vague or path.parent.name in vague]


def test_loads_no_pickle():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text, path
        assert "torch.load(" not in text or "weights_only=True" in text, path


@pytest.mark.parametrize("package", sorted(HOMES))
def test_keeps_packages_behind_their_boundary(package):
    found = {module_name(path) for path in MODULES if package in imports_of(path)}
    homes = HOMES[package]
    assert {name for name in found if name not in homes and name.split("/")[0] not in homes} == set()


def test_the_command_tree_imports_nothing_heavy():
    code = "import sys, radio_cli.main; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    third_party = {name.split(".")[0] for name in names} & {*HEAVY, *HOMES} - {"typer"}
    library = {name for name in names if name.startswith(("radio_io.", "radio_train"))}
    assert (third_party, library) == (set(), {"radio_io.errors"}), "import it inside the command that needs it"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_public_names_are_documented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    methods = [
        each
        for node in public
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
    ]
    assert not [node.name for node in (*public, *methods) if not ast.get_docstring(node)]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_functions_can_be_read(path):
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: statements_span(node) for node in functions}
    assert not {name: length for name, length in lengths.items() if length > 55}


def statements_span(node: ast.FunctionDef) -> int:
    """Lines of the body: a command's options and a docstring are no code."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
