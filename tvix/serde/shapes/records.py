"""Sets with the keys that a dataclass has fields for."""

from __future__ import annotations

from tvix.eval.values import UNDEFINED, attribute_position
from tvix.serde.places import Place
from tvix.serde.shapes.interface import FAILED, NOTHING
from tvix.serde.shapes.scalars import refuse
from tvix.serde.text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tvix.eval.values import Value
    from tvix.serde.decoding import Decoding
    from tvix.serde.shapes.interface import Defined, Shape

    Reference = Callable[[Defined], dict[str, object]]

_MOST_NAMED = 12


class Field:
    """One field. `name` is its key, as strings of the language are; `default` makes the value that stands for a missing key."""

    __slots__ = ("attribute", "default", "documentation", "name", "shape")

    def __init__(self, attribute: str, name: str, shape: Shape, default: Callable[[], object] | None, documentation: str) -> None:
        self.attribute = attribute
        self.name = name
        self.shape = shape
        self.default = default
        self.documentation = documentation


class Record:
    """A dataclass. Its fields are looked at when they are first needed, since types may refer to themselves."""

    kinds = frozenset(("set",))
    also = NOTHING

    def __init__(self, python: type[object], documentation: str, look: Callable[[], list[Field]]) -> None:
        self.python = python
        self.documentation = documentation
        self._look = look
        self._fields: dict[str, Field] | None = None

    def fields(self) -> dict[str, Field]:
        """By key. Raises `UnsupportedSchema`."""
        fields = self._fields
        if fields is None:
            fields = self._fields = {field.name: field for field in self._look()}
        return fields

    def expected(self) -> str:
        return "a set"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if type(value) is not dict:
            return decoding.wrong_type("a set", value, place)
        fields = self._fields or self.fields()
        before = len(decoding.found)
        for name in value:
            if name not in fields:
                self._unknown(name, value, place, decoding)
        arguments: dict[str, object] = {}
        for name, field in fields.items():
            slot: Value = value.get(name, UNDEFINED)
            if slot is not UNDEFINED:
                arguments[field.attribute] = self._field(field, slot, Place(place, name, attribute_position(value, name)), decoding)
            elif field.default is None:
                self._missing(field, place, decoding)
        return FAILED if len(decoding.found) > before else self.make(arguments, place, decoding)

    def make(self, arguments: dict[str, object], place: Place, decoding: Decoding) -> object:
        """An instance. What its `__post_init__` refuses by `ValueError` is a problem of the whole value."""
        try:
            return self.python(**arguments)
        except ValueError as error:
            decoding.report("wrong-value", str(error), place, self.expected())
            return FAILED

    def _field(self, field: Field, slot: Value, place: Place, decoding: Decoding) -> object:
        before = len(decoding.found)
        result = decoding.decode(field.shape, slot, place)
        if result is FAILED and field.documentation:
            for found in decoding.found[before:]:
                if found.place is place:
                    found.problem.documentation = field.documentation
        return result

    def _unknown(self, name: str, value: dict[str, Value], place: Place, decoding: Decoding) -> None:
        from tvix.eval.nearest import nearest

        here = Place(place, name, attribute_position(value, name))
        fields = self.fields()
        near = [shown(other) for other in nearest(name, [other for other in fields if other not in value])]
        known = ", ".join([shown(other) for other in fields][:_MOST_NAMED]) + (", …" if len(fields) > _MOST_NAMED else "")
        message = f"unknown key; expected {known}" if fields else "unknown key; expected none"
        decoding.report_name("unknown-key", message, here, tuple(near))

    def _missing(self, field: Field, place: Place, decoding: Decoding) -> None:
        expected = field.shape.expected()
        problem = decoding.report("missing-key", f"the key '{shown(field.name)}' is missing; expected {expected}", place, expected)
        if field.documentation:
            problem.message += f" ({field.documentation})"

    def encode(self, value: object, where: str) -> Value:
        if type(value) is not self.python:
            raise refuse(f"an instance of {self.python.__name__}", value, where)
        return {
            field.name: field.shape.encode(getattr(value, field.attribute), f"{where}.{field.attribute}")
            for field in self.fields().values()
        }

    def json(self, reference: Reference) -> dict[str, object]:
        return reference(self)

    def inside(self) -> Iterator[tuple[str, Shape]]:
        return iter([(f".{shown(field.name)}", field.shape) for field in self.fields().values()])

    def definition(self, reference: Reference) -> dict[str, object]:
        """As JSON Schema, where the others refer to."""
        whole: dict[str, object] = {"type": "object", "title": self.python.__name__}
        if self.documentation:
            whole["description"] = self.documentation
        properties: dict[str, object] = {}
        for field in self.fields().values():
            described = dict(field.shape.json(reference))
            if field.documentation:
                described["description"] = field.documentation
            if field.default is not None:
                described["default"] = plain(field.shape.encode(field.default(), field.attribute))
            properties[shown(field.name)] = described
        whole["properties"] = properties
        required = [shown(field.name) for field in self.fields().values() if field.default is None]
        if required:
            whole["required"] = required
        whole["additionalProperties"] = False
        return whole


def plain(value: Value) -> object:
    """A value without thunks, as JSON has it."""
    from tvix.eval.values import Path

    if type(value) is tuple:
        return [plain(item) for item in value]
    if type(value) is dict:
        return {shown(name): plain(item) for name, item in value.items()}
    if type(value) is Path:
        return shown(value.text)
    return shown(value) if isinstance(value, str) else value
