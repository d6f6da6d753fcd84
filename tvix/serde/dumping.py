"""From a value of Python to Nix text that loads back as an equal one."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.values import Value

_WIDTH = 100
"""Lists of scalars are written in one line up to here."""
_SMALLEST = -(1 << 63)
_SMALLEST_NORMAL = 2.0**-1022
_SCALE = 2.0**100


def dump(value: object, schema: object = None) -> str:
    """The text, with a newline at its end. `schema` is what it will be loaded by; without it, the type of the value.

    A dataclass of a union needs the union, or the field that has it, for its tag. Raises `NotDumpable`, `UnsupportedSchema`.
    """
    from tvix.serde.types import shape_of

    shape = shape_of(object if schema is None else schema)
    return write(shape.encode(value, "the value")) + "\n"


def write(value: Value) -> str:
    """The text of a value without thunks."""
    from tvix.serde.text import shown

    out: list[str] = []
    _write(value, "", out)
    return shown("".join(out))


def _write(value: Value, indent: str, out: list[str]) -> None:
    if type(value) is dict:
        _write_set(value, indent, out)
    elif type(value) is tuple:
        _write_list(value, indent, out)
    else:
        out.append(_scalar(value))


def _write_set(attributes: dict[str, Value], indent: str, out: list[str]) -> None:
    from tvix.eval.printer import name_text

    if not attributes:
        out.append("{ }")
        return
    inner = indent + "  "
    out.append("{\n")
    for name, value in attributes.items():
        out.append(f"{inner}{name_text(name)} = ")
        _write(value, inner, out)
        out.append(";\n")
    out.append(indent + "}")


def _write_list(items: tuple[Value, ...], indent: str, out: list[str]) -> None:
    inner = indent + "  "
    texts: list[str] = []
    for item in items:
        piece: list[str] = []
        _write(item, inner, piece)
        text = "".join(piece)
        texts.append(f"({text})" if text.startswith("-") else text)
    if not any("\n" in text for text in texts) and sum([len(text) + 1 for text in texts]) + len(indent) <= _WIDTH:
        out.append(" ".join(["[", *texts, "]"]))
    else:
        out.append("[\n" + "".join([f"{inner}{text}\n" for text in texts]) + indent + "]")


def _scalar(value: Value) -> str:
    from tvix.eval.printer import string_text
    from tvix.eval.values import Path

    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return f"({_SMALLEST + 1} - 1)" if value == _SMALLEST else str(value)
    if type(value) is float:
        return _float(value)
    if type(value) is Path:
        return _path(value.text)
    return string_text(value)


def _float(value: float) -> str:
    """With a point, which makes it a float, and with all its digits. There is no literal for infinity, nor for what is so small
    that it has fewer digits.
    """
    if math.isinf(value):
        return f"({'-' if value < 0 else ''}1.0e308 * 10.0)"
    if value and abs(value) < _SMALLEST_NORMAL:
        return f"({_float(value * _SCALE)} * {1 / _SCALE!r})"
    text = repr(value)
    if text == "-0.0":  # a minus in front is a subtraction from 0
        return "(-1.0 * 0.0)"
    mantissa, e, exponent = text.partition("e")
    return text if "." in mantissa else f"{mantissa}.0{e}{exponent}"


def _path(text: str) -> str:
    from tvix.eval.printer import string_text

    plain = text.isascii() and all(character.isalnum() or character in "/._-+" for character in text)
    return text if plain and text != "/" else f"(/. + {string_text(text)})"
