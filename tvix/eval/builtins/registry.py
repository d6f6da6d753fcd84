"""All builtins of an evaluator, by the names they have in scope and by those they have in `builtins`.

Registered as `__head`, a builtin is `builtins.head` and, everywhere, `__head`; those of `IN_SCOPE` have no underscores.
"""

from __future__ import annotations

from tvix.eval.functions import BuiltinFunction, Primitive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.observer import Observer

IN_SCOPE: Final = frozenset(
    (
        "abort", "baseNameOf", "break", "derivation", "derivationStrict", "dirOf", "fetchGit", "fetchMercurial", "fetchTarball",
        "fetchTree", "fromTOML", "import", "isNull", "map", "placeholder", "removeAttrs", "scopedImport", "throw", "toString",
    )
)  # fmt: skip


class Registry:
    """What the resolver and the compiler need of the builtins."""

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self.globals: dict[str, Any] = {"true": True, "false": False, "null": None}
        self.primitives: dict[str, Primitive] = {}
        self.arities: dict[str, int] = {}
        self.set: dict[str, Any] = {"true": True, "false": False, "null": None}
        self.globals["builtins"] = self.set["builtins"] = self.set

    def add(self, primitives: Iterable[Primitive]) -> None:
        """Register builtins; one that is there already is replaced."""
        for given in primitives:
            primitive = given
            if self._observer is not None:
                from tvix.eval.nodes.observed import ObservedPrimitive

                primitive = ObservedPrimitive(given, self._observer)
            function = BuiltinFunction(primitive, 0, None, None)
            name = in_scope(primitive.name)
            self.globals[name] = function
            self.primitives[name] = primitive
            self.arities[name] = int(primitive.arity)
            self.set[primitive.name] = function

    def add_constant(self, name: str, value: Any) -> None:
        """Register a value that is no function; it may be a thunk."""
        self.globals[in_scope(name)] = value
        self.set[name] = value


def in_scope(name: str) -> str:
    """What `builtins.NAME` is called where no `builtins.` stands before it."""
    return name if name in IN_SCOPE else "__" + name


def standard(evaluator: Evaluator) -> Registry:
    """Every builtin that needs no store and no network."""
    from tvix.eval.builtins import (
        arithmetic,
        attributes,
        context,
        control,
        debugging,
        files,
        flakes,
        formats,
        hashes,
        lists,
        patterns,
        stores,
        strings,
        types,
        versions,
    )

    registry = Registry(evaluator.settings.observer)
    for primitives in (
        *(arithmetic.primitives(evaluator), attributes.primitives(evaluator), context.primitives(evaluator)),
        *(control.primitives(evaluator), debugging.primitives(evaluator), files.primitives(evaluator)),
        *(flakes.primitives(evaluator), formats.primitives(evaluator)),
        *(hashes.primitives(evaluator), lists.primitives(evaluator)),
        *(
            patterns.primitives(evaluator),
            stores.primitives(evaluator),
            strings.primitives(evaluator),
            types.primitives(evaluator),
            versions.primitives(evaluator),
        ),
    ):
        registry.add(primitives)
    for name, value in (*files.constants(evaluator), *stores.constants(evaluator), *types.constants(evaluator)):
        registry.add_constant(name, value)
    return registry
