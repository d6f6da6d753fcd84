"""Values, and how they are put off: the heart of the evaluator.

| Nix | here |
|---|---|
| null, bool, float | `None`, `bool`, `float` |
| int | `int` within 64 bits, signed |
| string | `str`, one character per byte; with context `strings.ContextString` |
| path | `Path` |
| list | `tuple` of values and thunks |
| attribute set | `dict` from `str` to values and thunks, in any order; never changed once it can be seen |
| function | `functions.Closure`, `functions.FormalsClosure`, `functions.BuiltinFunction` |

Where a thunk may stand in place of a value, a type says `Value` too; `force` gives the value in weak head normal form. Every
expression is a `Node` made for its shape, that evaluates itself in an `Env`; there is no dispatch but that virtual call.

What a set literal holds is always a `Thunk`, evaluated or not, whose node is the `nodes.sets.Binding` that defines it. That is how
the position of an attribute is known (`attribute_position`) without a word of memory for it in any set.
"""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.errors import EvalError, InfiniteRecursion, StackOverflow, TypeMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeAlias

    from tvix.eval.annotations import i64

    Value: TypeAlias = Any
    """A value or, where so said, a thunk. mypyc compiles `Any` without a check; the type tests of the code are its narrowing."""


@final
class Undefined:
    """The type of `UNDEFINED`, which is not a Nix value: null is one."""


UNDEFINED: Final = Undefined()
"""What isn't there, or isn't known yet."""


@final
@mypyc_attr(acyclic=True)
class Env:
    """The variables of one scope: `slots` for `let`, `rec` and set patterns, or the single `argument` of everything else."""

    __slots__ = ("argument", "slots", "up")

    def __init__(self, slots: list[Any], up: Env | None, argument: Any) -> None:
        self.slots = slots
        self.up = up
        self.argument = argument


NO_SLOTS: Final[list[Any]] = []
TOP: Final = Env(NO_SLOTS, None, None)
"""The scope of a whole file. Builtins aren't variables: the compiler puts them where they are used."""


@final
class Machine:
    """What evaluation counts: one per process, since it is the C stack that is measured."""

    def __init__(self) -> None:
        self.depth: i64 = 0
        """Calls of functions that haven't returned."""
        self.nesting: i64 = 0
        """Thunks whose evaluation has begun and not ended."""
        self.max_depth: i64 = 10_001
        """One more than `--max-call-depth`: C++ Nix looks before it counts."""
        self.max_nesting: i64 = 400_000
        self.fresh: bool = False
        """Whether the set that `Node.update` just returned belongs to nobody else."""
        self.calls: i64 = 0
        self.thunks: i64 = 0


MACHINE: Final = Machine()


def too_deep() -> Value:
    """Raise the error of a call that exceeds the limit."""
    raise StackOverflow("stack overflow; max-call-depth exceeded")


def enter() -> None:
    """One level deeper into a value. Raises `StackOverflow`."""
    MACHINE.nesting += 1
    if MACHINE.nesting > MACHINE.max_nesting:
        too_deep()


def leave() -> None:
    """Back out of it."""
    MACHINE.nesting -= 1


@mypyc_attr(acyclic=True)
class Node:
    """One expression. Subclasses are final and override what they can do better."""

    def evaluate(self, env: Env) -> Value:
        """The value in weak head normal form: never a thunk."""
        raise NotImplementedError

    def delay(self, env: Env) -> Value:
        """A thunk, or the value itself where that takes no work and can't fail."""
        return Thunk(self, env, None)

    def peek(self, env: Env) -> Value:
        """The value if it is known already, else `UNDEFINED`."""
        return UNDEFINED

    def run(self, thunk: Thunk) -> Value:
        """Evaluate a thunk that carries something else than an `Env`."""
        raise NotImplementedError

    def test(self, env: Env) -> bool:
        """The value where a boolean is demanded."""
        value: Value = self.evaluate(env)
        if value is True:
            return True
        if value is False:
            return False
        raise wrong_type("a Boolean", value)

    def update(self, env: Env) -> Value:
        """As `evaluate`, and says in `MACHINE.fresh` whether the caller may change the resulting set."""
        value: Value = self.evaluate(env)
        MACHINE.fresh = False
        return value

    def position(self) -> int:
        """Where the expression stands, 0 where that isn't kept."""
        return 0

    def called_at(self, error: EvalError, position: int) -> None:
        """Have the error of a put-off call, as the elements of `map` are, say where its value was needed; 0 stands for no place
        but the function's own.
        """


@final
@mypyc_attr(acyclic=True)
class Thunk:
    """A value that is put off. `env` is what `node` needs: an `Env`, or anything else for nodes that `run`; None once `value` is
    there. An evaluated thunk keeps its node, for the position of an attribute, unless that holds on to something.
    """

    __slots__ = ("env", "node", "value")

    def __init__(self, node: Node, env: object, value: Value) -> None:
        self.node = node
        self.env = env
        self.value = value


@final
@mypyc_attr(acyclic=True)
class Evaluated(Node):
    """The node of an evaluated thunk that has nothing to remember."""


EVALUATED: Final = Evaluated()


@final
@mypyc_attr(acyclic=True)
class Blackhole(Node):
    """The node of a thunk that is being run: who comes here needs the value in order to compute it."""

    def run(self, thunk: Thunk) -> Value:
        raise InfiniteRecursion("infinite recursion encountered")


@final
class Busy:
    """What stands for the scope of a thunk while it is being evaluated."""


BLACKHOLE: Final = Blackhole()
BUSY: Final = Busy()


def force_thunk(thunk: Thunk) -> Value:
    """The value of a thunk, evaluated at most once. A failed evaluation leaves it as it was."""
    env = thunk.env
    if env is None:
        return thunk.value
    node = thunk.node
    machine = MACHINE
    machine.nesting += 1
    if machine.nesting > machine.max_nesting:
        raise StackOverflow("stack overflow: values nested too deeply")
    value: Value
    try:
        if type(env) is Env:
            thunk.env = BUSY
            value = node.evaluate(env)
        else:
            if env is BUSY:
                raise InfiniteRecursion("infinite recursion encountered")
            thunk.node = BLACKHOLE
            value = node.run(thunk)
            thunk.node = EVALUATED
    except BaseException as error:
        thunk.node = node
        thunk.env = env
        if isinstance(error, EvalError):
            error.__traceback__ = None  # hundreds of thousands of Python's frames would be kept
        raise
    machine.nesting -= 1
    thunk.value = value
    thunk.env = None
    return value


def is_busy(thunk: Thunk) -> bool:
    """Whether a thunk is being evaluated."""
    return thunk.env is BUSY or thunk.node is BLACKHOLE


def needed_at(error: EvalError, thunk: Thunk, position: int) -> None:
    """Have an error that came out of a thunk say where its value was needed, if that is part of the error."""
    if is_busy(thunk):
        error.at(position)
    else:
        thunk.node.called_at(error, position)


def force(value: Value) -> Value:
    """The value in weak head normal form."""
    if type(value) is Thunk:
        return force_thunk(value)
    return value


def known(value: Value) -> Value:
    """The value if it is evaluated, else `UNDEFINED`."""
    if type(value) is Thunk:
        return value.value if value.env is None else UNDEFINED
    return value


def attribute_position(attributes: dict[str, Value], name: str) -> int:
    """Where the attribute is defined; 0 for those that a builtin made."""
    value: Value = attributes.get(name)
    if type(value) is Thunk:
        return value.node.position()
    return 0


@final
@mypyc_attr(acyclic=True)
class Path:
    """A path value: absolute, and without `.`, `..`, doubled or trailing slashes."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return type(other) is Path and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def wrong_type(wanted: str, value: Value) -> EvalError:
    """The error for a value of the wrong type: `wanted` carries its article, as in "a set"."""
    from tvix.eval.describe import describe

    return TypeMismatch(f"expected {wanted} but found {describe(value)}")
