"""One of several types: told apart by the kind of value, or by the tag of a variant."""

from __future__ import annotations

from tvix.eval.nearest import nearest
from tvix.eval.strings import ContextString
from tvix.eval.values import Path, attribute_position
from tvix.serde.places import Place
from tvix.serde.shapes.interface import FAILED, NOTHING, one_of
from tvix.serde.shapes.scalars import refuse
from tvix.serde.text import shown, to_nix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tvix.eval.values import Value
    from tvix.serde.decoding import Decoding
    from tvix.serde.shapes.interface import Defined, Failed, Shape
    from tvix.serde.shapes.records import Record

    Reference = Callable[[Defined], dict[str, object]]

_KINDS: dict[type[object], str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    ContextString: "string",
    Path: "path",
    tuple: "list",
    dict: "set",
}


class Either:
    """Members that are for different kinds of values."""

    def __init__(self, members: tuple[tuple[Shape, Callable[[object], bool]], ...]) -> None:
        self._members = members
        self.kinds = NOTHING.union(*[shape.kinds for shape, _ in members])
        self.also = NOTHING.union(*[shape.also for shape, _ in members]) - self.kinds
        self._by_kind: dict[str, Shape] = {}
        for shape, _ in members:
            for kind in shape.also:
                self._by_kind.setdefault(kind, shape)
        for shape, _ in members:
            for kind in shape.kinds:
                self._by_kind[kind] = shape

    def expected(self) -> str:
        return one_of([shape.expected() for shape, _ in self._members])

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        shape = self._by_kind.get(_KINDS.get(type(value), ""))
        if shape is None:
            return decoding.wrong_type(self.expected(), value, place)
        return shape.decode(value, place, decoding)

    def encode(self, value: object, where: str) -> Value:
        for shape, takes in self._members:
            if takes(value):
                return shape.encode(value, where)
        raise refuse(self.expected(), value, where)

    def json(self, reference: Reference) -> dict[str, object]:
        return {"anyOf": [shape.json(reference) for shape, _ in self._members]}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        for shape, _ in self._members:
            yield "", shape


class Variant:
    """One of several dataclasses, by its tag. Without fields it is a string; `positional` ones are written without the names of
    their fields: one field as it is, several as a list.
    """

    def __init__(self, tag: str, record: Record, positional: bool) -> None:
        self.tag = tag
        self.record = record
        self.positional = positional

    def unit(self) -> bool:
        """Whether it is its tag and nothing more."""
        return not self.record.fields()

    def shape(self) -> Shape:
        """What its contents look like."""
        return Positional(self.record) if self.positional else self.record


class Positional:
    """The fields of a dataclass without their names."""

    kinds = NOTHING
    also = NOTHING

    def __init__(self, record: Record) -> None:
        self.python = record.python
        self._record = record

    def _shape(self) -> Shape:
        from tvix.serde.shapes.containers import Fixed

        fields = list(self._record.fields().values())
        return fields[0].shape if len(fields) == 1 else Fixed(tuple([field.shape for field in fields]), tuple)

    def expected(self) -> str:
        return self._shape().expected()

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        contents = self._shape().decode(value, place, decoding)
        if contents is FAILED:
            return FAILED
        names = [field.attribute for field in self._record.fields().values()]
        given = (contents,) if len(names) == 1 else contents
        assert isinstance(given, tuple)
        return self._record.make(dict(zip(names, given, strict=True)), place, decoding)

    def encode(self, value: object, where: str) -> Value:
        contents = [getattr(value, field.attribute) for field in self._record.fields().values()]
        return self._shape().encode(contents[0] if len(contents) == 1 else tuple(contents), where)

    def json(self, reference: Reference) -> dict[str, object]:
        return reference(self)

    def definition(self, reference: Reference) -> dict[str, object]:
        """As JSON Schema, where the others refer to."""
        title: dict[str, object] = {"title": self.python.__name__}
        if self._record.documentation:
            title["description"] = self._record.documentation
        return {**title, **self._shape().json(reference)}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        yield "", self._shape()


class Tagged:
    """Dataclasses, tagged from outside: `"Unit"`, or `{ Tag = contents; }`."""

    also = NOTHING

    def __init__(self, variants: list[Variant]) -> None:
        self._variants = {to_nix(variant.tag): variant for variant in variants}
        self.kinds = frozenset(("set", "string"))

    def expected(self) -> str:
        return one_of([self._form(variant) for variant in self._variants.values()])

    def _form(self, variant: Variant) -> str:
        return f'"{variant.tag}"' if variant.unit() else f"{{ {variant.tag} = …; }}"

    def decode(self, value: Value, place: Place, decoding: Decoding) -> object:
        if isinstance(value, str):
            variant = self._variants.get(value)
            if variant is None or not variant.unit():
                return self._refused(value, value, place, decoding)
            return variant.record.make({}, place, decoding)
        if type(value) is not dict or len(value) != 1:
            return decoding.wrong_type(self.expected(), value, place)
        tag = next(iter(value))
        here = Place(place, tag, attribute_position(value, tag))
        variant = self._variants.get(tag)
        if variant is not None and variant.unit():
            decoding.report_name("wrong-value", f'the variant {variant.tag} holds nothing; it is written "{variant.tag}"', here, ())
            return FAILED
        if variant is None:
            near = tuple([shown(name) for name in nearest(tag, self._variants)])
            decoding.report_name("unknown-key", f"no such variant; expected {self.expected()}", here, near)
            return FAILED
        return decoding.decode(variant.shape(), value[tag], here)

    def _refused(self, text: str, value: Value, place: Place, decoding: Decoding) -> Failed:
        failed = decoding.wrong_type(self.expected(), value, place)
        problem = decoding.found[-1].problem
        problem.kind = "wrong-value"
        problem.suggestions = tuple([self._form(self._variants[name]) for name in nearest(text, self._variants)])
        return failed

    def takes(self, value: object) -> bool:
        """Whether this is an instance of a variant."""
        return any(type(value) is variant.record.python for variant in self._variants.values())

    def encode(self, value: object, where: str) -> Value:
        for tag, variant in self._variants.items():
            if type(value) is variant.record.python:
                return tag if variant.unit() else {tag: variant.shape().encode(value, where)}
        raise refuse(self.expected(), value, where)

    def json(self, reference: Reference) -> dict[str, object]:
        return {"oneOf": [self._variant_json(variant, reference) for variant in self._variants.values()]}

    def inside(self) -> Iterator[tuple[str, Shape]]:
        for variant in self._variants.values():
            if not variant.unit():
                yield f".{variant.tag}", variant.shape()

    def _variant_json(self, variant: Variant, reference: Reference) -> dict[str, object]:
        if variant.unit():
            described: dict[str, object] = {"const": variant.tag}
            return {**described, "description": variant.record.documentation} if variant.record.documentation else described
        contents = variant.shape().json(reference)
        return {"type": "object", "properties": {variant.tag: contents}, "required": [variant.tag], "additionalProperties": False}
