"""The rules that the structure of the project keeps: layers, heavy imports, sizes of modules and names."""

import ast
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
