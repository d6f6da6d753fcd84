"""Functions and calls.

`x: body` is a `Closure`, `{ a, b ? c, ... }@x: body` a `FormalsClosure`, a builtin that lacks arguments a `BuiltinFunction`. The
type tests below are exact (`type(f) is Closure`): mypyc turns them into one comparison of pointers.
"""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.errors import CALL, EvalError, MissingArgument, StackOverflow, TypeMismatch, UnexpectedArgument
from tvix.eval.values import (
    MACHINE,
    NO_SLOTS,
    UNDEFINED,
    Env,
    Node,
    Thunk,
    attribute_position,
    force,
    force_thunk,
    too_deep,
    wrong_type,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64
    from tvix.eval.values import Value


_CALL_SITE: Final = "from call site"
_CALLING_A_FUNCTOR: Final = "while calling a functor (an attribute set with a '__functor' attribute)"


@mypyc_attr(acyclic=True)
class Function:
    """What can be called with one argument after the other."""

    def call(self, argument: Value) -> Value:
        """The value of the call, in weak head normal form. The argument may be a thunk."""
        raise NotImplementedError

    def call2(self, first: Value, second: Value) -> Value:
        """Two arguments at once."""
        return call(self.call(first), second)


@final
@mypyc_attr(acyclic=True)
class Lambda(Node):
    """`x: body`. `name` is what it was bound to first, for traces."""

    def __init__(self, parameter: str, body: Node, position: i64, name: str) -> None:
        self.parameter = parameter
        self.body = body
        self.at = position
        self.name = name

    def evaluate(self, env: Env) -> Value:
        return Closure(self, env)

    def delay(self, env: Env) -> Value:
        return Closure(self, env)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class Closure(Function):
    """`x: body` with the scope that it stands in."""

    __slots__ = ("env", "node")

    def __init__(self, node: Lambda, env: Env) -> None:
        self.node = node
        self.env = env

    def call(self, argument: Value) -> Value:
        machine = MACHINE
        machine.depth += 1
        if machine.depth > machine.max_depth:
            too_deep()
        node = self.node
        try:
            result: Value = node.body.evaluate(Env(NO_SLOTS, self.env, argument))
        except EvalError as error:
            error.called(int(node.at), "while calling " + described(node.name))
            raise
        machine.depth -= 1
        return result

    def call2(self, first: Value, second: Value) -> Value:
        node = self.node
        body = node.body
        if type(body) is not Lambda:
            return call(self.call(first), second)
        machine = MACHINE
        machine.depth += 1
        if machine.depth > machine.max_depth:
            too_deep()
        try:
            result: Value = body.body.evaluate(Env(NO_SLOTS, Env(NO_SLOTS, self.env, first), second))
        except EvalError as error:
            error.called(int(body.at), "while calling " + described(body.name))
            raise
        machine.depth -= 1
        return result


@final
@mypyc_attr(acyclic=True)
class Formal:
    """One name of a set pattern, and the next. A `plain` default can be delayed before all slots are filled."""

    def __init__(self, name: str, default: Node | None, plain: bool, position: i64, after: Formal | None) -> None:
        self.name = name
        self.default = default
        self.plain = plain
        self.at = position
        self.after = after


@final
@mypyc_attr(acyclic=True)
class FormalsLambda(Node):
    """`{ a, b ? c, ... }@x: body`. The slots of its scope are the formals in order, then `x`."""

    def __init__(self, first: Formal | None, ellipsis: bool, argument: str, body: Node, position: i64, name: str) -> None:
        self.first = first
        self.ellipsis = ellipsis
        self.argument = argument
        self.body = body
        self.at = position
        self.name = name

    def evaluate(self, env: Env) -> Value:
        return FormalsClosure(self, env)

    def delay(self, env: Env) -> Value:
        return FormalsClosure(self, env)

    def position(self) -> int:
        return int(self.at)


@final
@mypyc_attr(acyclic=True)
class FormalsClosure(Function):
    """A function with a set pattern, and the scope that it stands in."""

    __slots__ = ("env", "node")

    def __init__(self, node: FormalsLambda, env: Env) -> None:
        self.node = node
        self.env = env

    def call(self, argument: Value) -> Value:
        node = self.node
        if type(argument) is not dict:
            argument = self._set(argument)
        given: dict[str, Any] = argument
        slots: list[Any] = []
        env = Env(slots, self.env, None)
        matched: i64 = 0
        formal = node.first
        while formal is not None:
            value: Value = given.get(formal.name, UNDEFINED)
            if value is not UNDEFINED:
                matched += 1
                slots.append(value)
            else:
                default = formal.default
                if default is None:
                    raise self._missing(formal.name)
                slots.append(default.delay(env) if formal.plain else Thunk(default, env, None))
            formal = formal.after
        if node.argument:
            slots.append(argument)
        if not node.ellipsis and matched < len(given):
            raise self._unexpected(given)
        machine = MACHINE
        machine.depth += 1
        if machine.depth > machine.max_depth:
            too_deep()
        try:
            result: Value = node.body.evaluate(env)
        except EvalError as error:
            error.called(int(node.at), "while calling " + described(node.name))
            raise
        machine.depth -= 1
        return result

    def _set(self, argument: Value) -> Value:
        """The argument, evaluated: it has to be a set."""
        try:
            if type(argument) is Thunk:
                argument = force_thunk(argument)
            if type(argument) is dict:
                return argument
            error = wrong_type("a set", argument)
            error.while_(int(self.node.at), "while evaluating the value passed for the lambda argument")
            raise error
        except EvalError as problem:
            problem.while_(0, "")  # for `called` to fill in
            raise

    def _missing(self, name: str) -> EvalError:
        text = f"function '{named(self.node.name)}' called without required argument '{name}'"
        error = MissingArgument(text, int(self.node.at))
        error.while_(0, _CALL_SITE)
        return error

    def _unexpected(self, given: dict[str, Any]) -> EvalError:
        names = formal_names(self.node)
        wrong = ""
        for name in given:
            if name not in names:
                wrong = name
                break
        from tvix.eval.nearest import nearest
        from tvix.eval.printer import name_text

        text = f"function '{named(self.node.name)}' called with unexpected argument '{name_text(wrong)}'"
        error = UnexpectedArgument(text, int(self.node.at), nearest(wrong, names))
        error.while_(0, _CALL_SITE)
        return error


def name_function(node: Node, name: str) -> None:
    """Call a function, and those that it returns at once, by the name that it is bound to."""
    while type(node) is Lambda or type(node) is FormalsLambda:
        node.name = name
        node = node.body


def formal_names(node: FormalsLambda) -> list[str]:
    """The names of a set pattern, as written."""
    names: list[str] = []
    formal = node.first
    while formal is not None:
        names.append(formal.name)
        formal = formal.after
    return names


def named(name: str) -> str:
    """What a trace calls a function in quotes."""
    return name or "anonymous lambda"


def described(name: str) -> str:
    """What a trace calls a function after "while calling"."""
    return f"'{name}'" if name else "anonymous lambda"


@mypyc_attr(acyclic=True)
class Primitive:
    """What a builtin does: one of the `call` methods, by its arity. Arguments may be thunks, the answer is never one.

    A builtin that takes more than three arguments doesn't exist. `name` is what traces say, without the underscores.
    """

    def __init__(self, name: str, arity: i64) -> None:
        self.name = name
        self.arity = arity

    def call1(self, first: Value) -> Value:
        raise NotImplementedError

    def call2(self, first: Value, second: Value) -> Value:
        raise NotImplementedError

    def call3(self, first: Value, second: Value, third: Value) -> Value:
        raise NotImplementedError

    def itself(self) -> Primitive:
        """The builtin, where this is what an observer put around it."""
        return self


def in_builtin(error: EvalError, primitive: Primitive, position: int) -> None:
    """Have the error of a builtin say which one that is. The one that adds a frame itself isn't named, nor is
    the one that leaves its argument to be evaluated by who needs it; and a call that is too deep fails before it begins.
    """
    if isinstance(error, StackOverflow) and not error.frames:
        error.at(position)
    elif primitive.name != "addErrorContext" and primitive.name != "break":
        error.while_(position, f"while calling the '{primitive.name}' builtin")


@final
@mypyc_attr(acyclic=True)
class BuiltinFunction(Function):
    """A builtin with fewer arguments than it needs: `given` of them, none, one or two."""

    def __init__(self, primitive: Primitive, given: i64, first: Value, second: Value) -> None:
        self.primitive = primitive
        self.given = given
        self.first = first
        self.second = second

    def call(self, argument: Value) -> Value:
        primitive = self.primitive
        arity = primitive.arity
        given = self.given
        if given + 1 < arity:
            if given == 0:
                return BuiltinFunction(primitive, 1, argument, None)
            return BuiltinFunction(primitive, 2, self.first, argument)
        try:
            if arity == 1:
                return primitive.call1(argument)
            if arity == 2:
                return primitive.call2(self.first, argument)
            return primitive.call3(self.first, self.second, argument)
        except EvalError as error:
            in_builtin(error, primitive, 0)
            raise

    def call2(self, first: Value, second: Value) -> Value:
        primitive = self.primitive
        given = self.given
        if given + 2 != primitive.arity:
            return call(self.call(first), second)
        try:
            if given == 0:
                return primitive.call2(first, second)
            return primitive.call3(self.first, first, second)
        except EvalError as error:
            in_builtin(error, primitive, 0)
            raise


def call(function: Value, argument: Value) -> Value:
    """`function argument`, in weak head normal form; either may be a thunk."""
    if type(function) is Closure:
        return function.call(argument)
    if type(function) is FormalsClosure:
        return function.call(argument)
    if type(function) is BuiltinFunction:
        return function.call(argument)
    if type(function) is Thunk:
        return call(force_thunk(function), argument)
    return _call_functor(function, argument)


def _call_functor(value: Value, argument: Value) -> Value:
    function: Value = functor(value)
    machine = MACHINE
    machine.depth += 1
    try:
        function = force(function)
        try:
            if machine.depth > machine.max_depth:
                too_deep()
            result: Value = call2(function, value, argument)
        except EvalError as error:
            called(error, attribute_position(value, "__functor"))
            raise
    except EvalError as error:
        error.while_(0, _CALLING_A_FUNCTOR)
        raise
    machine.depth -= 1
    return result


def call2(function: Value, first: Value, second: Value) -> Value:
    """`function first second`."""
    if type(function) is Closure:
        return function.call2(first, second)
    if type(function) is BuiltinFunction:
        return function.call2(first, second)
    return call(call(function, first), second)


def functor(value: Value) -> Value:
    """The `__functor`, perhaps put off, of a set that is called; it takes the set first. Raises `TypeMismatch`."""
    if type(value) is dict:
        attributes: dict[str, Any] = value
        found: Value = attributes.get("__functor", UNDEFINED)
        if found is not UNDEFINED:
            return found
    from tvix.eval.describe import describe

    raise TypeMismatch(f"attempt to call something which is not a function but {describe(value)}")


def callable_value(value: Value, purpose: str) -> Value:
    """The function that a builtin was given, or the set that can be called like one; every error says `purpose`. Raises
    `TypeMismatch`.
    """
    try:
        if type(value) is Thunk:
            value = force_thunk(value)
        if is_function(value) or (type(value) is dict and "__functor" in value):
            return value
        raise wrong_type("a function", value)
    except EvalError as error:
        error.while_(0, purpose)
        raise


def is_function(value: Value) -> bool:
    """Whether a value in weak head normal form is a function; a set with `__functor` isn't."""
    return type(value) is Closure or type(value) is FormalsClosure or type(value) is BuiltinFunction


def called(error: EvalError, position: int) -> None:
    """Have the error of a call say where it was called. What failed shows in the trace: without one it was the call itself."""
    if not position:
        return
    if not error.frames:
        error.at(position)
        return
    at, text, kind = error.frames[-1]
    if not text or (text == _CALL_SITE and not at and kind != CALL):
        error.frames[-1] = (position, _CALL_SITE, kind)  # type: ignore[call-overload]
    elif kind == CALL and text != _CALL_SITE:
        error.called(position, _CALL_SITE)
    elif not at and (text.endswith("' builtin") or text == _CALLING_A_FUNCTOR):
        error.frames[-1] = (position, text, kind)  # type: ignore[call-overload]


def called_when_needed(error: EvalError, function: Value, position: int) -> None:
    """The same for a call that was put off: see `Node.called_at`."""
    if not position and type(function) is Closure:
        position = int(function.node.at)
    if position:
        called(error, position)
