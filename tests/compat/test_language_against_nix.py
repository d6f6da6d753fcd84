"""Random programs mean here what they mean to Nix 2.26: the same value, or the same error with the same trace.

`SEED=n` replays a run; `make soak` asks about ten times as many. A difference shows the program, which then belongs into tests/lang.
"""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING

import pytest

from tvix.testing.expressions import Expressions
from tvix.testing.nix_answers import DIED, ours, theirs

if TYPE_CHECKING:
    from pathlib import Path

    from tvix.testing.stock_nix import StockNix

pytestmark = [pytest.mark.nix, pytest.mark.root, pytest.mark.soak]

_BATCH = 200
_MISSING = re.compile(r"without required argument '[^\n]*' @")
_RECURSION = re.compile(r"(?<=error: infinite recursion encountered) @\d+:\d+$")
_UNSEEN = re.compile("«(?:thunk|repeated)»")


def _is_known(nix: str, here: str) -> bool:
    """Whether a difference is one of those that we leave, each for the reason beside it."""
    if "operation 'addToStore' is not supported by store 'dummy'" in nix and "this evaluation has no store" in here:
        return True  # neither has a store to copy a path to
    if _MISSING.sub("", nix) == _MISSING.sub("", here):
        return True  # of several, C++ Nix names the one whose name it has read first in its life
    if "error: undefined variable" in nix and "error: undefined variable" in here:
        return True  # the same: it visits the attributes of a set in that order
    if _RECURSION.sub("", nix) == _RECURSION.sub("", here):
        return True  # and which of two variables that are each other is the one it has seen before
    if "does not exist and cannot be created" in nix and "appendContext" in nix:
        return True  # it looks for the paths of a context in the store
    if "stack overflow" in here and ("stack overflow" in nix or nix == DIED):
        return True  # a value without end
    if "«repeated»" in nix and "«repeated»" in here and nix.partition("«repeated»")[0][:1] == here[:1]:
        return True  # lists of one or two elements are copied there, so a value that holds itself goes one turn further
    if '«lambda "" @' in nix and nix.replace('«lambda "" @', "«lambda @") == here:
        return True  # a function bound to "" has no name here
    # Functions, empty sets and variables are values here before anything has asked for them; which thunks of C++ Nix share one value
    # is an accident of its memory.
    return bool(_UNSEEN.search(nix)) and _matches(nix, here)


def _matches(nix: str, here: str) -> bool:
    pattern = ".*".join(re.escape(piece) for piece in _UNSEEN.split(nix))
    return re.fullmatch(pattern, here, re.DOTALL) is not None


def _differences(nix: StockNix, files: list[Path]) -> list[str]:
    found = []
    for file, said in theirs(nix, files).items():
        here = ours(file, nix.home)
        if here != said and not _is_known(said, here):
            found.append(f"{file.read_text()}\n  Nix: {said}\n  here: {here}")
    return found


def test_random_programs(nix226: StockNix, tmp_path: Path, seed: int, soak: bool) -> None:
    expressions = Expressions(Random(seed))
    found: list[str] = []
    for batch in range(100 if soak else 10):
        files = []
        for index in range(_BATCH):
            file = tmp_path / f"{batch}-{index}.nix"
            file.write_text(expressions.program())
            files.append(file)
        found += _differences(nix226, files)
    assert not found, "\n\n".join([f"{len(found)} differences, SEED={seed}", *found[:20]])
