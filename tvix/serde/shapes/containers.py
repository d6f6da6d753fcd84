"""Lists, tuples of fixed length, and sets whose keys the schema doesn't name."""

from __future__ import annotations

from tvix.eval.values import Thunk, attribute_position
from tvix.serde.errors import NotDumpable
from tvix.serde.places import Place
from tvix.serde.shapes.interface import FAILED, NOTHING
from tvix.serde.shapes.scalars import decoded, encoded, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tvix.eval.values import Value
    from tvix.serde.decoding import Decoding
    from tvix.serde.shapes.interface import Defined, Shape

    Reference = Callable[[Defined], dict[str, object]]


def element(holder: Place, index: int, slot: Value) -> Place:
    """The place of an element of a list."""
    return Place(holder, index, slot.node.position() if type(slot) is Thunk else 0)


class Items:
    """A list of any length whose elements are alike, as a list or a tuple."""

    kinds = frozenset(("list",))
    also = NOTHING

    def __init__(self, item: Shape, python: type[list[object] | tuple[object, ...]]) -> None:
        self._item = item
        self._made = python

    def expected(self) -> str:
        return "a list"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is not tuple:
            return decoding.wrong_type("a list", value, place)
        items = [decoding.decode(self._item, slot, element(place, index, slot)) for index, slot in enumerate(value)]
        return FAILED if FAILED in items else self._made(items)

    def encode(self, value: object, where: str) -> Value:
        if not isinstance(value, list | tuple):
            raise refuse("a list", value, where)
        return tuple([self._item.encode(item, f"{where}[{index}]") for index, item in enumerate(value)])

    def json(self, reference: Reference) -> dict[str, object]:
        return {"type": "array", "items": self._item.json(reference)}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        yield "[*]", self._item


class Fixed:
    """A list of as many elements as there are shapes; `make` makes a tuple or a named tuple of them."""

    kinds = frozenset(("list",))
    also = NOTHING

    def __init__(self, items: tuple[Shape, ...], make: Callable[[list[object]], object]) -> None:
        self._items = items
        self._make = make

    def expected(self) -> str:
        return f"a list of {len(self._items)} element{'' if len(self._items) == 1 else 's'}"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is not tuple or len(value) != len(self._items):
            return decoding.wrong_type(self.expected(), value, place)
        shapes = self._items
        items = [decoding.decode(shapes[index], slot, element(place, index, slot)) for index, slot in enumerate(value)]
        return FAILED if FAILED in items else self._make(items)

    def encode(self, value: object, where: str) -> Value:
        if not isinstance(value, tuple) or len(value) != len(self._items):
            raise refuse(self.expected(), value, where)
        shapes = self._items
        return tuple([shapes[index].encode(item, f"{where}[{index}]") for index, item in enumerate(value)])

    def json(self, reference: Reference) -> dict[str, object]:
        count = len(self._items)
        whole: dict[str, object] = {"type": "array", "minItems": count, "maxItems": count}
        if count:
            whole["prefixItems"] = [shape.json(reference) for shape in self._items]
        return whole

    def inside(self) -> Iterator[tuple[str, Shape]]:
        for index, shape in enumerate(self._items):
            yield f"[{index}]", shape


class Mapping:
    """A set with any keys, whose values are alike, as a dict. The order is that of the set, mostly that of the source."""

    kinds = frozenset(("set",))
    also = NOTHING

    def __init__(self, item: Shape) -> None:
        self._item = item

    def expected(self) -> str:
        return "a set"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is not dict:
            return decoding.wrong_type("a set", value, place)
        result: dict[str, object] = {}
        failed = False
        for name, slot in value.items():
            here = Place(place, name, attribute_position(value, name))
            key = name if name.isascii() else decoded(name, here, decoding)
            item = decoding.decode(self._item, slot, here)
            if item is FAILED or not isinstance(key, str):
                failed = True
            else:
                result[key] = item
        return FAILED if failed else result

    def encode(self, value: object, where: str) -> Value:
        if not isinstance(value, dict):
            raise refuse("a set", value, where)
        result: dict[str, object] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotDumpable(where=where, reason=f"the key {key!r} is no string")
            result[encoded(key, where)] = self._item.encode(item, f"{where}.{key}")
        return result

    def json(self, reference: Reference) -> dict[str, object]:
        return {"type": "object", "additionalProperties": self._item.json(reference)}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        yield ".*", self._item
