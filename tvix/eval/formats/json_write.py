"""Values as JSON: compact, keys in the order of their bytes, floats as C++ Nix's JSON library writes them.

Strings have to be UTF-8. What isn't is only complained about when everything has been evaluated.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.coercion import copied, to_text
from tvix.eval.errors import EvalError, TypeMismatch
from tvix.eval.formats.float_digits import float_digits
from tvix.eval.functions import Closure, FormalsClosure, call, called
from tvix.eval.strings import ContextString
from tvix.eval.values import UNDEFINED, Path, Thunk, attribute_position, enter, force_thunk, leave

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.values import Value

_ESCAPES: Final[dict[int, str]] = {
    **{code: f"\\u{code:04x}" for code in range(32)},
    8: "\\b",
    9: "\\t",
    10: "\\n",
    12: "\\f",
    13: "\\r",
    34: '\\"',
    92: "\\\\",
}


def json_text(value: Value, context: set[str], *, copy: bool = True, strict: bool = True) -> str:
    """The value as JSON; everything in it is evaluated, or without `strict` has to be evaluated already.

    `copy` says whether paths stand for their copies in the store. What strings depend on is added to `context`. Raises
    `TypeMismatch` for functions, `EvalError` for strings that aren't UTF-8.
    """
    writer = _Writer(context, copy, strict)
    writer.write(value)
    if writer.problem:
        raise EvalError("JSON serialization error: [json.exception.type_error.316] " + writer.problem)
    return "".join(writer.out)


@final
class _Writer:
    def __init__(self, context: set[str], copy: bool, strict: bool) -> None:
        self.out: list[str] = []
        self.context = context
        self.copy = copy
        self.strict = strict
        self.problem = ""
        self.at = 0
        """Where the attribute is whose value is being written."""

    def write(self, value: Value, position: int = 0) -> None:
        """`position` is where the attribute is that holds the value."""
        if type(value) is Thunk:
            if not self.strict and value.env is not None:
                raise TypeMismatch("cannot convert a thunk to JSON", position)
            value = force_thunk(value)
        if type(value) is str:
            self.string(value)
        elif value is True:
            self.out.append("true")
        elif value is False:
            self.out.append("false")
        elif value is None:
            self.out.append("null")
        elif type(value) is int:
            self.out.append(str(value))
        elif type(value) is dict:
            self.set(value)
        elif type(value) is tuple:
            self.list(value)
        elif type(value) is float:
            self.out.append(float_text(value))
        elif type(value) is ContextString:
            self.context |= value.context
            self.string(str(value))
        elif type(value) is Path:
            self.string(copied(value, self.context) if self.copy else value.text)
        else:
            raise _not_json(value)

    def string(self, text: str) -> None:
        """A string or a key."""
        if text.isalnum() and text.isascii():
            self.out.append(f'"{text}"')
            return
        if not self.problem and not text.isascii():
            self.problem = utf8_problem(text)
        self.out.append('"' + text.translate(_ESCAPES) + '"')

    def list(self, items: tuple[Any, ...]) -> None:
        enter()
        at = self.at
        separator = "["
        for index, item in enumerate(items):
            self.out.append(separator)
            separator = ","
            try:
                self.write(item)
            except EvalError as error:
                error.while_(at, f"while evaluating list element at index {index}")
                raise
        self.out.append("]" if items else "[]")
        leave()

    def set(self, attributes: dict[str, Any]) -> None:
        convert: Value = attributes.get("__toString", UNDEFINED)
        if convert is not UNDEFINED:
            try:
                result: Value = call(convert, attributes)
            except EvalError as error:
                called(error, self.at)
                raise
            self.string(to_text(result, self.context, False, False, "while evaluating the result of the `__toString` attribute"))
            return
        enter()
        path: Value = attributes.get("outPath", UNDEFINED)
        if path is not UNDEFINED:
            self.write(path)
        else:
            self.object(attributes)
        leave()

    def object(self, attributes: dict[str, Any]) -> None:
        separator = "{"
        around = self.at
        for name in sorted(attributes):
            self.out.append(separator)
            separator = ","
            self.string(name)
            self.out.append(":")
            self.at = attribute_position(attributes, name)
            try:
                self.write(attributes[name], 0 if self.strict else self.at)
            except EvalError as error:
                error.while_(attribute_position(attributes, name), f"while evaluating attribute '{name}'")
                raise
        self.at = around
        self.out.append("}" if attributes else "{}")


def float_text(value: float) -> str:
    """A short text that reads back the same, with a point or an exponent of at least two digits; null if there is none."""
    if value != value or value in {float("inf"), float("-inf")}:
        return "null"
    if value == 0:
        return "-0.0" if str(value)[0] == "-" else "0.0"
    sign = "-" if value < 0 else ""
    digits, last = float_digits(abs(value))
    point = len(digits) + last
    if len(digits) <= point <= 15:
        return f"{sign}{digits}{'0' * (point - len(digits))}.0"
    if 0 < point <= 15:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -4 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    rest = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'-' if point < 1 else '+'}{abs(point - 1):02d}"


def utf8_problem(text: str) -> str:
    """What is wrong with bytes that should be UTF-8; empty where nothing is."""
    raw = text.encode("latin-1")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return f"incomplete UTF-8 string; last byte: 0x{raw[-1]:02X}"
        at = error.start if error.reason == "invalid start byte" else error.end
        return f"invalid UTF-8 byte at index {at}: 0x{raw[at]:02X}"
    return ""


def _not_json(value: Value) -> EvalError:
    from tvix.eval.describe import article

    error = TypeMismatch(f"cannot convert {article(value)} to JSON")
    if type(value) is Closure or type(value) is FormalsClosure:
        error.at(value.node.position())
    return error
