"""The elements of a string's context, one by one; `strings` has their spelling.

They are ordered as C++ Nix orders them: paths, then whole derivations, then outputs of derivations.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Element = tuple[int, str, str]


def element_parts(element: str) -> Element:
    """The kind of an element (0 a path, 1 a derivation with all its outputs, 2 one output), its path, and its output."""
    if element.startswith("="):
        return 1, element[1:], ""
    if element.startswith("!"):
        output, _, path = element[1:].partition("!")
        return 2, path, output
    return 0, element, ""


def ordered(context: Iterable[str]) -> list[Element]:
    """All elements, taken apart."""
    return sorted([element_parts(element) for element in context])


def first_element(context: Iterable[str]) -> str:
    """The first element, as errors name it: without the directory of the store."""
    kind, path, output = ordered(context)[0]
    name = path.rpartition("/")[2]
    return name if kind == 0 else "=" + name if kind == 1 else f"!{output}!{name}"
