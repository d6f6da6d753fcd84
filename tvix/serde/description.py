"""What a schema says, for editors (JSON Schema) and for people (a list of its options)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tvix.serde.shapes.interface import Defined, Shape
    from tvix.serde.shapes.records import Record

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(schema: object) -> dict[str, object]:
    """As JSON Schema, draft 2020-12, of what `builtins.toJSON` makes of a value that loads. Ready for `json.dumps`.

    Raises `UnsupportedSchema`; `NotDumpable` for a default that its own type wouldn't take.
    """
    from tvix.serde.types import shape_of

    definitions = _Definitions()
    whole: dict[str, object] = {"$schema": DIALECT, **shape_of(schema).json(definitions.reference)}
    if definitions.found:
        whole["$defs"] = definitions.found
    return whole


class _Definitions:
    """The dataclasses that were met, by name; the second of a name gets a number."""

    def __init__(self) -> None:
        self.found: dict[str, object] = {}
        self._names: dict[tuple[type[object], type[object]], str] = {}

    def reference(self, shape: Defined) -> dict[str, object]:
        """What refers to the definition of a shape."""
        key = shape.python, type(shape)
        name = self._names.get(key)
        if name is None:
            name = shape.python.__name__
            count = 1
            while name in self.found:
                count += 1
                name = f"{shape.python.__name__}{count}"
            self._names[key] = name
            self.found[name] = None
            self.found[name] = shape.definition(self.reference)
        return {"$ref": f"#/$defs/{name}"}


class Option:
    """One key: its `path` with `*` for any name or index, what it takes, its default as Nix text (None where it has to be given),
    and its documentation.
    """

    __slots__ = ("default", "documentation", "expected", "path")

    def __init__(self, path: str, expected: str, default: str | None, documentation: str) -> None:
        self.path = path
        self.expected = expected
        self.default = default
        self.documentation = documentation


def options(schema: object) -> Iterator[Option]:
    """Every key that a schema knows, those that hold others first. A type inside of itself is listed once.

    Raises `UnsupportedSchema`.
    """
    from tvix.serde.types import shape_of

    yield from _inside(shape_of(schema), "", ())


def _inside(shape: Shape, path: str, around: tuple[type[object], ...]) -> Iterator[Option]:
    from tvix.serde.shapes.records import Record

    python = getattr(shape, "python", None)
    if python is not None:
        if python in around:
            return
        around = (*around, python)
    if isinstance(shape, Record):
        yield from _fields(shape, path, around)
        return
    for step, inner in shape.inside():
        yield from _inside(inner, f"{path}{step}", around)


def _fields(record: Record, path: str, around: tuple[type[object], ...]) -> Iterator[Option]:
    from tvix.eval.printer import name_text
    from tvix.serde.dumping import write
    from tvix.serde.text import shown

    for field in record.fields().values():
        here = f"{path}{'.' if path else ''}{shown(name_text(field.name))}"
        default = None if field.default is None else write(field.shape.encode(field.default(), here))
        yield Option(here, field.shape.expected(), default, field.documentation)
        yield from _inside(field.shape, here, around)
