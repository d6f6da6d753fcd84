"""What the repl can be told: expressions, `name = expression`, and commands that begin with a colon."""

from __future__ import annotations

import re

from appliance.ui.repl.session import ReplProblem, ReplSession
from tvix.eval.describe import article

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HELP = """\
EXPRESSION          evaluate it and show its value
NAME = EXPRESSION   bind a variable; it is evaluated when it is needed
:a EXPRESSION       add the attributes of a set to the variables        (:add)
:l PATH             load a file: add the attributes of its value         (:load)
:r                  forget the variables and load all files anew         (:reload)
:p EXPRESSION       show a value with all that is in it                  (:print)
:t EXPRESSION       show the type of a value                             (:type)
:d EXPRESSION       show the type of a value and what else is known of it
:doc EXPRESSION     show what a builtin or a function is for
:e EXPRESSION       open the file of a value in $EDITOR, then reload     (:edit)
:bt                 show all of the last error's trace
:te                 show whole traces with every error, or stop it       (:trace-enable)
:b EXPRESSION       build a derivation: this needs a store, so not here
:?                  show this                                            (:help)
:q                  end                                                  (:quit)
"""
_BINDING = re.compile(r"([A-Za-z_][A-Za-z0-9_'-]*)\s*=(?!=)(.*)", re.DOTALL)
_OF_STORES = (":b", ":bl", ":i", ":u", ":s", ":log", ":lf", ":load-flake", ":sh", ":build", ":build-local")
_LONG = {
    ":add": ":a",
    ":load": ":l",
    ":reload": ":r",
    ":print": ":p",
    ":type": ":t",
    ":edit": ":e",
    ":help": ":?",
    ":quit": ":q",
    ":trace-enable": ":te",
}


def rest_of(text: str) -> str | None:
    """The expression in a text, which further lines may belong to; None where nothing is asked of one."""
    text = text.strip()
    if text.startswith(":"):
        word, _, rest = text.partition(" ")
        return rest or None if _LONG.get(word, word) in (":a", ":p", ":t", ":d", ":doc", ":e") else None
    bound = _BINDING.fullmatch(text)
    return bound[2] if bound is not None and bound[1] not in _WORDS else text or None


class Commands:
    """Does what lines say. `say` gets what there is to show, one character a byte; with `color` it may have colors."""

    def __init__(self, session: ReplSession, say: Callable[[str], object], *, color: bool) -> None:
        self._session = session
        self._say = say
        self._color = color
        self.edit: tuple[str, int] | None = None
        """What is to be edited next: file and line."""

    def do(self, text: str) -> bool:
        """Do what a text says; False where that is the end. Raises `EvalError`."""
        text = text.strip()
        if not text:
            return True
        return self._command(text) if text[0] == ":" else self._expression(text)

    def _expression(self, text: str) -> bool:
        bound = _BINDING.fullmatch(text)
        if bound is not None and bound[1] not in _WORDS:
            self._session.bind(bound[1], bound[2])
        else:
            self._show(text, deep=False)
        return True

    def _show(self, text: str, *, deep: bool) -> None:
        session = self._session
        self._say(session.printed(session.value(text), deep=deep, color=self._color))

    def _command(self, text: str) -> bool:
        word, _, rest = text.partition(" ")
        rest = rest.strip()
        command = _LONG.get(word, word)
        if command == ":q":
            return False
        if command in _OF_STORES:
            raise ReplProblem(f"{word} needs a store, which this build of tvix doesn't evaluate with")
        plain, with_text = self._plain(command), self._with_text(command)
        if plain is not None:
            if rest:
                raise ReplProblem(f"unexpected argument '{rest}' to {word}")
            plain()
        elif with_text is not None:
            with_text(rest)
        else:
            raise ReplProblem(f"unknown command '{word}'")
        return True

    def _plain(self, command: str) -> Callable[[], None] | None:
        return {":?": self._help, ":r": self._reload, ":bt": self._backtrace, ":te": self._traces}.get(command)

    def _with_text(self, command: str) -> Callable[[str], None] | None:
        return {
            ":a": self._add,
            ":l": self._load,
            ":p": self._print,
            ":t": self._type,
            ":d": self._details,
            ":doc": self._documentation,
            ":e": self._edit,
        }.get(command)

    def _help(self) -> None:
        self._say(HELP.rstrip("\n"))

    def _add(self, text: str) -> None:
        self._added(self._session.add(self._session.value(text)))

    def _load(self, path: str) -> None:
        self._added(self._session.load(path))

    def _added(self, count: int) -> None:
        self._say(f"Added {count} variable{'' if count == 1 else 's'}.")

    def _reload(self) -> None:
        session = self._session
        session.forget()
        for path in list(session.loaded):
            self._say(f"Loading '{path}'...")
            self._load(path)

    def _print(self, text: str) -> None:
        self._show(text, deep=True)

    def _type(self, text: str) -> None:
        self._say(article(self._session.value(text)))

    def _details(self, text: str) -> None:
        from appliance.ui.repl.details import details

        self._say(details(self._session.value(text)))

    def _documentation(self, text: str) -> None:
        from appliance.ui.repl.details import documentation

        self._say(documentation(self._session.value(text)))

    def _edit(self, text: str) -> None:
        from appliance.ui.repl.details import place_of

        self.edit = place_of(self._session.value(text))
        if self.edit is None:
            raise ReplProblem("nothing is known of where this value comes from")

    def _backtrace(self) -> None:
        session = self._session
        if session.error is None:
            raise ReplProblem("there was no error")
        evaluation = session.evaluation
        before, evaluation.wishes.show_trace = evaluation.wishes.show_trace, True
        try:
            evaluation.report(session.error)
        finally:
            evaluation.wishes.show_trace = before

    def _traces(self) -> None:
        wishes = self._session.evaluation.wishes
        wishes.show_trace = not wishes.show_trace
        self._say("showing error traces" if wishes.show_trace else "not showing error traces")


_WORDS = ("if", "then", "else", "assert", "with", "let", "in", "rec", "inherit")
