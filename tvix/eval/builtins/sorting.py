"""`sort`: stable, and with the comparisons that C++ Nix makes.

Which elements are compared, and in what order, shows: in which error comes first, and in what becomes of a comparison that isn't an
order at all, such as `<=`. So this is the merge sort of the C++ library that Nix uses (GNU's `std::stable_sort`): runs of seven
sorted by insertion, merged pairwise in each half of the list, then the halves. Where only values of one simple type are sorted by
`lessThan`, nothing of it shows, and Python sorts.
"""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import list_of
from tvix.eval.builtins.arithmetic import LessThan
from tvix.eval.comparison import less
from tvix.eval.errors import EvalError
from tvix.eval.functions import BuiltinFunction, Closure, Primitive, call2, callable_value
from tvix.eval.values import force, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value

_RUN: Final = 7


@final
@mypyc_attr(acyclic=True)
class Sort(Primitive):
    """`sort comparator list`."""

    def call2(self, first: Value, second: Value) -> Value:
        items = list_of(second, "while evaluating the second argument passed to builtins.sort")
        if not items:
            return items
        comparator: Value = callable_value(first, "while evaluating the first argument passed to builtins.sort")
        values = [force(item) for item in items]
        order = _Order(comparator)
        if order.natural and _is_uniform(values):
            values.sort()
        else:
            _sort(values, order)
        return tuple(values)


def _is_uniform(values: list[Any]) -> bool:
    """Whether Python orders the values as Nix does: all strings, or all integers."""
    kind = type(values[0])
    if kind is not int and kind is not str:
        return False
    for value in values:
        if type(value) is not kind:
            return False
    return True


@final
class _Order:
    """The comparator. `natural` says that it is `builtins.lessThan` itself."""

    def __init__(self, function: Value) -> None:
        self.function = function
        self.natural: bool = False
        if type(function) is BuiltinFunction:
            self.natural = type(function.primitive.itself()) is LessThan and function.given == 0

    def before(self, left: Value, right: Value) -> bool:
        """Whether `left` comes before `right`."""
        if self.natural:
            try:
                return less(left, right)
            except EvalError as error:
                error.while_(0, "while evaluating the ordering function passed to builtins.sort")
                raise
        function: Value = self.function
        result: Value = function.call2(left, right) if type(function) is Closure else call2(function, left, right)
        if result is True:
            return True
        if result is False:
            return False
        problem = wrong_type("a Boolean", result)
        problem.while_(0, "while evaluating the return value of the sorting function passed to builtins.sort")
        raise problem


def _sort(values: list[Any], order: _Order) -> None:
    length: i64 = len(values)
    middle = (length + 1) // 2
    spare: list[Any] = values.copy()
    _sort_half(values, 0, middle, spare, order)
    _sort_half(values, middle, length, spare, order)
    if middle <= length - middle:
        spare = values[:middle]
        _merge(spare, 0, middle, values, middle, length, values, 0, order)
    else:
        _merge_from_the_end(values, middle, values[middle:], order)


def _sort_half(values: list[Any], start: i64, end: i64, spare: list[Any], order: _Order) -> None:
    at = start
    while end - at >= _RUN:
        _sort_run(values, at, at + _RUN, order)
        at += _RUN
    _sort_run(values, at, end, order)
    step: i64 = _RUN
    while step < end - start:
        _merge_runs(values, start, end, step, spare, order)
        _merge_runs(spare, start, end, step * 2, values, order)
        step *= 4


def _sort_run(values: list[Any], start: i64, end: i64, order: _Order) -> None:
    index = start + 1
    while index < end:
        value: Value = values[index]
        at = index
        if order.before(value, values[start]):
            while at > start:
                values[at] = values[at - 1]
                at -= 1
        else:
            while at > start and order.before(value, values[at - 1]):
                values[at] = values[at - 1]
                at -= 1
        values[at] = value
        index += 1


def _merge_runs(source: list[Any], start: i64, end: i64, step: i64, target: list[Any], order: _Order) -> None:
    """Merge runs of `step` elements pairwise from one list into the other, at the same place."""
    at = start
    while at < end:
        middle = min(at + step, end)
        last = min(middle + step, end)
        _merge(source, at, middle, source, middle, last, target, at, order)
        at = last


def _merge(
    left: list[Any],
    left_at: i64,
    left_end: i64,
    right: list[Any],
    right_at: i64,
    right_end: i64,
    target: list[Any],
    at: i64,
    order: _Order,
) -> None:
    while left_at < left_end and right_at < right_end:
        if order.before(right[right_at], left[left_at]):
            target[at] = right[right_at]
            right_at += 1
        else:
            target[at] = left[left_at]
            left_at += 1
        at += 1
    while left_at < left_end:
        target[at] = left[left_at]
        left_at += 1
        at += 1
    while right_at < right_end:
        target[at] = right[right_at]
        right_at += 1
        at += 1


def _merge_from_the_end(values: list[Any], middle: i64, right: list[Any], order: _Order) -> None:
    """Merge the sorted first half of the list with the other half, which is the shorter one and given beside it."""
    left_at = middle - 1
    right_at: i64 = len(right) - 1
    at: i64 = len(values) - 1
    while left_at >= 0 and right_at >= 0:
        if order.before(right[right_at], values[left_at]):
            values[at] = values[left_at]
            left_at -= 1
        else:
            values[at] = right[right_at]
            right_at -= 1
        at -= 1
    while right_at >= 0:
        values[at] = right[right_at]
        right_at -= 1
        at -= 1
