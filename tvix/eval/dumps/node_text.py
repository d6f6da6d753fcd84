"""Nodes as text: a class a line with its plain fields, and the nodes that it refers to indented below.

    Call1 @0
      function: Argument0 @3
      argument: Constant value=1

Which class stands for an expression says which of the short cuts of `compiler` it took.
"""

from __future__ import annotations

from tvix.eval.positions import offset_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.values import Node

_HIDDEN: Final = ("describe", "explain", "compiler", "piece", "observer", "constant", "primitive", "after", "simple", "pattern")


def node_text(node: Node) -> str:
    """The text of a node, with a newline at its end, one character a byte."""
    lines: list[str] = []
    _add("", node, "", lines)
    return "".join([line + "\n" for line in lines])


def _add(label: str, node: Any, indent: str, lines: list[str]) -> None:
    if hasattr(node, "piece") and hasattr(node, "get"):
        node = node.get()
    words = [f"{label}: {type(node).__name__}" if label else type(node).__name__]
    below: list[tuple[str, Any]] = []
    for name in _fields(node):
        value: Any = getattr(node, name)
        if name == "primitive":
            words.append(value.name)
        elif name in _HIDDEN or value is None:
            continue
        elif _is_part(value):
            below += _chain(name, value)
        elif name == "at" or name.endswith("_at"):
            words += [f"{name.removesuffix('at').replace('_', '=')}@{offset_of(value)}"] if value else []
        elif value != "":
            words.append(f"{name}={_shown(value)}")
    lines.append(indent + " ".join(words))
    for name, part in below:
        _add(name, part, indent + "  ", lines)


def _fields(node: Any) -> list[str]:
    """The fields of an instance, compiled or not."""
    names: list[str] = []
    for kind in reversed(type(node).__mro__):
        for name in getattr(kind, "__mypyc_attrs__", ()):
            if name not in names:
                names.append(name)
    return [name for name in names or vars(node) if not name.startswith("__")]


def _is_part(value: Any) -> bool:
    return type(value).__module__.startswith("tvix.eval.") and (hasattr(value, "evaluate") or hasattr(value, "after"))


def _chain(name: str, value: Any) -> list[tuple[str, Any]]:
    """A node, or all of a linked list."""
    if not hasattr(value, "after"):
        return [(name, value)]
    found: list[tuple[str, Any]] = []
    while value is not None:
        found.append((f"{name}.{len(found)}", value))
        value = value.after
    return found


def _shown(value: Any) -> str:
    from tvix.eval.printing import Layout, Printer

    if type(value) is str:
        return value
    if type(value) in (int, bool):
        return str(value)
    layout = Layout()
    layout.depth = 1
    layout.most = 5
    layout.bytes = 60
    try:
        return Printer(layout).text(value)
    except (AttributeError, TypeError):  # no value of the language
        return type(value).__name__
