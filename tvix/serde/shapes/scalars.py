"""Values that hold no others: null, booleans, numbers, strings and paths."""

from __future__ import annotations

import math

from tvix.eval.strings import ContextString
from tvix.eval.values import Path
from tvix.serde.errors import NotDumpable
from tvix.serde.shapes.interface import FAILED, NOTHING, one_of
from tvix.serde.text import from_nix, to_nix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import PurePath

    from tvix.eval.values import Value
    from tvix.serde.decoding import Decoding
    from tvix.serde.places import Place
    from tvix.serde.shapes.interface import Defined, Failed, Shape

    Reference = Callable[[Defined], dict[str, object]]

_LARGEST = (1 << 63) - 1


def refuse(expected: str, value: object, where: str) -> NotDumpable:
    """The error for a Python value of another type than its schema says."""
    return NotDumpable(where=where, reason=f"expected {expected} but found {value!r}")


class Exactly:
    """A kind of value that is the same in Python: null, bool, int."""

    def __init__(self, kind: str, article: str, python: type[object]) -> None:
        self.kinds = frozenset((kind,))
        self.also = NOTHING
        self._article = article
        self._made = python

    def expected(self) -> str:
        return self._article

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is self._made:
            return value
        return decoding.wrong_type(self._article, value, place)

    def encode(self, value: object, where: str) -> Value:
        if type(value) is not self._made:
            raise refuse(self._article, value, where)
        if type(value) is int and not -_LARGEST - 1 <= value <= _LARGEST:
            raise NotDumpable(where=where, reason=f"{value} doesn't fit in 64 bits")
        return value

    def json(self, reference: Reference) -> dict[str, object]:
        return {"type": {bool: "boolean", int: "integer"}.get(self._made, "null")}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        return iter(())


class Float:
    """A float, or an integer that a float holds exactly."""

    kinds = frozenset(("float",))
    also = frozenset(("int",))

    def expected(self) -> str:
        return "a number"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is float:
            return value
        if type(value) is int:
            if int(float(value)) == value:
                return float(value)
            decoding.report("wrong-value", f"the integer {value} is no float: it would have to be rounded", place, "a number")
            return FAILED
        return decoding.wrong_type("a number", value, place)

    def encode(self, value: object, where: str) -> Value:
        if type(value) is int:
            value = float(value)
        if type(value) is not float:
            raise refuse("a number", value, where)
        if math.isnan(value):
            raise NotDumpable(where=where, reason="what isn't a number can't be written down")
        return value

    def json(self, reference: Reference) -> dict[str, object]:
        return {"type": "number"}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        return iter(())


class Text:
    """A string. A path is taken for its text; bytes have to be UTF-8."""

    kinds = frozenset(("string",))
    also = frozenset(("path",))

    def expected(self) -> str:
        return "a string"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is str and value.isascii():
            return value
        if type(value) is Path:
            value = value.text
        if type(value) is str or type(value) is ContextString:
            return decoded(value, place, decoding)
        return decoding.wrong_type("a string", value, place)

    def encode(self, value: object, where: str) -> Value:
        if type(value) is not str:
            raise refuse("a string", value, where)
        return encoded(value, where)

    def json(self, reference: Reference) -> dict[str, object]:
        return {"type": "string"}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        return iter(())


class FilePath:
    """A path, or a string that is one; as `python`, a class of `pathlib`."""

    kinds = frozenset(("path",))
    also = frozenset(("string",))

    def __init__(self, python: type[PurePath]) -> None:
        self._made = python

    def expected(self) -> str:
        return "a path"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is not Path and type(value) is not str and type(value) is not ContextString:
            return decoding.wrong_type("a path", value, place)
        text = decoded(value.text if type(value) is Path else value, place, decoding)
        return self._made(text) if isinstance(text, str) else text

    def encode(self, value: object, where: str) -> Value:
        if not isinstance(value, self._made):
            raise refuse("a path", value, where)
        text = encoded(str(value), where)
        parts = text.split("/")
        absolute = len(parts) > 1 and not parts[0] and all(part not in ("", ".", "..") for part in parts[1:])
        return Path(text) if absolute or text == "/" else text

    def json(self, reference: Reference) -> dict[str, object]:
        return {"type": "string"}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        return iter(())


class Choice:
    """One of some strings: a `Literal`, or an enumeration, whose members are what they mean to Python."""

    kinds = frozenset(("string",))
    also = NOTHING

    def __init__(self, members: dict[str, object]) -> None:
        self._members = members
        self._names = {id(member): name for name, member in members.items()}

    def expected(self) -> str:
        return one_of([f'"{name}"' for name in self._members])

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is not str and type(value) is not ContextString:
            return decoding.wrong_type(self.expected(), value, place)
        text = decoded(value, place, decoding)
        if not isinstance(text, str):
            return text
        if text in self._members:
            return self._members[text]
        return self.refused(text, value, place, decoding)

    def refused(self, text: str, value: Value, place: Place, decoding: Decoding) -> Failed:
        """Note that a string isn't among them."""
        from tvix.eval.nearest import nearest

        decoding.wrong_type(self.expected(), value, place)
        problem = decoding.found[-1].problem
        problem.kind = "wrong-value"
        problem.suggestions = tuple([f'"{name}"' for name in nearest(text, self._members)])
        return FAILED

    def encode(self, value: object, where: str) -> Value:
        for name, member in self._members.items():
            if member is value or (type(member) is str and member == value):
                return encoded(name, where)
        raise refuse(self.expected(), value, where)

    def json(self, reference: Reference) -> dict[str, object]:
        return {"enum": list(self._members)}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        return iter(())


def decoded(text: str, place: Place, decoding: Decoding) -> str | Failed:
    """A string of the language as one of Python."""
    try:
        return from_nix(text)
    except UnicodeDecodeError as error:
        decoding.report("wrong-value", f"the string isn't UTF-8, from byte {error.start} on", place, "a string")
        return FAILED


def encoded(text: str, where: str) -> str:
    """A string of Python as one of the language."""
    if "\0" in text:
        raise NotDumpable(where=where, reason="a string can't hold the character NUL")
    try:
        return to_nix(text)
    except UnicodeEncodeError:
        raise NotDumpable(where=where, reason="the string has half of a surrogate pair, which is no character") from None
