"""What `:d` and `:doc` say of a value."""

from __future__ import annotations

import re

from tvix.eval.describe import article
from tvix.eval.error_report import position_text, source_text
from tvix.eval.errors import EvalError
from tvix.eval.functions import BuiltinFunction, Closure, FormalsClosure
from tvix.eval.positions import CURRENT, offset_of
from tvix.eval.printer import name_text
from tvix.eval.strings import ContextString
from tvix.eval.values import UNDEFINED, Path, attribute_position, force, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.values import Value

_MOST = 40
_BINDING = re.compile(r"""(?:[A-Za-z_][\w'-]*|"[^"\n]*")(?:\s*\.\s*[A-Za-z_][\w'-]*)*\s*=\s*\Z""")


def details(value: Value) -> str:
    """A value's type and what can be told of it without evaluating anything."""
    lines = [article(value)]
    if type(value) is dict:
        lines += _attributes(value)
    elif type(value) is tuple:
        done = sum(known(item) is not UNDEFINED for item in value)
        lines.append(f"  {len(value)} items, {done} of them evaluated")
    elif isinstance(value, str):
        lines.append(f"  {len(value)} bytes")
        if isinstance(value, ContextString):
            lines += [f"  depends on {entry}" for entry in sorted(map(str, value.context))]
    elif type(value) is Closure or type(value) is FormalsClosure:
        lines += _parameters(value)
        lines.append(f"  defined at {position_text(int(value.node.at))}")
    elif type(value) is BuiltinFunction:
        lines.append(f"  takes {value.primitive.arity} arguments, and has {value.given} of them")
    return "\n".join(lines)


def _attributes(attributes: dict[str, Any]) -> list[str]:
    lines = [f"  {len(attributes)} attributes"]
    for name in sorted(attributes)[:_MOST]:
        value: Value = known(attributes[name])
        kind = "not evaluated" if value is UNDEFINED else article(value)
        position = attribute_position(attributes, name)
        where = f", defined at {position_text(position)}" if position else ""
        lines.append(f"  {name_text(name)}: {kind}{where}")
    if len(attributes) > _MOST:
        lines.append(f"  and {len(attributes) - _MOST} more")
    return lines


def _parameters(function: Closure | FormalsClosure) -> list[str]:
    if isinstance(function, Closure):
        return [f"  takes {function.node.parameter}"]
    lines = []
    formal = function.node.first
    while formal is not None:
        lines.append(f"  takes {formal.name}{'' if formal.default is None else ', which has a default'}")
        formal = formal.after
    return [*lines, "  takes more than that"] if function.node.ellipsis else lines


def documentation(value: Value) -> str:
    """What a builtin is for, or the `/** … */` before a function. Raises `EvalError` where nothing is written."""
    if type(value) is dict and "__functor" in value:
        value = known(value["__functor"])
    if type(value) is BuiltinFunction:
        from appliance.ui.repl.builtin_documentation import BUILTINS

        text = BUILTINS.get(value.primitive.name, "")
        if text:
            return f"builtins.{text}"
    elif type(value) is Closure or type(value) is FormalsClosure:
        position = int(value.node.at)
        comment = comment_before(position)
        if comment:
            name = value.node.name or "the function"
            return f"{name}, defined at {position_text(position)}\n\n{comment}"
    raise EvalError("value does not have documentation")


def comment_before(position: int) -> str:
    """The text of the `/** … */` before a function or before what it is bound to, without its frame."""
    sources, io = CURRENT.sources, CURRENT.io
    source = None if sources is None else sources.of(position)
    text = None if source is None or io is None else source_text(source, io)
    if text is None:
        return ""
    before = text[: offset_of(position)].rstrip().removesuffix("(").rstrip()
    if not before.endswith("*/"):
        before = _BINDING.sub("", before + " ").rstrip()
    if not before.endswith("*/"):
        return ""
    start = before.rfind("/**")
    if start < 0 or "*/" in before[start:-2]:
        return ""
    lines = [line.strip() for line in before[start + 3 : -2].strip().split("\n")]
    return "\n".join([line.removeprefix("*").removeprefix(" ") for line in lines])


def place_of(value: Value) -> tuple[str, int] | None:
    """The file and line to edit for a value: a path, a function, or a package with `meta.position`. None where there is none."""
    if type(value) is Path or isinstance(value, str):
        return (value.text if isinstance(value, Path) else value), 0
    position = 0
    if type(value) is Closure or type(value) is FormalsClosure:
        position = int(value.node.at)
    elif type(value) is dict:
        meta: Value = force(value["meta"]) if "meta" in value else None
        named: Value = force(meta["position"]) if type(meta) is dict and "position" in meta else None
        if isinstance(named, str):
            path, _, line = named.rpartition(":")
            return (path, int(line)) if line.isdigit() else (named, 0)
        position = max([attribute_position(value, name) for name in value], default=0)
    text = position_text(position) if position else ""
    path, _, line = text.rpartition(":")[0].rpartition(":")
    return (path, int(line)) if path.startswith("/") and line.isdigit() else None
