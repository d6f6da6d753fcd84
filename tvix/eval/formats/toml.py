"""TOML as values.

A table may be added to as the way it was made allows: what a header defines is defined once, what a dotted key made can't be
reopened by a header, and inline tables and arrays are complete.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.errors import EvalError
from tvix.eval.formats.toml_scan import Scanner, refused
from tvix.eval.values import enter, leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.values import Value

_IMPLIED: Final = 0
_DEFINED: Final = 1
_DOTTED: Final = 2
_INLINE: Final = 3
_TABLE_EXISTS: Final = "toml::insert_value: failed to insert a table, table already defined"
_VALUE_EXISTS: Final = "toml::insert_value: failed to insert a value, value already exists"


def value_of_toml(text: str) -> Value:
    """The table of a document. Raises `EvalError`."""
    return _finished(_Reader(text).document())


@final
class _Table:
    """A table and how it came to be: implied by a longer header, defined by its own, by a dotted key, or inline."""

    def __init__(self, origin: int) -> None:
        self.origin = origin
        self.entries: dict[str, Any] = {}


@final
class _Array:
    """An array; only those of `[[headers]]` can grow."""

    def __init__(self, grows: bool) -> None:
        self.grows = grows
        self.items: list[Any] = []


def _finished(value: Any) -> Value:
    if type(value) is _Table:
        enter()
        attributes: dict[str, Any] = {}
        for key in sorted(value.entries):
            attributes[_without_nul(key)] = _finished(value.entries[key])
        leave()
        return attributes
    if type(value) is _Array:
        enter()
        items = tuple([_finished(item) for item in value.items])
        leave()
        return items
    return _without_nul(value) if type(value) is str else value


def _without_nul(text: str) -> str:
    if "\0" in text:
        shown = text.replace("\0", "\u2400".encode().decode("latin-1"))
        problem = f"input string '{shown}' cannot be represented as Nix string because it contains null bytes"
        raise EvalError(f"while parsing TOML: error: {problem}")
    return text


@final
class _Reader:
    def __init__(self, text: str) -> None:
        self.scanner = Scanner(text)

    def document(self) -> _Table:
        scanner = self.scanner
        scanner.takes("\xef\xbb\xbf")
        root = _Table(_DEFINED)
        table = root
        while True:
            scanner.skip_lines()
            if not scanner.peek():
                return root
            if scanner.takes("[["):
                key = self._header("]]", "toml::parse_file: invalid array-table key")
                table = _appended(root, key)
            elif scanner.takes("["):
                key = self._header("]", "toml::parse_file: invalid table key")
                table = _defined(root, key)
            else:
                self._pair(table, _DOTTED)
            scanner.skip_blanks()
            scanner.skip_comment()
            if scanner.peek() and not scanner.takes("\n") and not scanner.takes("\r\n"):
                raise refused("toml::parse_table: newline (LF / CRLF) or EOF is expected")

    def _header(self, end: str, problem: str) -> list[str]:
        scanner = self.scanner
        scanner.skip_blanks()
        if scanner.peek() in {"]", ""}:
            raise refused(problem)
        key = scanner.key()
        scanner.skip_blanks()
        if not scanner.takes(end):
            raise refused(problem)
        return key

    def _pair(self, table: _Table, origin: int) -> None:
        scanner = self.scanner
        key = scanner.key()
        scanner.skip_blanks()
        if not scanner.takes("="):
            raise refused("toml::parse_key_value_pair: invalid key value separator `=`")
        scanner.skip_blanks()
        value = self._value()
        for name in key[:-1]:
            inner: Any = table.entries.get(name)
            if inner is None:
                inner = table.entries[name] = _Table(origin)
            elif type(inner) is not _Table or inner.origin == _INLINE:
                raise refused(_VALUE_EXISTS)
            table = inner
        if key[-1] in table.entries:
            raise refused(_VALUE_EXISTS)
        table.entries[key[-1]] = value

    def _value(self) -> Any:
        scanner = self.scanner
        if scanner.takes("["):
            return self._array()
        if scanner.takes("{"):
            return self._inline_table()
        return scanner.scalar()

    def _array(self) -> _Array:
        scanner = self.scanner
        array = _Array(False)
        enter()
        while True:
            scanner.skip_lines()
            if scanner.takes("]"):
                leave()
                return array
            if not scanner.peek():
                raise refused("toml::parse_array: missing closing bracket `]`")
            array.items.append(self._value())
            scanner.skip_lines()
            if not scanner.takes(",") and scanner.peek() != "]":
                if not scanner.peek():
                    raise refused("toml::parse_array: missing closing bracket `]`")
                raise refused("toml::parse_array: expected value-separator `,` or closing `]`")

    def _inline_table(self) -> _Table:
        scanner = self.scanner
        table = _Table(_INLINE)
        enter()
        scanner.skip_blanks()
        if scanner.takes("}"):
            leave()
            return table
        while True:
            self._pair(table, _DOTTED)
            scanner.skip_blanks()
            if scanner.takes("}"):
                leave()
                _close(table)
                return table
            if not scanner.takes(","):
                if not scanner.peek():
                    raise refused("toml::parse_inline_table: missing closing bracket `}`")
                raise refused("toml::parse_inline_table: expected value-separator `,` or closing `}`")
            scanner.skip_blanks()
            if scanner.peek() == "}":
                raise refused("toml::parse_inline_table: trailing comma is not allowed in TOML-v1.0.0)")


def _close(table: _Table) -> None:
    """Nothing can be added to the tables that the dotted keys of an inline table made."""
    for value in table.entries.values():
        if type(value) is _Table and value.origin == _DOTTED:
            value.origin = _INLINE
            _close(value)


def _way(root: _Table, key: list[str]) -> _Table:
    """The table that holds the last name of a header."""
    table = root
    for name in key[:-1]:
        inner: Any = table.entries.get(name)
        if inner is None:
            inner = table.entries[name] = _Table(_IMPLIED)
        if type(inner) is _Array:
            if not inner.grows:
                raise refused(_TABLE_EXISTS)
            inner = inner.items[-1]
        if type(inner) is not _Table:
            raise refused("toml::insert_value: failed to insert a table, value already exists")
        if inner.origin == _INLINE:
            raise refused("toml::insert_value: failed to insert a table, inline table is immutable")
        table = inner
    return table


def _defined(root: _Table, key: list[str]) -> _Table:
    """The table of `[key]`."""
    around = _way(root, key)
    found: Any = around.entries.get(key[-1])
    if found is None:
        found = around.entries[key[-1]] = _Table(_DEFINED)
    elif type(found) is not _Table or found.origin != _IMPLIED:
        raise refused(_TABLE_EXISTS)
    table: _Table = found
    table.origin = _DEFINED
    return table


def _appended(root: _Table, key: list[str]) -> _Table:
    """A new table of `[[key]]`."""
    around = _way(root, key)
    found: Any = around.entries.get(key[-1])
    if found is None:
        found = around.entries[key[-1]] = _Array(True)
    elif type(found) is not _Array:
        raise refused(_TABLE_EXISTS)
    elif not found.grows:
        raise refused("toml::insert_value: failed to insert a table, inline array of tables is immutable")
    table = _Table(_DEFINED)
    found.items.append(table)
    return table
