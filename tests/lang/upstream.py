"""Runs the public suites of the language, which are fetched outside the repository, and counts what passes.

    python tests/lang/upstream.py DIR [--only NAME] [--reference] [--show]

Every directory below DIR that holds `eval-okay-*.nix` and the like is a suite: `tests/functional/lang` of Nix, `eval/src/tests/*`
of snix and Tvix. A test asks `nix-instantiate` as Nix's own `tests/functional/lang.sh` does:

| files | what is compared |
|---|---|
| `parse-okay-*`, `parse-fail-*` | the tree, or the error |
| `eval-okay-*` | the value as `.exp` or `.exp.xml` has it, with the options of `.flags` |
| `eval-fail-*` | that it fails, and the whole trace with `.err.exp` |
| `identity-*` | a program that is its own value |

The tests of nixpkgs' lib (`lib/tests/misc.nix`, `lib/tests/systems.nix`) are sets of `{ expr, expected }`, counted one by one.
`--reference` asks Nix 2.26 the same, so that the counts can be compared; it needs root and the tree
that tests/compat makes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("parse-okay", "parse-fail", "eval-okay", "eval-fail", "identity")
_LIBRARY_TESTS = ("lib/tests/misc.nix", "lib/tests/systems.nix")
_TESTS_THEMSELVES = """
  let replaced = path: let lib = import path; in if lib ? runTests then lib // { runTests = tests: tests; } else lib;
  in builtins.scopedImport { import = replaced; } FILE
"""
_FEATURES = ("--extra-experimental-features", "flakes fetch-tree")
_TIMEOUT = 120
_ENVIRONMENT = {
    "HOME": "/fake-home",
    "NIX_PATH": "lang/dir3:lang/dir4",
    "NIX_REMOTE": "dummy://",
    "NIX_STORE_DIR": "/nix/store",
    "TEST_VAR": "foo",
}
"""What the suites expect around them."""


@dataclass(frozen=True)
class Answer:
    """What a program said."""

    code: int
    out: str
    err: str


class Ours:
    """The personality `nix-instantiate` of this checkout."""

    def __init__(self, command: str) -> None:
        self._command = command.split() if command else [sys.executable, "-m", "appliance", "nix-instantiate"]

    def ask(self, directory: Path, options: list[str], text: bytes) -> Answer:
        """Run it in a directory."""
        environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": str(ROOT)}
        return _ran([*self._command, *options], text, environment, directory)


class Reference:
    """Nix 2.26 in the tree of tests/compat."""

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(ROOT))
        from tvix.testing.stock_nix import StockNix, build_nix_226

        self._nix = StockNix(folder, "/usr/sbin:/usr/bin:/sbin:/bin", build_nix_226(ROOT / ".cache" / "nix-2.26"))

    def ask(self, directory: Path, options: list[str], text: bytes) -> Answer:
        """Run it in a directory below the folder."""
        variables = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
        enter = ("sh", "-c", 'cd "$1"; shift; exec "$@"', "sh")
        done = self._nix.try_run(*enter, directory, "env", *variables, "nix-instantiate", *_FEATURES, *options, stdin=text)
        return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def _ran(command: list[str], text: bytes, environment: dict[str, str], directory: Path) -> Answer:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, env=environment, cwd=directory, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return Answer(-1, "", f"no answer within {_TIMEOUT} s")
    return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


class Suite:
    """One directory of tests, copied to `lang` in a folder of its own: paths in expected traces say so."""

    def __init__(self, source: Path, folder: Path, ask: Callable[[Path, list[str], bytes], Answer]) -> None:
        self.directory = folder
        self.lang = folder / "lang"
        self._ask = ask
        if not self.lang.exists():
            shutil.copytree(source, self.lang, symlinks=True)

    def problem(self, name: str) -> str:
        """What is wrong with one test, empty where nothing is."""
        file = self.lang / f"{name}.nix"
        if name.startswith("parse-"):
            return self._parse(name, file.read_bytes())
        if name.startswith("eval-fail"):
            return self._failing(name, f"lang/{name}.nix")
        return self._evaluating(name, f"lang/{name}.nix")

    def _answer(self, options: list[str], text: bytes = b"") -> Answer:
        answer = self._ask(self.directory, options, text)
        here = str(self.directory)
        return Answer(answer.code, answer.out.replace(here, "/pwd"), answer.err.replace(here, "/pwd"))

    def _expected(self, name: str, ending: str) -> str | None:
        file = self.lang / f"{name}.{ending}"
        return file.read_text(errors="replace") if file.exists() else None

    def _flags(self, name: str) -> list[str]:
        lines = (self._expected(name, "flags") or "").splitlines()
        return [word for line in lines for word in line.partition("#")[0].split()]

    def _parse(self, name: str, text: bytes) -> str:
        answer = self._answer(["--show-trace", "--parse", "-"], text)
        if name.startswith("parse-fail"):
            if answer.code != 1:
                return _unexpected(answer)
            return _difference(self._expected(name, "err.exp"), answer.err)
        if answer.code != 0:
            return _unexpected(answer)
        return _difference(self._expected(name, "exp"), answer.out)

    def _failing(self, name: str, file: str) -> str:
        flags = self._flags(name) or ["--eval", "--strict", "--show-trace"]
        answer = self._answer(["--show-trace", *flags, file])
        if answer.code != 1 or "Traceback" in answer.err:
            return _unexpected(answer)
        return _difference(self._expected(name, "err.exp"), answer.err)

    def _evaluating(self, name: str, file: str) -> str:
        xml = self._expected(name, "exp.xml")
        options = ["--xml", "--no-location"] if xml is not None else []
        answer = self._answer(["--show-trace", *self._flags(name), "--eval", "--strict", *options, file])
        if answer.code != 0:
            return _unexpected(answer)
        if xml is not None:
            return _difference(xml, answer.out)
        if name.startswith("identity"):
            return _difference((self.lang / f"{name}.nix").read_text(), answer.out)
        return _difference(self._expected(name, "exp"), answer.out) or _difference(self._expected(name, "err.exp"), answer.err)


def _unexpected(answer: Answer) -> str:
    return f"ended with {answer.code}\n{answer.out}{answer.err}"


def _difference(expected: str | None, answer: str) -> str:
    """Empty where nothing is expected: then it counts that the program ended as it should."""
    if expected is None or expected.strip() == answer.strip():
        return ""
    return f"expected:\n{expected.rstrip()}\nbut was:\n{answer.rstrip()}"


def _run_library(file: Path, reference: Reference | None, folder: Path, *, show: bool) -> None:
    """Count the tests of one file, all in this process. Nix says of all at once what failed."""
    sys.path.insert(0, str(ROOT))
    from tvix.eval.comparison import equal
    from tvix.eval.deep import force_deeply
    from tvix.eval.errors import EvalError
    from tvix.eval.evaluator import Evaluator
    from tvix.eval.io_files import FileIO
    from tvix.eval.stack import on_deep_stack
    from tvix.eval.values import MACHINE, force

    evaluator = Evaluator(FileIO())

    def run() -> tuple[int, list[tuple[str, str]]]:
        failed = []
        with evaluator.session():
            tests = evaluator.string(_TESTS_THEMSELVES.replace("FILE", str(file)), str(file.parent))
            for name, test in sorted(tests.items()):
                before = MACHINE.depth, MACHINE.nesting
                try:
                    pair = force(test)
                    if not equal(force_deeply(pair["expr"]), force_deeply(pair["expected"])):
                        failed.append((name, "another value"))
                except EvalError as error:
                    MACHINE.depth, MACHINE.nesting = before
                    failed.append((name, error.detail))
        return len(tests), failed

    count, failed = on_deep_stack(run)
    for name, problem in failed:
        print(f"  {name}: we fail" + (f"\n    {problem}" if show else ""))
    beside = ""
    if reference is not None:
        shutil.copytree(file.parents[1], folder / "lib")
        answer = reference.ask(folder, ["--eval", "--strict", f"lib/tests/{file.name}"], b"")
        beside = f"; Nix 2.26 says of what failed: {answer.out.strip()}"
    print(f"{file.name}: {count - len(failed)} of {count}{beside}")


def _suites(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        folders.sort()
        if any(file.startswith(KINDS) and file.endswith(".nix") for file in files):
            yield Path(directory)


def _tests(directory: Path) -> list[str]:
    names = sorted(file.stem for file in directory.glob("*.nix") if file.stem.startswith(KINDS))
    return [name for name in names if not (directory / f"{name}.exp-disabled").exists()]


def _kind(name: str) -> str:
    return next(kind for kind in KINDS if name.startswith(kind))


def _run_suite(label: str, source: Path, folder: Path, reference: Reference | None, options: argparse.Namespace) -> None:
    ours = Suite(source, folder, Ours(options.program).ask)
    theirs = None if reference is None else Suite(source, folder, reference.ask)
    counts: Counter[tuple[str, str]] = Counter()
    names = [name for name in _tests(source) if options.only in name]
    for name in names:
        problem = ours.problem(name)
        judgement = "" if theirs is None else theirs.problem(name)
        counts[_kind(name), "all"] += 1
        counts[_kind(name), "ours"] += not problem
        counts[_kind(name), "theirs"] += not judgement
        if problem or judgement:
            verdict = "neither" if problem and judgement else "Nix alone fails" if judgement else "we fail"
            print(f"  {name}: {verdict}")
            if options.show:
                print("    " + (problem or judgement).replace("\n", "\n    "))
    for kind in KINDS:
        if counts[kind, "all"]:
            beside = "" if theirs is None else f"; Nix 2.26: {counts[kind, 'theirs']}"
            print(f"{label} {kind}: {counts[kind, 'ours']} of {counts[kind, 'all']}{beside}")


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description="Run the public suites of the language.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", default="", metavar="TEXT", help="tests with this in their name")
    parser.add_argument("--program", default="", metavar="COMMAND", help="what to run instead of this checkout's nix-instantiate")
    parser.add_argument("--reference", action="store_true", help="ask Nix 2.26 too")
    parser.add_argument("--show", action="store_true", help="show what differs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = Reference(folder) if options.reference else None
        for number, source in enumerate(_suites(options.directory)):
            place = folder / str(number)
            place.mkdir()
            label = str(source.relative_to(options.directory))
            _run_suite(label, source, place, reference, options)
        for number, file in enumerate(file for path in _LIBRARY_TESTS for file in sorted(options.directory.rglob(path))):
            place = folder / f"library-{number}"
            place.mkdir()
            _run_library(file, reference, place, show=options.show)
    return 0


if __name__ == "__main__":
    sys.exit(main())
