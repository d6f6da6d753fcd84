"""Writes docs/errors.md from the error classes: `python packaging/errors_manual.py`. A test compares the two."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tvix.errors import TvixError  # noqa: E402

MANUAL = ROOT / "docs/errors.md"
_PACKAGES = ("tvix", "initrd", "appliance")
_NOT_IMPORTED = ("tvix.proto", "tvix.testing", "appliance.__main__")
_HEAD = """# Errors
Made by `packaging/errors_manual.py` from the classes; don't edit.

An error is one line on stderr, `tvix: error: …`, and where something can be done a second, `tvix: hint: …`. With `--json` it is one
object: `{"error": {"identifier", "message", "hint", "exitCode", "fields"}}`. Identifiers never change once released; messages may
get better.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | anything that no other code fits |
| 64 | the command line is wrong |
| 65 | the data is wrong: it doesn't parse, or isn't what its name promises |
| 66 | something named is not there |
| 69 | a store or a service can't be reached |
| 70 | a bug in tvix; a report was written |
| 74 | the operating system refused to read or write |
| 75 | not now; the same command may work later |
| 77 | refused: not allowed, or against what the store already holds |
| 126 | `tvix run`: the kernel can't execute the program |
| 127 | `tvix run`: the program is not in the store |
| 130 | Ctrl-C |
| 141 | whoever read the output went away |

`tvix run` otherwise ends as the program that it runs does, with 128 + n where signal n ended it.
"""


def error_classes() -> list[type[TvixError]]:
    """Every class that a person may see: those with an identifier of their own, by that."""
    for package in _PACKAGES:
        for module in walk_packages([str(ROOT / package)], f"{package}."):
            if not module.name.startswith(_NOT_IMPORTED):
                import_module(module.name)
    found: set[type[TvixError]] = set()
    waiting = [TvixError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if (
                "identifier" in vars(kind)
                and kind.__module__.startswith(_PACKAGES)
                and not kind.__module__.startswith("tvix.testing")
            ):
                found.add(kind)
    return sorted(found, key=lambda kind: (kind.identifier, kind.__qualname__))


def manual() -> str:
    """The text of docs/errors.md."""
    parts = [_HEAD]
    room = ""
    for kind in error_classes():
        if kind.identifier.partition(".")[0] != room:
            room = kind.identifier.partition(".")[0]
            parts.append(f"\n## {room}\n| identifier | exit code | message | what it is | hint |\n|---|---|---|---|---|\n")
        meaning = (kind.__doc__ or "").partition("\n")[0]
        cells = (f"`{kind.identifier}`", str(kind.exit_code), kind.message, meaning, kind.hint or "")
        parts.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    MANUAL.write_text(manual())
    print(f"{MANUAL.relative_to(ROOT)}: {len(error_classes())} errors")
