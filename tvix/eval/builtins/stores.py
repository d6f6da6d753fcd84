"""Builtins that have to do with a store.

`placeholder` only computes. The others need a store or a network: whoever has one gives builtins of the same names to the
evaluator (`Settings.primitives`); these here say that there is none. `derivation` is written in the language (`core_packages`) and
needs a store only where a path of its result is asked for.
"""

from __future__ import annotations

from tvix.eval import core_packages
from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import plain_text
from tvix.eval.errors import EvalError
from tvix.eval.functions import Primitive
from tvix.eval.values import Node, Thunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value

_ABSENT: Final[tuple[tuple[str, int], ...]] = (
    *(("derivationStrict", 1), ("filterSource", 2), ("path", 1), ("storePath", 1), ("toFile", 2)),
    *(("fetchGit", 1), ("fetchMercurial", 1), ("fetchTarball", 1), ("fetchurl", 1)),
)


@final
@mypyc_attr(acyclic=True)
class Placeholder(Primitive):
    """`placeholder output`: what stands for the path of an output until that is known."""

    def call1(self, first: Value) -> Value:
        from hashlib import sha256

        from tvix.nix_compat.nixbase32 import encode

        name = plain_text(first, "while evaluating the first argument passed to builtins.placeholder")
        return "/" + encode(sha256(b"nix-output:" + name.encode("latin-1")).digest())


@final
@mypyc_attr(acyclic=True)
class Absent(Primitive):
    """A builtin that needs a store, where there is none."""

    def call1(self, first: Value) -> Value:
        raise EvalError(f"'{self.name}' needs a store, and this evaluation has none")

    def call2(self, first: Value, second: Value) -> Value:
        return self.call1(first)


@final
@mypyc_attr(acyclic=True)
class CoreFile(Node):
    """The value of a file of the evaluator's own; the thunk carries its path."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator

    def run(self, thunk: Thunk) -> Value:
        path = thunk.env
        assert isinstance(path, str)
        return self.evaluator.file(path)


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [Placeholder("placeholder", 1), *[Absent(name, arity) for name, arity in _ABSENT]]


def constants(evaluator: Evaluator) -> list[tuple[str, object]]:
    """What of this theme is no builtin function."""
    return [("derivation", Thunk(CoreFile(evaluator), core_packages.path("derivation-internal.nix"), None))]
