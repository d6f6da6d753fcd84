"""Values as XML: what `toXML` gives, and `--xml` prints.

Where `locate` is given, attributes and functions say where they are defined. A derivation that was shown before is only named.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.comparison import is_derivation
from tvix.eval.errors import StackOverflow
from tvix.eval.functions import Closure, FormalsClosure, formal_names
from tvix.eval.strings import ContextString
from tvix.eval.values import Path, attribute_position, enter, force, known, leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

    from tvix.eval.values import Value

    Locate: TypeAlias = Callable[[int], "tuple[str, int, int] | None"]
    """File, line and column of a position."""

_MOST_DEPTH: Final = 10_000
"""Each line is indented by its depth, so that the text grows with its square."""
_ESCAPES: Final[dict[int, str]] = {34: "&quot;", 38: "&amp;", 60: "&lt;", 62: "&gt;", 10: "&#xA;"}


def xml_text(value: Value, context: set[str], *, strict: bool = True, locate: Locate | None = None) -> str:
    """The document. Only with `strict` anything is evaluated. What strings depend on is added to `context`."""
    writer = _Writer(context, strict, locate)
    writer.open("expr", [])
    writer.write(value)
    writer.close("expr")
    return "<?xml version='1.0' encoding='utf-8'?>\n" + "".join(writer.out)


@final
class _Writer:
    def __init__(self, context: set[str], strict: bool, locate: Locate | None) -> None:
        self.out: list[str] = []
        self.context = context
        self.strict = strict
        self.locate = locate
        self.depth = 0
        self.shown: set[str] = set()

    def open(self, name: str, attributes: list[tuple[str, str]]) -> None:
        self._line(name, attributes, ">\n")
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise StackOverflow("stack overflow: values nested too deeply")

    def close(self, name: str) -> None:
        self.depth -= 1
        self.out.append("  " * self.depth + f"</{name}>\n")

    def empty(self, name: str, attributes: list[tuple[str, str]]) -> None:
        """An element without contents."""
        self._line(name, attributes, " />\n")

    def _line(self, name: str, attributes: list[tuple[str, str]], end: str) -> None:
        self.out.append("  " * self.depth + "<" + name)
        for key, value in sorted(attributes):
            self.out.append(f' {key}="{value.translate(_ESCAPES)}"')
        self.out.append(end)

    def write(self, value: Value) -> None:
        value = self._evaluated(value)
        if isinstance(value, str):
            if type(value) is ContextString:
                self.context |= value.context
            self.empty("string", [("value", str(value))])
        elif value is True or value is False:
            self.empty("bool", [("value", "true" if value else "false")])
        elif value is None:
            self.empty("null", [])
        elif type(value) is int:
            self.empty("int", [("value", str(value))])
        elif type(value) is float:
            self.empty("float", [("value", f"{value:g}")])
        elif type(value) is Path:
            self.empty("path", [("value", value.text)])
        elif type(value) is tuple:
            self._list(value)
        elif type(value) is dict:
            self._set(value)
        elif type(value) is Closure or type(value) is FormalsClosure:
            self._function(value)
        else:
            self.empty("unevaluated", [])

    def _evaluated(self, value: Value) -> Value:
        return force(value) if self.strict else known(value)

    def _list(self, items: tuple[Any, ...]) -> None:
        self.open("list", [])
        enter()
        for item in items:
            self.write(item)
        leave()
        self.close("list")

    def _set(self, attributes: dict[str, Any]) -> None:
        enter()
        if "type" in attributes and is_derivation(attributes):
            self._derivation(attributes)
        else:
            self.open("attrs", [])
            self._attributes(attributes)
            self.close("attrs")
        leave()

    def _derivation(self, attributes: dict[str, Any]) -> None:
        named: list[tuple[str, str]] = []
        known_by = ""
        for name in ("drvPath", "outPath"):
            if name not in attributes:
                continue
            path: Value = self._evaluated(attributes[name])
            if isinstance(path, str):
                named.append((name, str(path)))
                if name == "drvPath":
                    known_by = str(path)
        self.open("derivation", named)
        if known_by and known_by not in self.shown:
            self.shown.add(known_by)
            self._attributes(attributes)
        else:
            self.empty("repeated", [])
        self.close("derivation")

    def _attributes(self, attributes: dict[str, Any]) -> None:
        for name in sorted(attributes):
            self.open("attr", [("name", name), *self._place(attribute_position(attributes, name))])
            self.write(attributes[name])
            self.close("attr")

    def _function(self, function: Closure | FormalsClosure) -> None:
        if type(function) is Closure:
            self.open("function", self._place(int(function.node.at)))
            self.empty("varpat", [("name", function.node.parameter)])
        elif type(function) is FormalsClosure:
            node = function.node
            self.open("function", self._place(int(node.at)))
            pattern: list[tuple[str, str]] = []
            if node.argument:
                pattern.append(("name", node.argument))
            if node.ellipsis:
                pattern.append(("ellipsis", "1"))
            self.open("attrspat", pattern)
            for name in sorted(formal_names(node)):
                self.empty("attr", [("name", name)])
            self.close("attrspat")
        self.close("function")

    def _place(self, position: int) -> list[tuple[str, str]]:
        if self.locate is None or not position:
            return []
        place = self.locate(position)
        if place is None:
            return []
        path, line, column = place
        where = [("line", str(line)), ("column", str(column))]
        return [*where, ("path", path)] if path else where
