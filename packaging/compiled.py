"""What the compiled evaluator imports: PyInstaller looks for imports in bytecode, and these modules have none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

GROUP = "tvix__mypyc"
"""The shared object that all compiled modules are in; each module's own is a few instructions that look it up there."""


def hidden_imports(package: Path, root: Path) -> list[str]:
    """The modules that the sources of a compiled package import anywhere, and the group itself."""
    found = {GROUP}
    for source in sorted(package.rglob("*.py")):
        found.update(_imports(ast.parse(source.read_text()).body))
    ours = {path.relative_to(root).parts[0] for path in package.parents if path.is_relative_to(root) and path != root}
    return sorted(name for name in found if name.partition(".")[0] not in ours | {"__future__"})


def _imports(statements: list[ast.stmt]) -> Iterator[str]:
    """What is imported, but for types."""
    for statement in statements:
        if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING":
            yield from _imports(statement.orelse)
        elif isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield str(statement.module)
        else:
            for field in ("body", "orelse", "finalbody"):
                yield from _imports(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _imports(handler.body)
