"""JSON as values. Of attributes that come twice the last one counts; nesting is only bounded by memory."""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.errors import EvalError
from tvix.eval.formats.json_scan import END, NUMBER, STRING, WRONG, Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.values import Value

_VALUE: Final = "'[', '{', or a literal"
_OVERFLOW: Final = (float("inf"), float("-inf"))


def value_of_json(text: str) -> Value:
    """The value. Raises `EvalError`."""
    if not text:
        raise _refused(
            "line 1, column 1",
            "attempting to parse an empty input; check that your input string or stream contains the expected JSON",
        )
    return _Reader(text).document()


@final
class _Open:
    """A list or set that isn't complete. `key` is that of the value which comes next."""

    def __init__(self, is_set: bool, outer: _Open | None) -> None:
        self.is_set = is_set
        self.outer = outer
        self.items: list[Any] = []
        self.attributes: dict[str, Any] = {}
        self.key = ""

    def add(self, value: Value) -> None:
        """One more value."""
        if self.is_set:
            self.attributes[self.key] = value
        else:
            self.items.append(value)

    def closed(self) -> Value:
        """What it has become."""
        return self.attributes if self.is_set else tuple(self.items)


@final
class _Reader:
    def __init__(self, text: str) -> None:
        self.scanner = Scanner(text)
        self.open: _Open | None = None

    def document(self) -> Value:
        kind = self.scanner.next()
        while True:
            if kind in {"'['", "'{'"}:
                self.open = _Open(kind == "'{'", self.open)
                kind = self.scanner.next()
                if kind != ("'}'" if self.open.is_set else "']'"):
                    if self.open.is_set:
                        kind = self._key(kind)
                    continue
                value: Value = self._close()
            else:
                value = self._scalar(kind)
            # A value is complete: everything that it completes is closed.
            while True:
                around = self.open
                if around is None:
                    self._expect(self.scanner.next(), END, "value")
                    return value
                around.add(value)
                kind = self.scanner.next()
                if kind == "','":
                    kind = self.scanner.next()
                    if around.is_set:
                        kind = self._key(kind)
                    break
                if around.is_set:
                    self._expect(kind, "'}'", "object")
                else:
                    self._expect(kind, "']'", "array")
                value = self._close()

    def _close(self) -> Value:
        around = self.open
        assert around is not None
        self.open = around.outer
        return around.closed()

    def _key(self, kind: str) -> str:
        """Read a key and its colon; gives the kind of what follows."""
        self._expect(kind, STRING, "object key")
        around = self.open
        assert around is not None
        around.key = _without_nul(self.scanner.value)
        self._expect(self.scanner.next(), "':'", "object separator")
        return self.scanner.next()

    def _scalar(self, kind: str) -> Value:
        value = self.scanner.value
        if kind == STRING:
            return _without_nul(value)
        if kind == NUMBER:
            if type(value) is float and value in _OVERFLOW:
                number = self.scanner.text[self.scanner.began : self.scanner.at]
                raise _decoding(EvalError(f"[json.exception.out_of_range.406] number overflow parsing '{number}'"))
            return value
        if kind.endswith(" literal"):
            return value
        raise self._unexpected(kind, "" if kind == WRONG else _VALUE, "value")

    def _expect(self, kind: str, wanted: str, where: str) -> None:
        if kind != wanted:
            raise self._unexpected(kind, wanted, where)

    def _unexpected(self, kind: str, wanted: str, where: str) -> EvalError:
        scanner = self.scanner
        what = f"{scanner.reason}; last read: '{scanner.last_read()}'" if kind == WRONG else f"unexpected {kind}"
        expected = f"; expected {wanted}" if wanted else ""
        return _refused(scanner.place(), f"syntax error while parsing {where} - {what}{expected}")


def _without_nul(text: str) -> str:
    if "\0" in text:
        shown = text.replace("\0", "\u2400".encode().decode("latin-1"))
        raise EvalError(f"input string '{shown}' cannot be represented as Nix string because it contains null bytes")
    return text


def _refused(place: str, reason: str) -> EvalError:
    return _decoding(EvalError(f"[json.exception.parse_error.101] parse error at {place}: {reason}"))


def _decoding(error: EvalError) -> EvalError:
    error.while_(0, "while decoding a JSON string")
    return error
