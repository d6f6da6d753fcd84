"""From resolved code to nodes.

Each kind of expression has a node class of its own, and some have several: one for what is common and can be done faster. Pieces of
code that are still bytes become `Later` nodes, which are compiled when they are first needed: most of a large file never is.
"""

from __future__ import annotations

import marshal

from tvix.eval import code
from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.errors import EvalError
from tvix.eval.functions import Formal, FormalsLambda, Lambda
from tvix.eval.nodes.calls import Builtin1, Builtin2, Builtin3, Call1, Call2, CallN, IsType
from tvix.eval.nodes.control import And, Assert, Equal, EqualText, If, Implies, Not, Or
from tvix.eval.nodes.operators import (
    Add,
    Concatenate,
    Divide,
    Interpolation,
    Less,
    ListLiteral,
    ListOne,
    Multiply,
    Negate,
    PathInterpolation,
    Subtract,
)
from tvix.eval.nodes.selection import Has, HasPath, Name, Select, SelectOr, SelectPath, SelectPathOr
from tvix.eval.nodes.sets import Binding, DynamicBinding, Let, LetOne, RecursiveSet, SetLiteral, Update, With
from tvix.eval.nodes.variables import (
    Argument,
    Argument0,
    Argument1,
    Constant,
    CurrentPosition,
    LazyConstant,
    Nodes,
    Placed,
    Sibling,
    Slot,
    Slot0,
    Slot1,
    WithVariable,
)
from tvix.eval.paths import normal
from tvix.eval.values import UNDEFINED, Env, Node, Path, Thunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64
    from tvix.eval.code import Code
    from tvix.eval.functions import Primitive
    from tvix.eval.observer import Observer
    from tvix.eval.values import Value

_EMPTY_SET: Final[dict[str, Any]] = {}
_IS_TYPE: Final[dict[str, int]] = {
    "__isAttrs": 0,
    "__isList": 1,
    "__isString": 2,
    "__isFunction": 3,
    "__isNull": 4,
    "isNull": 4,
    "__isBool": 5,
    "__isInt": 6,
}
"""Builtins for which `nodes.calls.IsType` stands."""


@final
class Surroundings:
    """What an evaluator gives to the code of all its files."""

    def __init__(self, globals_: dict[str, Any], primitives: dict[str, Primitive], home: str) -> None:
        self.globals = globals_
        """The values of names that are in scope everywhere."""
        self.primitives = primitives
        """By the names that are in scope everywhere, `__head` among them."""
        self.home = home
        """What `~` means; empty where it means nothing."""
        self.explain_assertion: Any = None
        """From a position to the text of the condition there."""
        self.describe_position: Any = None
        """From a position to the value of `__curPos`."""
        self.observer: Observer | None = None


@final
class Compiler:
    """Compiles the code of one source, whose directory is `base`. `first_position` is its offset 0."""

    def __init__(self, surroundings: Surroundings, base: str, first_position: int) -> None:
        self.surroundings = surroundings
        self.base = base
        self.first_position: i64 = first_position

    def compile(self, piece: Code) -> Node:
        """The node of a piece of code."""
        if type(piece) is bytes:
            return Later(piece, self)
        operands: tuple[Any, ...] = piece  # type: ignore[assignment]
        kind: int = operands[0]
        if kind <= code.LAST_TRIVIAL:
            return self._variable(kind, operands)
        node = self._expression(kind, operands)
        observer = self.surroundings.observer
        if observer is None:
            return node
        from tvix.eval.nodes.observed import observed

        return observed(node, code.WORDS[kind], observer)

    def _expression(self, kind: int, operands: tuple[Any, ...]) -> Node:
        if kind < code.LAMBDA:
            return self._use(kind, operands)
        if kind < code.IF:
            return self._scope(kind, operands)
        if kind < code.FIRST_BINARY:
            return self._other(kind, operands)
        return self._binary(kind, operands)

    def _variable(self, kind: int, operands: tuple[Any, ...]) -> Node:
        if kind == code.CONSTANT:
            return Constant(operands[1], 0)
        if kind == code.ARGUMENT:
            scopes: int = operands[1]
            at = self._at(operands[2])
            return Argument0(at) if scopes == 0 else Argument1(at) if scopes == 1 else Argument(scopes, at)
        if kind == code.SLOT:
            scopes = operands[1]
            index: int = operands[2]
            at = self._at(operands[3])
            return Slot0(index, at) if scopes == 0 else Slot1(index, at) if scopes == 1 else Slot(scopes, index, at)
        if kind == code.GLOBAL:
            value: Value = self.surroundings.globals[operands[1]]
            at = self._at(operands[2])
            return LazyConstant(value, at) if type(value) is Thunk else Constant(value, at)
        if kind == code.SIBLING:
            return Sibling(self.compile(operands[1]))
        if kind == code.WITH_VARIABLE:
            sets: Placed | None = None
            outwards: tuple[Any, ...] = operands[2]
            index = len(outwards) - 2
            while index >= 0:
                scope = self._variable(code.ARGUMENT, (code.ARGUMENT, outwards[index], outwards[index + 1]))
                sets = Placed(scope, self._at(outwards[index + 1]), sets)
                index -= 2
            return WithVariable(operands[1], sets, self._at(operands[3]))
        if kind == code.PATH:
            return Constant(Path(normal(self._absolute(operands[1]))), 0)
        return CurrentPosition(self._at(operands[1]), self.surroundings.describe_position)

    def _use(self, kind: int, operands: tuple[Any, ...]) -> Node:
        if kind == code.APPLY:
            function = self.compile(operands[1])
            arguments: tuple[Any, ...] = operands[2]
            at = self._at(operands[3])
            if len(arguments) == 1:
                return Call1(function, self.compile(arguments[0]), at)
            if len(arguments) == 2:
                return Call2(function, self.compile(arguments[0]), self.compile(arguments[1]), at)
            return CallN(function, self._list(arguments), at)
        if kind == code.BUILTIN:
            return self._builtin(operands[1], operands[2], self._at(operands[3]))
        if kind == code.SELECT:
            return Select(self.compile(operands[1]), operands[2], self._at(operands[3]))
        if kind == code.SELECT_PATH:
            return SelectPath(self.compile(operands[1]), self._names(operands[2]), self._at(operands[3]))
        names: tuple[Any, ...] = operands[2]
        set_ = self.compile(operands[1])
        if kind == code.SELECT_OR:
            default = self.compile(operands[3])
            at = self._at(operands[4])
            if len(names) == 1 and type(names[0]) is str:
                return SelectOr(set_, names[0], default, at)
            return SelectPathOr(set_, self._names(names), default, at)
        if len(names) == 1 and type(names[0]) is str:
            return Has(set_, names[0])
        return HasPath(set_, self._names(names))

    def _builtin(self, name: str, arguments: tuple[Any, ...], at: i64) -> Node:
        primitive = self.surroundings.primitives[name]
        first = self.compile(arguments[0])
        if len(arguments) == 1:
            if name in _IS_TYPE:
                return IsType(_IS_TYPE[name], first, primitive.name, at)
            return Builtin1(primitive, first, at)
        if len(arguments) == 2:
            return Builtin2(primitive, first, self.compile(arguments[1]), at)
        return Builtin3(primitive, first, self.compile(arguments[1]), self.compile(arguments[2]), at)

    def _scope(self, kind: int, operands: tuple[Any, ...]) -> Node:
        if kind == code.LAMBDA:
            return Lambda(operands[1], self.compile(operands[2]), self._at(operands[3]), operands[4])
        if kind == code.FORMALS:
            return self._formals(operands)
        if kind == code.LET:
            values: tuple[Any, ...] = operands[1]
            body = self.compile(operands[2])
            return LetOne(self.compile(values[0]), body) if len(values) == 1 else Let(self._list(values), body)
        if kind == code.SET:
            if not operands[1] and not operands[2]:
                return Constant(_EMPTY_SET, self._at(operands[3]))
            return SetLiteral(self._bindings(operands[1]), self._dynamic(operands[2]), self._at(operands[3]))
        if kind == code.RECURSIVE:
            bindings, dynamic = self._bindings(operands[1]), self._dynamic(operands[2])
            return RecursiveSet(bindings, dynamic, operands[4], self._list(operands[5]), self._at(operands[3]))
        if kind == code.WITH:
            return With(self.compile(operands[1]), self.compile(operands[2]), self._at(operands[3]))
        if kind == code.INHERIT_SOURCES:
            return Let(self._list(operands[1]), self.compile(operands[2]))
        items: tuple[Any, ...] = operands[1]
        if not items:
            return Constant((), 0)
        return ListOne(self.compile(items[0])) if len(items) == 1 else ListLiteral(self._list(items))

    def _formals(self, operands: tuple[Any, ...]) -> Node:
        names: tuple[Any, ...] = operands[1]
        defaults: tuple[Any, ...] = operands[2]
        positions: tuple[Any, ...] = operands[3]
        formal: Formal | None = None
        index = len(names) - 1
        while index >= 0:
            default = None if defaults[index] is None else self.compile(defaults[index])
            plain = type(default) is Constant or type(default) is Lambda or type(default) is FormalsLambda
            formal = Formal(names[index], default, plain, self._at(positions[index]), formal)
            index -= 1
        return FormalsLambda(formal, operands[4], operands[5], self.compile(operands[6]), self._at(operands[7]), operands[8])

    def _other(self, kind: int, operands: tuple[Any, ...]) -> Node:
        if kind == code.IF:
            condition, yes, no = self.compile(operands[1]), self.compile(operands[2]), self.compile(operands[3])
            return If(condition, yes, no, self._at(operands[4]))
        if kind == code.INTERPOLATION:
            return Interpolation(self._placed(operands[1], operands[2]), self._at(operands[3]))
        if kind == code.ASSERT:
            condition, body = self.compile(operands[1]), self.compile(operands[2])
            return Assert(condition, body, self._at(operands[3]), self.surroundings.explain_assertion)
        if kind == code.PATH_INTERPOLATION:
            parts = self._placed(operands[2], operands[3])
            return PathInterpolation(self._absolute(operands[1]), parts, self._at(operands[4]))
        operand = self.compile(operands[1])
        return Not(operand) if kind == code.NOT else Negate(operand, self._at(operands[2]))

    def _binary(self, kind: int, operands: tuple[Any, ...]) -> Node:
        left, right = self.compile(operands[1]), self.compile(operands[2])
        at = self._at(operands[3])
        if kind == code.EQUAL or kind == code.NOT_EQUAL:
            if type(right) is Constant and type(right.value) is str:
                return EqualText(left, right.value, kind == code.NOT_EQUAL)
            return Equal(left, right, kind == code.NOT_EQUAL)
        if kind == code.AND:
            return And(left, right, at)
        if kind == code.OR:
            return Or(left, right, at)
        if kind == code.IMPLIES:
            return Implies(left, right, at)
        if kind == code.UPDATE:
            return Update(left, right, at)
        if kind == code.CONCATENATE:
            return Concatenate(left, right, at)
        if kind == code.ADD:
            return Add(left, right, at, self._at(operands[4]), self._at(operands[5]))
        if kind == code.SUBTRACT:
            return Subtract(left, right, at)
        if kind == code.LESS or kind == code.GREATER_OR_EQUAL:
            return Less(left, right, kind == code.GREATER_OR_EQUAL, at)
        if kind == code.GREATER or kind == code.LESS_OR_EQUAL:
            return Less(right, left, kind == code.LESS_OR_EQUAL, at)
        return Multiply(left, right, at) if kind == code.MULTIPLY else Divide(left, right, at)

    def _at(self, offset: i64) -> i64:
        return 0 if offset < 0 else self.first_position + offset

    def _absolute(self, written: str) -> str:
        if written.startswith("/"):
            return written
        if not written.startswith("~"):
            return self.base + "/" + written
        if not self.surroundings.home:
            raise EvalError(f"the path '{written}' can not be resolved in pure mode")
        return self.surroundings.home + written[1:]

    def _list(self, pieces: tuple[Any, ...]) -> Nodes | None:
        result: Nodes | None = None
        index = len(pieces) - 1
        while index >= 0:
            result = Nodes(self.compile(pieces[index]), result)
            index -= 1
        return result

    def _placed(self, pieces: tuple[Any, ...], positions: tuple[int, ...]) -> Placed | None:
        result: Placed | None = None
        index = len(pieces) - 1
        while index >= 0:
            result = Placed(self.compile(pieces[index]), self._at(positions[index]), result)
            index -= 1
        return result

    def _names(self, names: tuple[Any, ...]) -> Name | None:
        result: Name | None = None
        index = len(names) - 1
        while index >= 0:
            name: Any = names[index]
            result = Name(name, None, result) if type(name) is str else Name("", self.compile(name), result)
            index -= 1
        return result

    def _bindings(self, entries: tuple[Any, ...]) -> Binding | None:
        result: Binding | None = None
        index = len(entries) - 3
        while index >= 0:
            result = Binding(entries[index], self.compile(entries[index + 1]), self._at(entries[index + 2]), result)
            index -= 3
        return result

    def _dynamic(self, entries: tuple[Any, ...]) -> DynamicBinding | None:
        result: DynamicBinding | None = None
        index = len(entries) - 1
        while index >= 0:
            entry: tuple[Any, ...] = entries[index]
            binding = Binding("", self.compile(entry[1]), self._at(entry[2]), None)
            result = DynamicBinding(self.compile(entry[0]), binding, result)
            index -= 1
        return result


@final
@mypyc_attr(acyclic=True)
class Later(Node):
    """A piece of code that is compiled when it is first needed."""

    def __init__(self, piece: bytes, compiler: Compiler) -> None:
        self.piece: bytes | None = piece
        self.compiler: Compiler | None = compiler
        self.node: Node | None = None

    def get(self) -> Node:
        """The node that this stands for."""
        node = self.node
        if node is None:
            piece, compiler = self.piece, self.compiler
            assert piece is not None
            assert compiler is not None
            node = self.node = compiler.compile(marshal.loads(piece))
            self.piece = None
            self.compiler = None
        return node

    def evaluate(self, env: Env) -> Value:
        return self.get().evaluate(env)

    def delay(self, env: Env) -> Value:
        node = self.node
        return Thunk(self, env, None) if node is None else node.delay(env)

    def peek(self, env: Env) -> Value:
        node = self.node
        return UNDEFINED if node is None else node.peek(env)

    def test(self, env: Env) -> bool:
        return self.get().test(env)

    def update(self, env: Env) -> Value:
        return self.get().update(env)

    def position(self) -> int:
        return self.get().position()
