"""`tvix repl`: expressions, one after the other, with variables that stay."""

from __future__ import annotations

import gc
import os

from appliance.cli.eval import OPTIONS as OF_EVAL
from appliance.cli.eval import wishes_of
from appliance.cli.evaluation import Evaluation, leave, stderr_shows_colors, text_of, write
from appliance.cli.light_words import Option, add_to, read
from tvix.eval.errors import EvalError
from tvix.eval.stack import on_deep_stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from appliance.cli.light_words import Words
    from appliance.ui.repl.interrupts import Interrupts
    from appliance.ui.repl.lines import PlainLines
    from appliance.ui.repl.terminal import TerminalLines

    T = TypeVar("T")

SUMMARY = "Evaluate Nix expressions interactively."

_TAKEN = (
    "--arg",
    "--argstr",
    "--include",
    "--pure",
    "--restrict",
    "--allow",
    "--show-trace",
    "--trace-verbose",
    "--max-call-depth",
)
OPTIONS = (
    Option("-E --expr", "EXPR", "add the attributes of this expression to the variables; may be given several times"),
    *[option for option in OF_EVAL if option.name in (*_TAKEN, "--abort-on-warn")],
)
_SECONDS_FOR_COMPLETION = 0.5


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    from appliance.cli.options import describe

    describe(
        parser,
        "tvix repl",
        "tvix repl ./default.nix --arg debug true",
        "echo 'map (x: x * x) [ 1 2 3 ]' | tvix repl",
        text="The attributes of each FILE become variables. :? lists what else can be said. Where stdin is no terminal, its\n"
        "lines are read without a prompt. Ctrl-C interrupts an evaluation, Ctrl-D ends the session.",
    )
    add_to(parser, OPTIONS)
    parser.add_argument("file", nargs="*", metavar="FILE", help="files to load")


def run_words(command: str, words: Sequence[str]) -> int:
    """Read and evaluate until the end, and end the process."""
    given = read(words, OPTIONS, command)
    wishes = wishes_of(given, command)
    from appliance.ui.repl.interrupts import Interrupts

    interrupts = Interrupts()
    wishes.observer = interrupts
    gc.disable()
    repl = Repl(Evaluation(wishes), interrupts)
    if repl.load(given):
        repl.run()
    leave(0)


class Repl:
    """One session."""

    def __init__(self, evaluation: Evaluation, interrupts: Interrupts) -> None:
        from appliance.ui.repl.commands import Commands
        from appliance.ui.repl.session import ReplSession

        self._evaluation = evaluation
        self._interrupts = interrupts
        self._session = ReplSession(evaluation)
        self._is_terminal = os.isatty(0)
        color = os.isatty(1) and stderr_shows_colors()
        self._commands = Commands(self._session, lambda text: write(1, text + "\n"), color=color)

    def load(self, given: Words) -> bool:
        """Load what the command line names; False where that was interrupted."""
        lines = [f":l {text_of(path)}" for path in given.rest] + [f":a {text_of(text)}" for (text,) in given.all("--expr")]
        return all(self._do(line) for line in lines)

    def run(self) -> None:
        """Until the end."""
        lines = self._lines()
        while True:
            try:
                text = lines.next(self._is_incomplete)
            except KeyboardInterrupt:
                continue
            if text is None or not self._do(text):
                return
            if self._is_terminal and text.strip():
                write(1, "\n")

    def _lines(self) -> PlainLines | TerminalLines:
        if not self._is_terminal:
            from appliance.ui.repl.lines import PlainLines

            return PlainLines()
        from appliance.cli.places import data_directory
        from appliance.ui.repl.terminal import Names, TerminalLines
        from tvix import VERSION

        write(1, f"tvix {VERSION}. :? for help.\n\n")
        return TerminalLines(data_directory() / "history", Names(self._session.names, self._attributes))

    def _do(self, text: str) -> bool:
        """Do what a text says, and report what goes wrong; False where that is the end."""
        session = self._session
        try:
            return self._evaluating(lambda: self._commands.do(text))
        except EvalError as error:
            session.error = problem = error
            self._evaluating(lambda: self._evaluation.report(problem))
        except KeyboardInterrupt:
            write(2, "error: interrupted by the user\n")
        except MemoryError:
            write(2, "error: out of memory\n")
        finally:
            self._edit()
        return True

    def _evaluating(self, work: Callable[[], T]) -> T:
        """The result of `work`, on a stack that is deep enough."""

        def inside() -> T:
            with self._evaluation.evaluator.session():
                return work()

        with self._interrupts.caught():
            return on_deep_stack(inside)

    def _is_incomplete(self, text: str) -> bool:
        from appliance.ui.repl.commands import rest_of

        rest = rest_of(text)
        return rest is not None and self._evaluating(lambda: self._session.is_incomplete(rest))

    def _attributes(self, path: list[str]) -> list[str]:
        """The names in a set, for completion: what is evaluated already, or soon is."""
        log, self._evaluation.evaluator.settings.log = self._evaluation.evaluator.settings.log, lambda _text: None
        try:
            with self._interrupts.limited(_SECONDS_FOR_COMPLETION):
                return self._evaluating(lambda: self._session.attributes(path, evaluate=True))
        except (EvalError, KeyboardInterrupt, MemoryError):
            return []
        finally:
            self._evaluation.evaluator.settings.log = log

    def _edit(self) -> None:
        """Open what `:e` asked for, and load everything anew."""
        place, self._commands.edit = self._commands.edit, None
        if place is None:
            return
        from appliance.ui.repl.editor import edit

        try:
            edit(*place)
        except OSError as error:
            write(2, f"error: {error.strerror or error}\n")
            return
        self._do(":r")
