"""Attribute paths as nested sets, while a set is read: `a.b = 1; a.c = 2;` and `a = { b = 1; }; a.c = 2;` are one set `a`.

Only sets written as such merge; `rec` is what the first of them is. Everything else that is bound twice is an error.
"""

from __future__ import annotations

from tvix.eval.errors import SyntaxError_
from tvix.eval.syntax import INHERITED_FROM, PLAIN, Attribute, AttributeSet, DynamicAttribute, Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.syntax import AttributeName, Expression


def bind(target: AttributeSet, path: list[AttributeName], value: Expression, position: int, base: int) -> None:
    """Add `path = value;`, which stands at `position`, to `target`. Errors are at `base` and the offset."""
    last = len(path) - 1
    for index in range(last):
        target = _nested(target, path, index, position, base)
    name = path[last]
    if not isinstance(name, str):
        target.dynamic.append(DynamicAttribute(name, value, position))
        return
    first = target.attributes.get(name)
    if first is None:
        target.attributes[name] = Attribute(PLAIN, value, 0, position)
        if type(value) is Function:
            _call(value, name)
        return
    earlier = first.value
    if type(earlier) is AttributeSet and type(value) is AttributeSet:
        _merge(earlier, value, path, base)
    else:
        raise _twice(path, position, first.position, base)


def inherit(target: AttributeSet, name: str, kind: int, value: Expression | None, source: int, position: int, base: int) -> None:
    """Add one name of an `inherit`."""
    first = target.attributes.get(name)
    if first is not None:
        raise _twice([name], position, first.position, base)
    target.attributes[name] = Attribute(kind, value, source, position)


def _nested(target: AttributeSet, path: list[AttributeName], index: int, position: int, base: int) -> AttributeSet:
    """The set at `path[index]`, made if there is none yet."""
    name = path[index]
    if isinstance(name, str):
        first = target.attributes.get(name)
        if first is not None:
            value = first.value
            if type(value) is AttributeSet:
                return value
            raise _twice(path[: index + 1], position, first.position, base)
        made = AttributeSet(False, position)
        target.attributes[name] = Attribute(PLAIN, made, 0, position)
        return made
    made = AttributeSet(False, position)
    target.dynamic.append(DynamicAttribute(name, made, position))
    return made


def _merge(into: AttributeSet, more: AttributeSet, path: list[AttributeName], base: int) -> None:
    """Move the attributes of `more`, which stands at `path`, to `into`. Of several that are in both, the first of `into` fails."""
    for name, first in into.attributes.items():
        again = more.attributes.get(name)
        if again is not None:
            earlier, value = first.value, again.value
            if type(earlier) is not AttributeSet or type(value) is not AttributeSet:
                raise _twice([*path, name], again.position, first.position, base)
            _merge(earlier, value, [*path, name], base)
    sources = len(into.sources)
    for name, attribute in more.attributes.items():
        if name not in into.attributes:
            attribute.source += sources if attribute.kind == INHERITED_FROM else 0
            into.attributes[name] = attribute
    into.dynamic += more.dynamic
    into.sources += more.sources
    if more.empty_inherits:
        into.empty_inherits += more.empty_inherits


def _call(function: Function, name: str) -> None:
    """Name a function, and those that it returns one after the other, after what they are bound to."""
    function.name = name
    body = function.body
    while type(body) is Function:
        body.name = name
        body = body.body


def _twice(path: list[AttributeName], position: int, first: int, base: int) -> SyntaxError_:
    from tvix.eval.error_report import position_text
    from tvix.eval.printer import path_text

    return SyntaxError_(f"attribute '{path_text(path)}' already defined at {position_text(base + first)}", base + position)
