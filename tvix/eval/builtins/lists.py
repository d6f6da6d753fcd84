"""Lists."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import attribute, holds, integer, list_of, plain_text, set_of
from tvix.eval.builtins.closure import GenericClosure
from tvix.eval.builtins.sorting import Sort
from tvix.eval.comparison import same
from tvix.eval.errors import EvalError
from tvix.eval.functions import Closure, Primitive, call, call2, callable_value, called_when_needed
from tvix.eval.values import UNDEFINED, Node, Thunk, attribute_position, force, force_thunk, wrong_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value

_LONGEST: Final = 1 << 32
"""More elements than this fit into no memory."""


@final
@mypyc_attr(acyclic=True)
class All(Primitive):
    """`all predicate list`."""

    def call2(self, first: Value, second: Value) -> Value:
        predicate: Value = callable_value(first, "while evaluating the first argument passed to builtins.all")
        for item in list_of(second, "while evaluating the second argument passed to builtins.all"):
            if not holds(predicate, item, "while evaluating the return value of the function passed to builtins.all"):
                return False
        return True


@final
@mypyc_attr(acyclic=True)
class Any_(Primitive):  # noqa: N801  # Any is a type
    """`any predicate list`."""

    def call2(self, first: Value, second: Value) -> Value:
        predicate: Value = callable_value(first, "while evaluating the first argument passed to builtins.any")
        for item in list_of(second, "while evaluating the second argument passed to builtins.any"):
            if holds(predicate, item, "while evaluating the return value of the function passed to builtins.any"):
                return True
        return False


@final
@mypyc_attr(acyclic=True)
class ConcatLists(Primitive):
    """`concatLists lists`."""

    def call1(self, first: Value) -> Value:
        result: list[Any] = []
        for item in list_of(first, "while evaluating the first argument passed to builtins.concatLists"):
            result.extend(list_of(item, "while evaluating a value of the list passed to builtins.concatLists"))
        return tuple(result)


@final
@mypyc_attr(acyclic=True)
class ConcatMap(Primitive):
    """`concatMap function list`."""

    def call2(self, first: Value, second: Value) -> Value:
        function: Value = callable_value(first, "while evaluating the first argument passed to builtins.concatMap")
        result: list[Any] = []
        for item in list_of(second, "while evaluating the second argument passed to builtins.concatMap"):
            part: Value = call(function, item)
            if type(part) is not tuple:
                error = wrong_type("a list", part)
                position = int(function.node.at) if type(function) is Closure else 0
                error.while_(position, "while evaluating the return value of the function passed to builtins.concatMap")
                raise error
            result.extend(part)
        return tuple(result)


@final
@mypyc_attr(acyclic=True)
class Elem(Primitive):
    """`elem value list`."""

    def call2(self, first: Value, second: Value) -> Value:
        items = list_of(second, "while evaluating the second argument passed to builtins.elem")
        if not items:
            return False
        wanted: Value = force(first)
        if type(wanted) is str:
            for item in items:
                value: Value = force_thunk(item) if type(item) is Thunk else item
                if isinstance(value, str) and value == wanted:
                    return True
            return False
        for item in items:
            if same(first, item):
                return True
        return False


@final
@mypyc_attr(acyclic=True)
class ElemAt(Primitive):
    """`elemAt list index`."""

    def call2(self, first: Value, second: Value) -> Value:
        index = integer(second, "while evaluating the second argument passed to 'builtins.elemAt'")
        items = list_of(first, "while evaluating the first argument passed to 'builtins.elemAt'")
        if 0 <= index < len(items):
            return force(items[index])
        raise EvalError(f"'builtins.elemAt' called with index {index} on a list of size {len(items)}")


@final
@mypyc_attr(acyclic=True)
class Filter(Primitive):
    """`filter predicate list`. The predicate isn't looked at if there is nothing to try it on."""

    def call2(self, first: Value, second: Value) -> Value:
        items = list_of(second, "while evaluating the second argument passed to builtins.filter")
        if not items:
            return items
        predicate: Value = callable_value(first, "while evaluating the first argument passed to builtins.filter")
        kept: list[Any] = []
        for item in items:
            if holds(predicate, item, "while evaluating the return value of the filtering function passed to builtins.filter"):
                kept.append(item)
        return items if len(kept) == len(items) else tuple(kept)


@final
@mypyc_attr(acyclic=True)
class Foldl(Primitive):
    """`foldl' function start list`."""

    def call3(self, first: Value, second: Value, third: Value) -> Value:
        function: Value = callable_value(first, "while evaluating the first argument passed to builtins.foldlStrict")
        items = list_of(third, "while evaluating the third argument passed to builtins.foldlStrict")
        result: Value = second
        if type(function) is Closure:
            closure = function
            for item in items:
                result = closure.call2(result, item)
        else:
            for item in items:
                result = call2(function, result, item)
        return force(result)


@final
@mypyc_attr(acyclic=True)
class _Generated(Node):
    """An element of `genList`: the thunk carries its index."""

    def __init__(self, function: Value) -> None:
        self.function = function

    def run(self, thunk: Thunk) -> Value:
        function: Value = self.function
        if type(function) is Closure:
            return function.call(thunk.env)
        return call(function, thunk.env)

    def called_at(self, error: EvalError, position: int) -> None:
        called_when_needed(error, self.function, position)


@final
@mypyc_attr(acyclic=True)
class GenList(Primitive):
    """`genList function length`."""

    def call2(self, first: Value, second: Value) -> Value:
        length = integer(second, "while evaluating the second argument passed to builtins.genList")
        if not 0 <= length < _LONGEST:
            raise EvalError(f"cannot create list of size {length}")
        node = _Generated(callable_value(first, "while evaluating the first argument passed to builtins.genList"))
        return tuple([Thunk(node, index, None) for index in range(length)])


@final
@mypyc_attr(acyclic=True)
class GroupBy(Primitive):
    """`groupBy function list`: the function gives the name of each one's group."""

    def call2(self, first: Value, second: Value) -> Value:
        function: Value = callable_value(first, "while evaluating the first argument passed to builtins.groupBy")
        groups: dict[str, list[Any]] = {}
        for item in list_of(second, "while evaluating the second argument passed to builtins.groupBy"):
            answer: Value = call(function, item)
            name = plain_text(answer, "while evaluating the return value of the grouping function passed to builtins.groupBy")
            group = groups.get(name)
            if group is None:
                groups[name] = [item]
            else:
                group.append(item)
        return {name: tuple(group) for name, group in groups.items()}


@final
@mypyc_attr(acyclic=True)
class Head(Primitive):
    """`head list`."""

    def call1(self, first: Value) -> Value:
        items = list_of(first, "while evaluating the first argument passed to 'builtins.head'")
        if not items:
            raise EvalError("'builtins.head' called on an empty list")
        return force(items[0])


@final
@mypyc_attr(acyclic=True)
class Length(Primitive):
    """`length list`."""

    def call1(self, first: Value) -> Value:
        return len(list_of(first, "while evaluating the first argument passed to builtins.length"))


@final
@mypyc_attr(acyclic=True)
class ListToAttrs(Primitive):
    """`listToAttrs [ { name = "a"; value = 1; } … ]`. Of several with the same name the first counts."""

    def call1(self, first: Value) -> Value:
        result: dict[str, Any] = {}
        for item in list_of(first, "while evaluating the argument passed to builtins.listToAttrs"):
            pair = set_of(item, "while evaluating an element of the list passed to builtins.listToAttrs")
            named: Value = attribute(pair, "name", "in a {name=...; value=...;} pair")
            if type(named) is not str:
                purpose = "while evaluating the `name` attribute of an element of the list passed to builtins.listToAttrs"
                named = plain_text(named, purpose, attribute_position(pair, "name"))
            if named not in result:
                result[named] = attribute(pair, "value", "in a {name=...; value=...;} pair")
        return result


@final
@mypyc_attr(acyclic=True)
class _Mapped(Node):
    """An element of `map`: the thunk carries the element that it is made of."""

    def __init__(self, function: Value) -> None:
        self.function = function

    def run(self, thunk: Thunk) -> Value:
        function: Value = self.function
        if type(function) is Closure:
            return function.call(thunk.value)
        return call(function, thunk.value)

    def called_at(self, error: EvalError, position: int) -> None:
        called_when_needed(error, self.function, position)


@final
@mypyc_attr(acyclic=True)
class Map(Primitive):
    """`map function list`. The function isn't looked at if there is nothing to apply it to."""

    def call2(self, first: Value, second: Value) -> Value:
        items = list_of(second, "while evaluating the second argument passed to builtins.map")
        if not items:
            return items
        node = _Mapped(callable_value(first, "while evaluating the first argument passed to builtins.map"))
        return tuple([Thunk(node, UNDEFINED, item) for item in items])


@final
@mypyc_attr(acyclic=True)
class Partition(Primitive):
    """`partition predicate list`."""

    def call2(self, first: Value, second: Value) -> Value:
        predicate: Value = callable_value(first, "while evaluating the first argument passed to builtins.partition")
        right: list[Any] = []
        wrong: list[Any] = []
        for item in list_of(second, "while evaluating the second argument passed to builtins.partition"):
            if type(item) is Thunk:
                force_thunk(item)
            if holds(predicate, item, "while evaluating the return value of the partition function passed to builtins.partition"):
                right.append(item)
            else:
                wrong.append(item)
        return {"right": tuple(right), "wrong": tuple(wrong)}


@final
@mypyc_attr(acyclic=True)
class Tail(Primitive):
    """`tail list`."""

    def call1(self, first: Value) -> Value:
        items = list_of(first, "while evaluating the first argument passed to 'builtins.tail'")
        if not items:
            raise EvalError("'builtins.tail' called on an empty list")
        return items[1:]


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [
        All("all", 2),
        Any_("any", 2),
        ConcatLists("concatLists", 1),
        ConcatMap("concatMap", 2),
        Elem("elem", 2),
        ElemAt("elemAt", 2),
        Filter("filter", 2),
        Foldl("foldl'", 3),
        GenList("genList", 2),
        GenericClosure("genericClosure", 1),
        GroupBy("groupBy", 2),
        Head("head", 1),
        Length("length", 1),
        ListToAttrs("listToAttrs", 1),
        Map("map", 2),
        Partition("partition", 2),
        Sort("sort", 2),
        Tail("tail", 1),
    ]
