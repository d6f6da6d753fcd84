"""Random programs mean here what they mean to Nix 2.26: the same value, or the same error with the same trace.

`SEED=n` replays a run; `make soak` asks ten times as many. A difference shows the program, which then belongs into tests/lang.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from random import Random
from typing import TYPE_CHECKING

import pytest

from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator
from tvix.eval.io import NoIO
from tvix.eval.parser import parse
from tvix.eval.positions import line_and_column, offset_of
from tvix.eval.printer import canonical
from tvix.eval.resolver import Resolver
from tvix.testing.expressions import Expressions
from tvix.testing.nix_answers import DIED, ours, theirs, trace_of
from tvix.testing.parser_fuzzing import corpus, mutated

if TYPE_CHECKING:
    from pathlib import Path

    from tvix.testing.stock_nix import StockNix

pytestmark = [pytest.mark.nix, pytest.mark.root, pytest.mark.soak]

_BATCH = 200
_PIPES = "--extra-experimental-features pipe-operators"
_END = "----- END -----"
_OR_WARNING = re.compile("warning: .*uses `or` as an identifier|Wrap this entire|  \\(|Give feedback at|$")
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
    if "basic_string_view::substr" in nix:
        return True  # its own range check stops it where a substring begins behind the end
    if "toml::" in nix and "toml::" in here and nix.count("fromTOML") > here.count("fromTOML"):
        return True  # it prints the piece of TOML that is wrong, too
    if "«repeated»" in nix and "«repeated»" in here and nix.partition("«repeated»")[0][:1] == here[:1]:
        return True  # lists of one or two elements are copied there, so a value that holds itself goes one turn further
    if '«lambda "" @' in nix and nix.replace('«lambda "" @', "«lambda @") == here:
        return True  # a function bound to "" has no name here
    # Functions, empty sets and variables are values here before anything has asked for them; which thunks of C++ Nix share one
    # value is an accident of its memory.
    return _matches(nix, here) or _matches(here, nix)


def _matches(one: str, other: str) -> bool:
    """Whether the second is the first but for what the first doesn't show."""
    pattern = ".*".join(re.escape(piece) for piece in _UNSEEN.split(one))
    return re.fullmatch(pattern, other, re.DOTALL) is not None


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


def test_trees(nix226: StockNix, tmp_path: Path, seed: int, soak: bool) -> None:
    """What can be read is printed as `nix-instantiate --parse` prints it, all in one process."""
    random = Random(seed)
    seeds = corpus(random, 200)
    trees: dict[Path, str] = {}
    while len(trees) < (5_000 if soak else 500):
        program = mutated(random, seeds)
        tree = _tree(program, nix226)
        if not tree.startswith("error:"):
            file = tmp_path / f"{len(trees)}.nix"
            file.write_bytes(program)
            trees[file] = tree
    command = f"cd {tmp_path}; nix-instantiate --parse {_PIPES} --store dummy:// $(ls *.nix | sort -n) 2>&1"
    lines = [line for line in _readable(nix226.try_run("sh", "-c", command).stdout) if not _OR_WARNING.match(line)]
    for (file, tree), line in zip_longest(trees.items(), lines):
        assert tree == line, f"SEED={seed}: {file and file.read_bytes()!r}"


def test_syntax_errors(nix226: StockNix, tmp_path: Path, seed: int, soak: bool) -> None:
    """What can't be read is complained of in the same words, at the same place."""
    random = Random(seed)
    seeds = corpus(random, 200)
    errors: dict[Path, str] = {}
    while len(errors) < (600 if soak else 60):
        program = mutated(random, seeds)
        error = _tree(program, nix226)
        if error.startswith("error:"):
            file = tmp_path / f"{len(errors)}.nix"
            file.write_bytes(program)
            errors[file] = error
    loop = f'for file in "$@"; do nix-instantiate --parse {_PIPES} --store dummy:// $file 2>&1; echo; echo {_END}; done'
    outputs = nix226.run("sh", "-c", loop, "sh", *errors).split(f"\n{_END}\n".encode())[:-1]
    found = []
    for (file, error), output in zip(errors.items(), outputs, strict=True):
        said = trace_of("\n".join(_readable(output))).rpartition("\nerror: ")[2].split("\n")[0]
        if f"error: {said}" != error and not ("undefined variable" in said and "undefined variable" in error):
            found.append(f"{file.read_bytes()!r}\n  Nix: {said}\n  here: {error}")
    assert not found, "\n\n".join([f"{len(found)} differences, SEED={seed}", *found[:20]])


def _readable(output: bytes) -> list[str]:
    return output.decode(errors="backslashreplace").splitlines()


def _tree(program: bytes, nix: StockNix) -> str:
    """The program as Nix prints it, or the error of reading it, with its place."""
    evaluator = Evaluator(NoIO())
    text = program.decode("latin-1")
    first = evaluator.sources.string(text, "/base", "program").position(0)
    try:
        tree = parse(text, first, pipes=True)
        Resolver(evaluator.registry.globals, evaluator.registry.arities, False, first).resolve(tree, None)
        return canonical(tree, str(nix.folder), str(nix.home)).encode("latin-1").decode(errors="backslashreplace")
    except EvalError as error:
        message = error.detail.encode("latin-1").decode(errors="backslashreplace").split("\n")[0]
        if not error.position:
            return f"error: {message}"
        line, column = line_and_column(text, offset_of(error.position))
        return f"error: {message} @{line}:{column}"
