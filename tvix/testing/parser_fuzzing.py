"""Fuzzing of scanner and parser: any bytes give a tree or an `EvalError`, and what a tree is printed as gives that tree again.

python -m tvix.testing.parser_fuzzing [CORPUS…] [-max_total_time=60]     # with atheris installed
python -m tvix.testing.parser_fuzzing 20000 [SEED]                       # without: mutations of tests/lang and of random programs
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Final

from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator
from tvix.eval.io import NoIO
from tvix.eval.parser import parse
from tvix.eval.printer import canonical
from tvix.eval.resolver import Resolver
from tvix.eval.source_printer import source
from tvix.testing.expressions import Expressions
from tvix.testing.language import all_chunks

_ROOT: Final = Path(__file__).resolve().parents[2]
_FIRST: Final = 1 << 20
_EVALUATOR: Final = Evaluator(NoIO())
_PIECES: Final = (
    b"{", b"}", b"[", b"]", b"(", b")", b";", b":", b"@", b"...", b"?", b".", b"=", b"==", b"//", b"++", b"->", b"|>", b"<|",
    b"&&", b"||",
    b"!", b"-", b"+", b"/", b"*", b"<", b">", b"<=", b"${", b"\"", b"''", b"''$", b"'''", b"''\\", b"\\", b"$", b"$$", b"or",
    b"let", b"in",
    b"rec", b"with", b"inherit", b"if", b"then", b"else", b"assert", b"a", b"x'", b"1", b"1.5", b".5e3", b"./a", b"~/b", b"<c>",
    b"a/b",
    b"http://a", b"# c\n", b"/* c */", b"/*", b"\n", b"\r\n", b"\r", b"\t", b" ", b"\x00", b"\xff", b"\xc3\xa9", b"__curPos",
    b"0", b"e", b"_",
)  # fmt: skip


def one_input(data: bytes) -> bool:
    """Whether the bytes are a program. AssertionError where printing and parsing disagree; other errors are the parser's."""
    text = data.decode("latin-1")
    try:
        tree = parse(text, _FIRST, pipes=True)
    except EvalError as error:
        if error.position and not _FIRST <= error.position <= _FIRST + len(text):
            raise AssertionError(error.position) from None
        return False
    meaning = canonical(tree)
    if b"\0" in data:
        return False  # a backslash before it hides it from the parser, as in C++ Nix, and there is no way to print that
    printed = source(tree)
    again = parse(printed, _FIRST, pipes=True)
    assert canonical(again) == meaning, f"{printed!r} means {canonical(again)!r} instead of {meaning!r}"
    assert source(again) == printed, f"{printed!r} is printed as {source(again)!r}"
    try:
        Resolver(_EVALUATOR.registry.globals, _EVALUATOR.registry.arities, False, _FIRST).resolve(tree, None)
    except EvalError:
        return False
    return True


def corpus(random: Random, programs: int) -> list[bytes]:
    """What mutations start from: all of tests/lang, and programs drawn at random."""
    found = [chunk.program.encode() for chunk in all_chunks(_ROOT / "tests" / "lang")]
    expressions = Expressions(random)
    return found + [expressions.program().encode() for _ in range(programs)]


def mutated(random: Random, seeds: list[bytes]) -> bytes:
    """A few cuts, insertions, swaps and splices of one of the seeds."""
    data = random.choice(seeds)[:2000]
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.randrange(8))
        choice = random.randrange(5)
        if choice == 0:
            data = data[:at] + data[to:]
        elif choice == 1:
            data = data[:at] + random.choice(_PIECES) + data[at:]
        elif choice == 2:
            data = data[:at] + random.choice(_PIECES) + data[to:]
        elif choice == 3:
            data = data[:to] + data[at:]
        else:
            other = random.choice(seeds)
            data = data[:at] + other[random.randrange(len(other) + 1) :][:200]
    return data


def run(count: int, seed: int) -> int:
    """How many of so many mutations are programs. AssertionError with the input where one of them does harm."""
    random = Random(seed)  # noqa: S311 (nothing secret)
    seeds = corpus(random, 200)
    good = 0
    for _ in range(count):
        data = mutated(random, seeds)
        try:
            good += one_input(data)
        except Exception as problem:
            raise AssertionError(f"seed {seed}: {data!r}") from problem
    return good


def _main(arguments: list[str]) -> None:
    if arguments and arguments[0].isdecimal():
        count = int(arguments[0])
        sys.stdout.write(f"{run(count, int(arguments[1]) if arguments[1:] else 0)} of {count} inputs are programs\n")
        return
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with atheris.instrument_imports():
        import tvix.eval.parser  # noqa: F401 (to instrument it)
    atheris.Setup([sys.argv[0], *arguments], lambda data: one_input(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    _main(sys.argv[1:])
