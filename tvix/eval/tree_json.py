"""Trees as JSON, for programs: every expression is an object with its `type`, its `position` as a byte offset, and its parts by the
names that `syntax` gives them. Attributes keep the order of the source. Bytes that aren't UTF-8 are shown as U+FFFD.
"""

from __future__ import annotations

from tvix.eval.syntax import AttributeSet, Expression, Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.syntax import Attribute


def tree_json(tree: Expression) -> str:
    """One line of ASCII, without a newline."""
    out: list[str] = []
    _expression(tree, out)
    return "".join(out)


def _expression(tree: Expression, out: list[str]) -> None:
    out.append('{"type": ' + _text(type(tree).__name__))
    for name in _FIELDS[type(tree).__name__]:
        out.append(f', "{name}": ')
        _any(getattr(tree, name), out)
    if isinstance(tree, AttributeSet):
        _bindings(tree, out)
    if isinstance(tree, Function):
        _parameters(tree, out)
    out.append(f', "position": {tree.position}' + "}")


def _any(value: Any, out: list[str]) -> None:
    if isinstance(value, Expression):
        _expression(value, out)
    elif isinstance(value, list):
        out.append("[")
        for index, item in enumerate(value):
            if index:
                out.append(", ")
            _any(item, out)
        out.append("]")
    elif isinstance(value, str):
        out.append(_text(value))
    elif value is None:
        out.append("null")
    elif isinstance(value, bool):
        out.append("true" if value else "false")
    else:
        out.append(repr(value))


def _bindings(tree: AttributeSet, out: list[str]) -> None:
    out.append(', "attributes": [')
    for index, (name, attribute) in enumerate(tree.attributes.items()):
        out.append((", " if index else "") + '{"name": ' + _text(name))
        _attribute(attribute, out)
    out.append('], "dynamic": [')
    for index, entry in enumerate(tree.dynamic):
        out.append((", " if index else "") + '{"name": ')
        _any(entry.name, out)
        out.append(', "value": ')
        _any(entry.value, out)
        out.append(f', "position": {entry.position}' + "}")
    out.append("]")


def _attribute(attribute: Attribute, out: list[str]) -> None:
    kind = _KINDS[attribute.kind]
    out.append(f', "kind": "{kind}"')
    if kind == "inherited-from":
        out.append(f', "source": {attribute.source}')
    elif kind == "plain":
        out.append(', "value": ')
        _any(attribute.value, out)
    out.append(f', "position": {attribute.position}' + "}")


def _parameters(tree: Function, out: list[str]) -> None:
    if tree.parameters is None:
        return
    out.append(', "parameters": [')
    for index, parameter in enumerate(tree.parameters):
        out.append((", " if index else "") + '{"name": ' + _text(parameter.name) + ', "default": ')
        _any(parameter.default, out)
        out.append(f', "position": {parameter.position}' + "}")
    out.append(f'], "ellipsis": {"true" if tree.ellipsis else "false"}')


def _text(text: str) -> str:
    from json.encoder import encode_basestring_ascii

    return str(encode_basestring_ascii(text.encode("latin-1").decode("utf-8", "replace")))


_KINDS: Final = ("plain", "inherited", "inherited-from")
_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "Literal": ("value",),
    "Variable": ("name",),
    "PathLiteral": ("text",),
    "SearchPath": ("name",),
    "Interpolated": ("parts",),
    "InterpolatedPath": ("parts",),
    "Apply": ("function", "arguments"),
    "SelectAttribute": ("set", "path", "default"),
    "HasAttribute": ("set", "path"),
    "AttributeSet": ("recursive", "sources"),
    "LetIn": ("bindings", "body"),
    "Function": ("name", "argument", "body"),
    "ListExpression": ("items",),
    "Conditional": ("condition", "yes", "no"),
    "Assertion": ("condition", "body"),
    "WithScope": ("scope", "body"),
    "Unary": ("operator", "operand"),
    "Binary": ("operator", "left", "right"),
    "CurrentPositionOf": (),
}
