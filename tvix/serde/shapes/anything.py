"""Values that the schema says nothing of (`object`): they become None, bool, int, float, str, path, tuple and dict."""

from __future__ import annotations

from pathlib import PurePosixPath

from tvix.eval.strings import ContextString
from tvix.eval.values import Path
from tvix.serde.shapes.containers import Items, Mapping
from tvix.serde.shapes.interface import NOTHING
from tvix.serde.shapes.scalars import Exactly, FilePath, Float, Text, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tvix.eval.values import Value
    from tvix.serde.decoding import Decoding
    from tvix.serde.places import Place
    from tvix.serde.shapes.interface import Defined, Shape

    Reference = Callable[[Defined], dict[str, object]]


class Anything:
    """Anything but a function."""

    kinds = frozenset(("null", "bool", "int", "float", "string", "path", "list", "set"))
    also = NOTHING

    def __init__(self) -> None:
        path, text = FilePath(PurePosixPath), Text()
        items, mapping = Items(self, tuple), Mapping(self)
        exact: tuple[tuple[type[object], Shape], ...] = (
            (type(None), Exactly("null", "null", type(None))),
            (bool, Exactly("bool", "a Boolean", bool)),
            (int, Exactly("int", "an integer", int)),
            (float, Float()),
            (str, text),
            (tuple, items),
            (dict, mapping),
        )
        self._decoders: dict[type[object], Shape] = {**dict(exact), ContextString: text, Path: path}
        self._encoders: dict[type[object], Shape] = {**dict(exact), list: items}
        self._path = path

    def expected(self) -> str:
        return "a value that isn't a function"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        shape = self._decoders.get(type(value))
        if shape is None:
            return decoding.wrong_type(self.expected(), value, place)
        return shape.decode(value, place, decoding)

    def encode(self, value: object, where: str) -> Value:
        from tvix.serde.types import shape_of_instance

        shape = self._encoders.get(type(value))
        if shape is None and isinstance(value, PurePosixPath):
            shape = self._path
        if shape is None:
            shape = shape_of_instance(value)
        if shape is None:
            raise refuse(self.expected(), value, where)
        return shape.encode(value, where)

    def json(self, reference: Reference) -> dict[str, object]:
        return {}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        return iter(())
