"""JSON, XML and TOML."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import plain_text
from tvix.eval.functions import Primitive
from tvix.eval.strings import with_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class ToJson(Primitive):
    """`toJSON value`. Paths are copied to the store."""

    def call1(self, first: Value) -> Value:
        from tvix.eval.formats.json_write import json_text

        context: set[str] = set()
        return with_context(json_text(first, context), context)


@final
@mypyc_attr(acyclic=True)
class FromJson(Primitive):
    """`fromJSON text`."""

    def call1(self, first: Value) -> Value:
        from tvix.eval.formats.json_read import value_of_json

        return value_of_json(plain_text(first, "while evaluating the first argument passed to builtins.fromJSON"))


@final
@mypyc_attr(acyclic=True)
class ToXml(Primitive):
    """`toXML value`."""

    def call1(self, first: Value) -> Value:
        from tvix.eval.formats.xml_write import xml_text

        context: set[str] = set()
        return with_context(xml_text(first, context), context)


@final
@mypyc_attr(acyclic=True)
class FromToml(Primitive):
    """`fromTOML text`."""

    def call1(self, first: Value) -> Value:
        from tvix.eval.formats.toml import value_of_toml

        return value_of_toml(plain_text(first, "while evaluating the argument passed to builtins.fromTOML"))


def primitives(evaluator: Evaluator) -> list[Primitive]:  # all themes are asked the same way
    """The builtins of this theme."""
    return [ToJson("toJSON", 1), FromJson("fromJSON", 1), ToXml("toXML", 1), FromToml("fromTOML", 1)]
