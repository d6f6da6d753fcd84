"""The linters and the rules that no linter knows, as tests."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("tvix", "appliance", "initrd", "packaging", "examples", "tests")
MAX_LINES = 450
MAX_FUNCTION_LINES = 60

LINTERS = {
    "ruff check": ["ruff", "check", "--quiet", "."],
    "ruff format": ["ruff", "format", "--check", "--quiet", "."],
    "mypy": ["mypy"],
    "lint-imports": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("name", LINTERS)
def test_linter_is_content(name: str) -> None:
    program, *arguments = LINTERS[name]
    done = subprocess.run([Path(sys.executable).parent / program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", ["packaging", "examples/hello", "examples/embedding"])
def test_scripts_have_strict_types(folder: str) -> None:
    """Scripts import their neighbours by plain names, so each folder is checked by itself."""
    scripts = sorted((ROOT / folder).glob("*.py"))
    done = subprocess.run([Path(sys.executable).parent / "mypy", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def _sources() -> list[tuple[Path, str]]:
    """Every Python file that people write, relative to the checkout."""
    paths = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return [(path.relative_to(ROOT), path.read_text()) for path in sorted(paths) if path.parent.name != "proto"]


def _refuse(found: list[str]) -> None:
    assert not found, "\n".join(found)


def test_files_are_short() -> None:
    lengths = ((path, text.count("\n")) for path, text in _sources())
    _refuse([f"{path}: {lines} lines, more than {MAX_LINES}" for path, lines in lengths if lines > MAX_LINES])


def test_functions_fit_a_screen() -> None:
    found = []
    for path, text in _sources():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    found.append(f"{path}:{node.lineno}: {node.name} has {lines} lines, more than {MAX_FUNCTION_LINES}")
    _refuse(found)


def test_modules_say_what_they_are() -> None:
    _refuse([f"{path}: no docstring" for path, text in _sources() if text.strip() and not ast.get_docstring(ast.parse(text))])


def test_public_names_say_what_they_do() -> None:
    """Of the library and the program: tests and conformance suites name themselves."""
    found = []
    for path, text in _sources():
        if path.parts[0] in {"tests", "examples"} or "testing" in path.parts:
            continue
        for node in ast.parse(text).body:
            documented = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            overloads = documented and any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list)
            if documented and not overloads and not ast.get_docstring(node):
                found.append(f"{path}:{node.lineno}: {node.name} has no docstring")
    _refuse(found)


def test_nothing_is_left_for_later() -> None:
    mark = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
    _refuse([f"{path}: {match[0]}" for path, text in _sources() for match in mark.finditer(text) if "\\ud" not in text])


def test_no_path_of_one_machine() -> None:
    """Files are written for every machine: no home, no checkout, no workplace in them."""
    places = re.compile(r"(?<!/)/(?:home|Users)/[a-z]+/|/work/|/tmp/lab|" + re.escape(str(ROOT)) + "/")
    checked = [*_sources(), *((path.relative_to(ROOT), path.read_text()) for path in _documents())]
    _refuse(
        [
            f"{path}: {match[0]}"
            for path, text in checked
            for match in places.finditer(text)
            if path != Path("tests/unit/test_linters.py")
        ]
    )


def _documents() -> list[Path]:
    names = ("Makefile", "pyproject.toml", "tvix.spec", "requirements.lock")
    return [ROOT / name for name in names] + sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
