"""Every builtin that needs neither files nor a store is there, with its arity, in scope as C++ Nix has it."""

from __future__ import annotations

from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io import NoIO

ARITIES = {
    1: """abort addDrvOutputDependencies attrNames attrValues baseNameOf ceil concatLists dirOf floor functionArgs genericClosure
        getContext hasContext head isAttrs isBool isFloat isFunction isInt isList isNull isPath isString length listToAttrs
        parseDrvName splitVersion stringLength tail throw toString tryEval typeOf unsafeDiscardOutputDependency
        unsafeDiscardStringContext""",
    2: """add all any appendContext bitAnd bitOr bitXor catAttrs compareVersions concatMap concatStringsSep deepSeq div elem elemAt
        filter genList getAttr groupBy hasAttr intersectAttrs lessThan map mapAttrs mul partition removeAttrs seq sort sub
        unsafeGetAttrPos zipAttrsWith""",
    3: "foldl' replaceStrings substring",
}
IN_SCOPE = {"abort", "baseNameOf", "dirOf", "isNull", "map", "removeAttrs", "throw", "toString"}


def test_arities_and_names() -> None:
    registry = Evaluator(NoIO()).registry
    for arity, names in ARITIES.items():
        for name in names.split():
            in_scope = name if name in IN_SCOPE else "__" + name
            assert registry.arities[in_scope] == arity, name
            assert name in registry.set, name
            assert name in IN_SCOPE or name not in registry.globals, name


def test_what_depends_on_the_machine_is_not_pure() -> None:
    settings = Settings()
    assert Evaluator(NoIO(), settings).registry.set["currentSystem"] == "x86_64-linux"
    settings.pure = True
    assert "currentSystem" not in Evaluator(NoIO(), settings).registry.set
