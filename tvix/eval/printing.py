"""Values as text: what `nix-instantiate --eval` prints, what an error says of a value, and what `nix eval` and the repl show.

Texts have one character per byte, as strings of the language do: write them with `.encode("latin-1")`. The way down into a value is
kept in objects, not on the stack, so that any depth can be printed.
"""

from __future__ import annotations

from math import copysign

from tvix.eval.annotations import final
from tvix.eval.coercion import to_text
from tvix.eval.comparison import is_derivation
from tvix.eval.errors import EvalError, StackOverflow
from tvix.eval.functions import BuiltinFunction, Closure, FormalsClosure
from tvix.eval.nodes.sets import Binding
from tvix.eval.nodes.variables import is_variable
from tvix.eval.printer import name_text
from tvix.eval.values import MACHINE, UNDEFINED, Path, Thunk, force, force_thunk, is_busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value

UNLIMITED: Final = 1 << 60


def as_bytes(text: str) -> str:
    """Ordinary text, one character per byte of its UTF-8."""
    return text.encode().decode("latin-1")


_OPEN: Final = as_bytes("«")
_CLOSE: Final = as_bytes("»")
_STORE: Final = "/nix/store/"
_IN_CELL: Final = 2
"""So many elements C++ Nix copies along with a list, and so doesn't know the list again elsewhere."""
_MOST_INDENTED: Final = 10_000
"""Deeper values would be mostly indentation, some hundred megabytes of it."""
_IMPORTANT: Final = ("type", "_type")
"""Attributes that come first where not all may be shown."""


@final
class Layout:
    """How values are printed. `coarse` is the way of `nix-instantiate`: no more than the kind of what isn't data. With `evaluate`,
    what is put off is evaluated, and derivations are shown by their path. `step` is how far nested values are indented, 0 for all
    on one line. `most` bounds attributes, and list items, of the whole; `bytes` each string; `depth` the nesting.
    """

    def __init__(self) -> None:
        self.coarse: bool = False
        self.evaluate: bool = False
        self.color: bool = False
        self.step: i64 = 0
        self.depth: i64 = UNLIMITED
        self.most: i64 = UNLIMITED
        self.bytes: i64 = UNLIMITED


def print_value(value: Value) -> str:
    """What `nix-instantiate --eval` prints, and with `--strict` if the value was evaluated deeply before."""
    layout = Layout()
    layout.coarse = True
    return Printer(layout).text(value)


def print_for_error(value: Value) -> str:
    """The value as errors quote it: nothing is evaluated, and what is large is cut off."""
    layout = Layout()
    layout.depth = layout.most = 10
    layout.bytes = 1024
    return Printer(layout).text(value)


def print_evaluated(value: Value) -> str:
    """What `nix eval` prints: everything is evaluated on the way, and what fails shows as its error."""
    layout = Layout()
    layout.evaluate = True
    return Printer(layout).text(value)


def print_for_repl(value: Value, depth: int = 1, *, color: bool = False) -> str:
    """What the repl shows; with `UNLIMITED` as depth, what it shows for `:p`. Raises what evaluating the value itself does."""
    layout = Layout()
    layout.evaluate = True
    layout.step = 2
    layout.depth = depth
    layout.color = color
    return Printer(layout).text(value)


@final
class _Level:
    """A list or set that is being printed: what it holds, and how much of that is done. `names` is None for a list."""

    def __init__(self, items: list[Any], names: list[str] | None, spread: bool, depth: i64, outer: _Level | None) -> None:
        self.items = items
        self.names = names
        self.spread = spread
        self.depth = depth
        self.outer = outer
        self.index: i64 = 0


@final
class Printer:
    """Prints one value after the other in the same layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._out: list[str] = []
        self._seen: set[int] = set()
        self._attributes: i64 = 0
        self._items: i64 = 0
        self._indent: i64 = 0

    def text(self, value: Value) -> str:
        """The text of a value."""
        self._out = []
        self._seen = set()
        self._attributes = self._items = self._indent = 0
        level = self._begin(value, 0, None)
        while level is not None:
            level = self._go_on(level)
        return "".join(self._out)

    def _go_on(self, level: _Level) -> _Level | None:
        """One more item of a level, or its end; the level to go on with."""
        names = level.names
        if level.index >= len(level.items):
            self._indent -= self.layout.step
            self._space(level.spread)
            self._out.append("]" if names is None else "}")
            outer = level.outer
            if outer is not None:
                self._end_item(outer)
            return outer
        self._space(level.spread)
        done = self._items if names is None else self._attributes
        if done >= self.layout.most:
            left = len(level.items) - int(level.index)
            level.index = len(level.items)
            kind = ("item" if names is None else "attribute") + ("" if left == 1 else "s")
            self._colored("2", f"{_OPEN}{left} {kind} elided{_CLOSE}")
            return level
        index = level.index
        level.index += 1
        if names is not None:
            self._out.append(name_text(names[index]) + " = ")
        inner = self._begin(level.items[index], level.depth + 1, level)
        if inner is level:
            self._end_item(level)
        return inner

    def _end_item(self, level: _Level) -> None:
        if level.names is None:
            self._items += 1
        else:
            self._out.append(";")
            self._attributes += 1

    def _begin(self, value: Value, depth: i64, outer: _Level | None) -> _Level | None:
        """Print a value and return `outer`, or print only the beginning of a list or set and return its level."""
        cell = 0
        if type(value) is Thunk:
            cell = _cell(value)
            if value.env is None:
                value = value.value
            elif self.layout.evaluate:
                before, nesting = MACHINE.depth, MACHINE.nesting
                try:
                    value = force_thunk(value)
                except EvalError as error:
                    MACHINE.depth, MACHINE.nesting = before, nesting
                    self._failed(error, outer)
                    return outer
            else:
                self._thunk(value)
                return outer
        if type(value) is tuple:
            return self._begin_list(value, cell, depth, outer)
        if type(value) is dict:
            if self.layout.evaluate and "type" in value:
                before, nesting = MACHINE.depth, MACHINE.nesting
                try:
                    if is_derivation(value):
                        self._derivation(value)
                        return outer
                except EvalError as error:
                    MACHINE.depth, MACHINE.nesting = before, nesting
                    self._failed(error, outer)
                    return outer
            return self._begin_set(value, depth, outer)
        self._atom(value)
        return outer

    def _begin_list(self, items: tuple[Any, ...], cell: int, depth: i64, outer: _Level | None) -> _Level | None:
        small = cell != 0 and len(items) <= _IN_CELL
        if items and self._repeated(cell if small else id(items)):
            return outer
        if small:
            self._seen.add(id(items))  # for whoever comes to its cell under another name
        if depth >= self.layout.depth:
            self._out.append("[ ... ]")
            return outer
        return self._enter("[", list(items), None, depth, outer)

    def _begin_set(self, attributes: dict[str, Any], depth: i64, outer: _Level | None) -> _Level | None:
        if (attributes or not self.layout.coarse) and self._repeated(id(attributes) if attributes else 0):
            return outer
        if depth >= self.layout.depth:
            self._out.append("{ ... }")
            return outer
        names = sorted(attributes)
        if self.layout.most < UNLIMITED:
            names = [name for name in names if name in _IMPORTANT] + [name for name in names if name not in _IMPORTANT]
        items: list[Any] = [attributes[name] for name in names]
        return self._enter("{", items, names, depth, outer)

    def _enter(self, bracket: str, items: list[Any], names: list[str] | None, depth: i64, outer: _Level | None) -> _Level | None:
        """Begin a list or set. C++ Nix evaluates an only item before it knows how to go on; where that fails, the bracket stays
        open and what follows is indented as if inside.
        """
        if depth > (MACHINE.max_nesting if self.layout.step == 0 else _MOST_INDENTED):
            raise StackOverflow("stack overflow: values nested too deeply")
        self._out.append(bracket)
        self._indent += self.layout.step
        before, nesting = MACHINE.depth, MACHINE.nesting
        try:
            spread = self.layout.step > 0 and self._is_spread(items)
        except EvalError as error:
            MACHINE.depth, MACHINE.nesting = before, nesting
            self._failed(error, outer)
            return outer
        return _Level(items, names, spread, depth, outer)

    def _repeated(self, identity: int) -> bool:
        """Whether that was printed before, and a note if so. All empty sets are one set: that is what they are in C++ Nix."""
        if identity in self._seen:
            self._colored("35", _OPEN + "repeated" + _CLOSE)
            return True
        self._seen.add(identity)
        return False

    def _is_spread(self, items: list[Any]) -> bool:
        """Whether each item has a line of its own: where there are several, or one that has items itself."""
        if len(items) != 1:
            return len(items) > 1
        only: Value = force(items[0])
        return type(only) is tuple or type(only) is dict

    def _space(self, spread: bool) -> None:
        self._out.append("\n" + " " * int(self._indent) if spread else " ")

    def _thunk(self, thunk: Thunk) -> None:
        if is_busy(thunk):
            self._colored("31", _OPEN + "potential infinite recursion" + _CLOSE)
        elif self.layout.coarse:
            self._out.append("<CODE>")
        else:
            self._colored("35", _OPEN + "thunk" + _CLOSE)

    def _failed(self, error: EvalError, outer: _Level | None) -> None:
        """What can't be evaluated shows as its error; the repl fails where that is all there is to show."""
        if outer is None and self.layout.step > 0:
            raise error
        self._colored("31", f"{_OPEN}error: {error.detail}{_CLOSE}")

    def _derivation(self, attributes: dict[str, Any]) -> None:
        path: Value = attributes.get("drvPath", UNDEFINED)
        text = _OPEN + "derivation"
        if path is not UNDEFINED:
            place = to_text(path, None, False, False)
            if not place.startswith(_STORE):
                raise EvalError(f"path '{place}' is not in the Nix store")
            text += " " + place
        self._colored("32", text + _CLOSE)

    def _atom(self, value: Value) -> None:
        if isinstance(value, str):
            self._colored("35", text_literal(value, int(self.layout.bytes)))
        elif value is None or value is True or value is False:
            self._colored("36", "null" if value is None else "true" if value is True else "false")
        elif type(value) is int:
            self._colored("36", str(value))
        elif type(value) is float:
            self._colored("36", float_text(value))
        elif type(value) is Path:
            self._colored("32", value.text)
        elif self.layout.coarse:
            self._out.append(_kind_of_function(value))
        else:
            self._colored("34", _OPEN + _function(value) + _CLOSE)

    def _colored(self, color: str, text: str) -> None:
        if not self.layout.color:
            self._out.append(text)
        else:
            self._out.append(f"\x1b[{color}m{text}\x1b[0m" if color == "2" else f"\x1b[{color};1m{text}\x1b[0m")


def _cell(thunk: Thunk) -> int:
    """What stands for the place where C++ Nix keeps the value; 0 for a variable under another name, which is in its own place."""
    node = thunk.node
    return 0 if type(node) is Binding and is_variable(node.node) else id(thunk)


def text_literal(text: str, most: int = UNLIMITED) -> str:
    """A string in quotes, as the language reads it; what exceeds `most` bytes is left out, and said."""
    shown = text[:most] if len(text) > most else text
    shown = shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    shown = '"' + shown.replace("${", "\\${") + '"'
    left = len(text) - most
    return shown if left <= 0 else f"{shown} {_OPEN}{left} byte{'' if left == 1 else 's'} elided{_CLOSE}"


def float_text(number: float) -> str:
    """Six significant digits, as the streams of C++ print them."""
    if number != number and copysign(1.0, number) < 0:  # it is not a number
        return "-nan"
    return f"{number:g}"


def _kind_of_function(value: Value) -> str:
    if type(value) is BuiltinFunction:
        return "<PRIMOP-APP>" if value.given else "<PRIMOP>"
    return "<LAMBDA>"


def _function(value: Value) -> str:
    if type(value) is BuiltinFunction:
        return ("partially applied primop " if value.given else "primop ") + value.primitive.name
    from tvix.eval.error_report import position_text

    name = ""
    position = 0
    if type(value) is Closure or type(value) is FormalsClosure:
        name = value.node.name
        position = int(value.node.at)
    return f"lambda {name_text(name)} @ {position_text(position)}" if name else f"lambda @ {position_text(position)}"
