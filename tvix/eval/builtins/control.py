"""Errors made and caught, and evaluation on demand."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import coerced
from tvix.eval.deep import force_deeply
from tvix.eval.errors import Aborted, EvalError, Thrown
from tvix.eval.functions import Primitive
from tvix.eval.values import MACHINE, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Abort(Primitive):
    """`abort message`."""

    def call1(self, first: Value) -> Value:
        message = coerced(first, "while evaluating the error message passed to builtins.abort")
        raise Aborted(f"evaluation aborted with the following error message: '{message}'")


@final
@mypyc_attr(acyclic=True)
class Throw(Primitive):
    """`throw message`."""

    def call1(self, first: Value) -> Value:
        raise Thrown(str(coerced(first, "while evaluating the error message passed to builtin.throw")))


@final
@mypyc_attr(acyclic=True)
class TryEval(Primitive):
    """`tryEval value`: what `throw`, `assert` and the search path raise becomes a value."""

    def call1(self, first: Value) -> Value:
        machine = MACHINE
        depth, nesting = machine.depth, machine.nesting
        try:
            value: Value = force(first)
        except EvalError as error:
            if not error.catchable:
                raise
            machine.depth = depth
            machine.nesting = nesting
            return {"success": False, "value": False}
        return {"success": True, "value": value}


@final
@mypyc_attr(acyclic=True)
class Seq(Primitive):
    """`seq first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        force(first)
        return force(second)


@final
@mypyc_attr(acyclic=True)
class DeepSeq(Primitive):
    """`deepSeq first second`."""

    def call2(self, first: Value, second: Value) -> Value:
        force_deeply(first)
        return force(second)


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [Abort("abort", 1), Throw("throw", 1), TryEval("tryEval", 1), Seq("seq", 2), DeepSeq("deepSeq", 2)]
