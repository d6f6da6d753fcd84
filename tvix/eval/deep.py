"""Evaluating a value with everything in it.

The way down is kept in a list, not on the stack: a value may contain itself, and be nested as deep
as calls of the evaluator may be: what has no end is an error before memory ends.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.attribute_order import in_order
from tvix.eval.errors import EvalError, StackOverflow
from tvix.eval.printer import name_text
from tvix.eval.values import MACHINE, Thunk, attribute_position, force_thunk, needed_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


@final
class _Level:
    """A list or set that is being gone through: what it holds, and how far that has been evaluated."""

    def __init__(self, items: list[Any], attributes: dict[str, Any] | None, names: list[str], outer: _Level | None) -> None:
        self.items = items
        self.attributes = attributes
        self.names = names
        self.outer = outer
        self.depth: i64 = 0 if outer is None else outer.depth + 1
        self.index: i64 = 0
        if self.depth > MACHINE.max_nesting:
            raise StackOverflow("stack overflow: values nested too deeply")


def force_deeply(value: Value) -> Value:
    """The value, after all of it has been evaluated. Raises what evaluation raises, saying in which attributes that was."""
    if type(value) is Thunk:
        value = force_thunk(value)
    seen: set[int] = set()
    level = _entered(value, None, seen)
    while level is not None:
        if level.index >= len(level.items):
            level = level.outer
            continue
        item: Value = level.items[level.index]
        if type(item) is Thunk:
            try:
                item = force_thunk(item)
            except EvalError as error:
                needed_at(error, item, 0)
                _say_where(error, level)
                raise
        level.index += 1
        level = _entered(item, level, seen)
    return value


def _entered(value: Value, outer: _Level | None, seen: set[int]) -> _Level | None:
    """The level of a value that holds others and is seen for the first time, else the outer one."""
    if type(value) is tuple:
        items: tuple[Any, ...] = value
        if not items or id(items) in seen:
            return outer
        seen.add(id(items))
        return _Level(list(items), None, [], outer)
    if type(value) is dict:
        attributes: dict[str, Any] = value
        if not attributes or id(attributes) in seen:
            return outer
        seen.add(id(attributes))
        names = in_order(attributes)
        return _Level([attributes[name] for name in names], attributes, names, outer)
    return outer


def _say_where(error: EvalError, innermost: _Level) -> None:
    level: _Level | None = innermost
    pending = True
    while level is not None:
        attributes = level.attributes
        if attributes is not None:
            index: i64 = level.index if pending else level.index - 1
            name = level.names[index]
            error.while_(attribute_position(attributes, name), f"while evaluating the attribute '{name_text(name)}'")
        pending = False
        level = level.outer
