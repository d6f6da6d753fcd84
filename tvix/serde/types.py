"""From types to shapes.

| type | in the language |
|---|---|
| `None`, `bool`, `int`, `float` | null, a Boolean, an integer, a float (or an integer that is one exactly) |
| `str` | a string; a path for its text |
| `pathlib.Path` and its kin | a path; a string for one |
| `list[T]`, `Sequence[T]`, `tuple[T, ...]`, `tuple[A, B]`, a named tuple | a list |
| `dict[str, T]`, `Mapping[str, T]` | a set with any keys |
| a dataclass | a set with the keys of its fields |
| `Literal["a", "b"]`, an enumeration | one of these strings: the values of its members if all are strings, else their names |
| `A \\| B` of several dataclasses | tagged variants: `"Tag"` for one without fields, else `{ Tag = …; }` |
| `A \\| B` otherwise | whichever is for this kind of value |
| `object` | anything but a function |
| `Annotated[T, …]`, `NewType` | as `T` |
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from pathlib import PurePath

from tvix.serde.errors import UnsupportedSchema
from tvix.serde.shapes.anything import Anything
from tvix.serde.shapes.containers import Fixed, Items, Mapping
from tvix.serde.shapes.records import Field, Record
from tvix.serde.shapes.scalars import Choice, Exactly, FilePath, Float, Text
from tvix.serde.shapes.unions import Either, Tagged, Variant
from tvix.serde.text import to_nix
from tvix.serde.variants import tag_of

if typing.TYPE_CHECKING:
    from tvix.serde.shapes.interface import Shape

_LISTS = (list, collections.abc.Sequence)
_MAPPINGS = (dict, collections.abc.Mapping)
_ANYTHING = Anything()
_SIMPLE: dict[object, Shape] = {
    None: Exactly("null", "null", type(None)),
    type(None): Exactly("null", "null", type(None)),
    bool: Exactly("bool", "a Boolean", bool),
    int: Exactly("int", "an integer", int),
    float: Float(),
    str: Text(),
    object: _ANYTHING,
    typing.Any: _ANYTHING,
}
_records: dict[type[object], Record] = {}


def shape_of(schema: object, where: str = "the schema") -> Shape:
    """The shape of a type. Raises `UnsupportedSchema`, which names `where`."""
    try:
        simple = _SIMPLE.get(schema)
    except TypeError:  # it can't be hashed
        simple = None
    if simple is not None:
        return simple
    origin = typing.get_origin(schema)
    if origin is not None:
        return _generic(schema, origin, typing.get_args(schema), where)
    if isinstance(schema, typing.NewType):
        return shape_of(schema.__supertype__, where)
    if isinstance(schema, type):
        if dataclasses.is_dataclass(schema):
            return _record(schema)
        if issubclass(schema, enum.Enum):
            return Choice(_members(schema))
        if issubclass(schema, PurePath):
            return FilePath(schema)
        if issubclass(schema, tuple) and hasattr(schema, "_fields"):
            return _named_tuple(schema, where)
        if schema in (list, tuple, *_LISTS):
            return Items(_ANYTHING, tuple if schema is tuple else list)
        if schema in _MAPPINGS:
            return Mapping(_ANYTHING)
    raise UnsupportedSchema(where=where, reason=f"no value of the language becomes {_name(schema)}")


def shape_of_instance(value: object) -> Shape | None:
    """The shape of a value of a dataclass, an enumeration or a named tuple; None for others."""
    kind = type(value)
    if dataclasses.is_dataclass(kind) or isinstance(value, enum.Enum) or (isinstance(value, tuple) and hasattr(kind, "_fields")):
        return shape_of(kind)
    return None


def _generic(schema: object, origin: object, arguments: tuple[object, ...], where: str) -> Shape:
    if origin is typing.Annotated:
        return shape_of(arguments[0], where)
    if origin is typing.Union or origin is types.UnionType:
        return _union(arguments, where)
    if origin is typing.Literal:
        names = [argument for argument in arguments if isinstance(argument, str)]
        if len(names) == len(arguments):
            return Choice({name: name for name in names})
    elif origin in _LISTS:
        return Items(shape_of(arguments[0], f"{where}[]"), list)
    elif origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return Items(shape_of(arguments[0], f"{where}[]"), tuple)
    elif origin is tuple:
        return Fixed(tuple([shape_of(item, f"{where}[{index}]") for index, item in enumerate(arguments)]), tuple)
    elif origin in _MAPPINGS and arguments[0] is str:
        return Mapping(shape_of(arguments[1], f"{where}.*"))
    raise UnsupportedSchema(where=where, reason=f"no value of the language becomes {_name(schema)}")


def _named_tuple(schema: type[object], where: str) -> Shape:
    hints = typing.get_type_hints(schema, include_extras=True)
    shapes = [shape_of(hints[name], f"{where}.{name}") for name in schema._fields]  # type: ignore[attr-defined]
    return Fixed(tuple(shapes), lambda items: schema(*items))


def _members(schema: type[enum.Enum]) -> dict[str, object]:
    members = schema.__members__
    if all(isinstance(member.value, str) for member in members.values()):
        return {member.value: member for member in members.values()}
    return dict(members)


def _union(arguments: tuple[object, ...], where: str) -> Shape:
    records: list[type[object]] = [
        argument for argument in arguments if isinstance(argument, type) and dataclasses.is_dataclass(argument)
    ]
    tagged = Tagged(_variants(records, where)) if len(records) > 1 else None
    members: list[tuple[Shape, collections.abc.Callable[[object], bool]]] = []
    if tagged is not None:
        members.append((tagged, tagged.takes))
    others = [argument for argument in arguments if tagged is None or argument not in records]
    members += [(shape_of(argument, where), _test(argument)) for argument in others]
    taken: set[str] = set()
    for shape, _ in members:
        if taken & shape.kinds:
            both = ", ".join(_name(argument) for argument in arguments)
            kind = min(taken & shape.kinds)
            raise UnsupportedSchema(where=where, reason=f"a {kind} could be more than one of {both}")
        taken |= shape.kinds
    return members[0][0] if len(members) == 1 else Either(tuple(members))


def _test(argument: object) -> collections.abc.Callable[[object], bool]:
    """What tells whether a Python value belongs to a member of a union."""
    origin = typing.get_origin(argument)
    if origin is typing.Annotated:
        return _test(typing.get_args(argument)[0])
    if isinstance(argument, typing.NewType):
        return _test(argument.__supertype__)
    if origin is typing.Literal:
        values = typing.get_args(argument)
        return lambda value: type(value) is str and value in values
    if origin in _LISTS or origin is tuple:
        return lambda value: isinstance(value, list | tuple)
    python = type(None) if argument is None else origin or argument
    if python in (bool, int, float):
        return lambda value: type(value) is python
    assert isinstance(python, type)
    return lambda value: isinstance(value, python)


def _variants(records: list[type[object]], where: str) -> list[Variant]:
    variants: list[Variant] = []
    for record in records:
        tag, positional = tag_of(record)
        if any(other.tag == tag for other in variants):
            raise UnsupportedSchema(where=where, reason=f"two variants have the tag {tag}")
        variants.append(Variant(tag, _record(record), positional))
    return variants


def _record(schema: type[object]) -> Record:
    record = _records.get(schema)
    if record is None:
        text = schema.__doc__ or ""
        made_up = text.startswith(f"{schema.__name__}(")
        record = _records[schema] = Record(schema, "" if made_up else _one_line(text), lambda: _fields(schema))
    return record


def _fields(schema: type[object]) -> list[Field]:
    name = schema.__qualname__
    if getattr(schema, "__parameters__", ()):
        raise UnsupportedSchema(where=name, reason="a generic dataclass isn't one type")
    try:
        hints = typing.get_type_hints(schema, include_extras=True)
    except NameError as error:
        raise UnsupportedSchema(where=name, reason=f"{error} where the class is defined") from None
    for attribute, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar):
            raise UnsupportedSchema(where=f"{name}.{attribute}", reason="an InitVar isn't kept, so it can't be written back")
    found: list[Field] = []
    for field in dataclasses.fields(typing.cast("type[typing.Any]", schema)):
        if not field.init:
            continue
        key = to_nix(field.metadata.get("name", field.name))
        if any(other.name == key for other in found):
            raise UnsupportedSchema(where=f"{name}.{field.name}", reason=f"two fields have the key {key}")
        shape = shape_of(hints[field.name], f"{name}.{field.name}")
        found.append(Field(field.name, key, shape, _default(field), _one_line(field.metadata.get("doc", ""))))
    return found


def _default(field: dataclasses.Field[typing.Any]) -> collections.abc.Callable[[], object] | None:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    if field.default is not dataclasses.MISSING:
        return lambda: field.default
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _name(schema: object) -> str:
    return schema.__qualname__ if isinstance(schema, type) and not typing.get_args(schema) else str(schema)
