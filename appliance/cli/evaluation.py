"""What `tvix eval`, `tvix parse` and the personality of `nix-instantiate` share: an evaluator for this machine, and how it ends.

Words and variables of the environment are bytes; they become strings of the language, one character per byte (`text_of`). What is
printed goes out the same way. An evaluation runs on a deep stack without garbage collection, and the process then ends at once:
freeing millions of values would take longer than making them.
"""

from __future__ import annotations

import gc
import os
import sys

from tvix.eval.code_pack import CodePack
from tvix.eval.errors import EvalError
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io_files import FileIO
from tvix.eval.paths import normal
from tvix.eval.search_path import is_url, parse_entry, split_entries
from tvix.eval.stack import on_deep_stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Final, NoReturn

    from tvix.eval.io import EvalIO
    from tvix.eval.observer import Observer
    from tvix.eval.positions import Source
    from tvix.eval.syntax import Expression
    from tvix.eval.values import Value

EX_PIPE = 141


def text_of(word: str) -> str:
    """A word of the command line as a string of the language."""
    return os.fsencode(word).decode("latin-1")


def printable(text: str) -> str:
    """A text with one character per byte as an ordinary one."""
    return text.encode("latin-1").decode(errors="surrogateescape")


class Environment:
    """The environment, of which nothing is read before it is asked for."""

    def get(self, name: str, default: str) -> str:
        """A variable."""
        value = os.environb.get(name.encode("latin-1"))
        return default if value is None else value.decode("latin-1")


ENVIRONMENT = Environment()


class Wishes:
    """What a command line says about an evaluation, whatever its options are called."""

    def __init__(self) -> None:
        self.include: list[str] = []
        self.arguments: dict[str, tuple[str, str]] = {}
        """By name: the way it is given (`expression`, `text`, `file`, `stdin`), and that."""
        self.allowed: list[str] = []
        self.pure = False
        self.restrict = False
        self.show_trace = False
        self.trace_verbose = False
        self.abort_on_warn = False
        self.max_call_depth = 10_000
        self.pipe_operators = True
        self.system = "x86_64-linux"
        self.nix_path: list[str] | None = None
        """The entries that stand for those of `$NIX_PATH`."""
        self.observer: Observer | None = None
        """Who looks on."""


class Evaluation:
    """An evaluator with what a command line wishes, and its answers."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self.directory = working_directory()
        self.color = stderr_shows_colors()
        settings = Settings()
        settings.pure = wishes.pure
        settings.restrict = wishes.restrict
        settings.search_path = _search_path(wishes)
        settings.working_directory = self.directory
        settings.home = "" if wishes.pure else ENVIRONMENT.get("HOME", "")
        settings.max_call_depth = wishes.max_call_depth
        settings.trace_verbose = wishes.trace_verbose
        settings.abort_on_warn = wishes.abort_on_warn
        settings.pipe_operators = wishes.pipe_operators
        settings.system = wishes.system
        settings.log = self.say
        settings.observer = wishes.observer
        settings.code_files = code_pack()
        self.evaluator = Evaluator(self._io(settings), settings)

    def _io(self, settings: Settings) -> EvalIO:
        files = FileIO(ENVIRONMENT)
        if not self.wishes.pure and not self.wishes.restrict:
            return files
        from tvix.eval.io_restricted import RestrictedIO

        restricted = RestrictedIO(files, pure=self.wishes.pure)
        entries = [] if self.wishes.pure else [path for _, path in settings.search_path if not is_url(path)]
        for path in (*self.wishes.allowed, *entries):
            restricted.allow(self.absolute(path))
        return restricted

    def say(self, message: str) -> None:
        """What `trace` and `warn` say goes to stderr, as everything does that is no answer."""
        from tvix.eval.error_report import for_terminal

        write(2, for_terminal(message, self.color) + "\n")

    def absolute(self, path: str) -> str:
        """A path as the language has them."""
        return normal(path if path.startswith("/") else f"{self.directory}/{path}")

    def automatic_arguments(self) -> Mapping[str, Value]:
        """What `--arg` and its kin give, evaluated only where it is needed."""
        return {name: self._argument(kind, text) for name, (kind, text) in self.wishes.arguments.items()}

    def _argument(self, kind: str, text: str) -> Value:
        if kind == "expression":
            return self.evaluator.later(text, self.directory)
        if kind == "file":
            return FileIO().read(text).decode("latin-1")
        return stdin_text() if kind == "stdin" else text

    def main(self, kind: str, text: str) -> Value:
        """The value of an expression (`expression`), of what stdin says (`stdin`), or of a file (`file`), which may be `<name>`."""
        if kind == "expression":
            return self.evaluator.string(text, self.directory)
        if kind == "stdin":
            return self.evaluator.string(stdin_text(), self.directory, _STDIN)
        return self.evaluator.main_file(self.file(text))

    def file(self, text: str) -> str:
        """The path of a file that is named on a command line. Raises `NotInSearchPath`."""
        if len(text) > 2 and text[0] == "<" and text[-1] == ">":
            return self.evaluator.search_path.find(self.evaluator.settings.search_path, text[1:-1])
        return self.absolute(text)

    def rendered(self, value: Value, shape: str, *, strict: bool, location: bool) -> str:
        """A value as it is printed: `--plain`, `--json`, `--xml` or `--raw`."""
        if shape == "--json":
            from tvix.eval.formats.json_write import json_text

            return json_text(value, set(), strict=strict) + "\n"
        if shape == "--raw":
            from tvix.eval.coercion import to_text

            return to_text(value, None, False, True, "while generating the nix-instantiate output")
        if shape == "--xml":
            from tvix.eval.formats.xml_write import xml_text

            return xml_text(value, set(), strict=strict, locate=self._locate if location else None)
        from tvix.eval.printing import print_value

        if strict:
            from tvix.eval.deep import force_deeply

            force_deeply(value)
        return print_value(value) + "\n"

    def _locate(self, position: int) -> tuple[str, int, int] | None:
        from tvix.eval.error_report import locate

        place = locate(self.evaluator.sources, self.evaluator.io, position)
        return None if place is None else (place.source.path or "", place.line, place.column)

    def tree(self, kind: str, text: str, *, check: bool) -> tuple[Expression, str]:
        """The tree of what `main` would evaluate, and the directory that its relative paths start from. With `check`, all of its
        variables have to be bound.
        """
        source, text = self.source_of(kind, text)
        return self.evaluator.tree(source, text, check=check), source.base

    def source_of(self, kind: str, text: str) -> tuple[Source, str]:
        """Where a program stands, and its text. Raises `FileProblem`."""
        sources = self.evaluator.sources
        if kind == "file":
            from tvix.eval.symlinks import program

            place = program(self.evaluator.io, self.file(text))
            return sources.file(place), self.evaluator.io.read(place).decode("latin-1")
        if kind == "stdin":
            text = stdin_text()
            return sources.string(text, self.directory, _STDIN), text
        return sources.string(text, self.directory), text

    def report(self, error: EvalError, *, as_json: bool = False) -> None:
        """Print an error with its place and its trace on stderr."""
        evaluator = self.evaluator
        if as_json:
            from appliance.cli.error_json import error_json

            write(2, error_json(error, evaluator) + "\n")
            return
        from tvix.eval.error_report import render

        text = render(error, evaluator.sources, evaluator.io, show_trace=self.wishes.show_trace, color=self.color)
        write(2, text + "\n")


_STDIN: Final = "«stdin»"


def finish(work: Callable[[], int]) -> NoReturn:
    """Do the work on a deep stack, and end the process with the status that it answers. Only what `work` raises comes back."""
    gc.disable()
    interrupts_end_at_once()
    status = on_deep_stack(work)
    for pack in _PACKS:
        pack.close()
    leave(status)


def leave(status: int) -> NoReturn:
    """End the process; what Python would do at its end is left out."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(status)


def code_pack() -> CodePack | None:
    """Where the code of files is kept between runs: the user's cache, `appliance.cli.places` without what that has to load."""
    base = ENVIRONMENT.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        home = ENVIRONMENT.get("HOME", "")
        if not home.startswith("/"):
            return None
        base = f"{home}/.cache"
    pack = CodePack(f"{base}/tvix/code")
    _PACKS.append(pack)
    return pack


_PACKS: list[CodePack] = []


def interrupts_end_at_once() -> None:
    """Compiled code never looks whether a signal came, so Ctrl-C is left to the kernel."""
    from _signal import SIG_DFL, SIGINT, signal  # type: ignore[import-not-found]  # what `signal` wraps at some expense

    signal(SIGINT, SIG_DFL)


def write(descriptor: int, text: str) -> None:
    """Write a text with one character per byte. Where nobody reads it any more, the process ends as SIGPIPE would end it."""
    waiting = memoryview(text.encode("latin-1"))
    while waiting:
        try:
            waiting = waiting[os.write(descriptor, waiting) :]
        except BrokenPipeError:
            os._exit(EX_PIPE)


def stdin_text() -> str:
    """All that stdin has."""
    pieces = iter(lambda: os.read(0, 1 << 20), b"")
    return b"".join(pieces).decode("latin-1")


def working_directory() -> str:
    """Where relative paths start from."""
    return os.getcwdb().decode("latin-1")


def _search_path(wishes: Wishes) -> list[tuple[str, str]]:
    """`-I` before `$NIX_PATH`, and without that what Nix's installers make."""
    entries = [parse_entry(text) for text in wishes.include]
    if wishes.nix_path is not None:
        return entries + [parse_entry(text) for text in wishes.nix_path]
    variable = os.environb.get(b"NIX_PATH")
    if variable is not None:
        return entries + split_entries(variable.decode("latin-1"))
    return entries if wishes.restrict else entries + list(_default_entries())


def _default_entries() -> Iterator[tuple[str, str]]:
    channels = ENVIRONMENT.get("HOME", "") + "/.nix-defexpr/channels"
    of_root = "/nix/var/nix/profiles/per-user/root/channels"
    for entry in (("", channels), ("nixpkgs", of_root + "/nixpkgs"), ("", of_root)):
        if os.path.exists(entry[1].encode("latin-1")):
            yield entry


def stderr_shows_colors() -> bool:
    """Whether errors are colored."""
    if not os.isatty(2):
        return False
    environment = os.environ
    return environment.get("TERM", "dumb") != "dumb" and "NO_COLOR" not in environment and "NOCOLOR" not in environment
