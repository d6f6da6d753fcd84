"""What a session of the repl knows: its variables, the files that it loaded, and its last error.

Everything here runs where the session's evaluations run: on a deep stack, inside of `Evaluator.session`. Texts have one character a
byte, as strings of the language do.
"""

from __future__ import annotations

from tvix.eval.attribute_paths import call_automatically
from tvix.eval.describe import article
from tvix.eval.errors import EvalError, SyntaxError_, TypeMismatch
from tvix.eval.printing import UNLIMITED, print_for_repl
from tvix.eval.values import UNDEFINED, force, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from appliance.cli.evaluation import Evaluation
    from tvix.eval.values import Value

INCOMPLETE = "unexpected end of file"
"""What the error of a text says that may go on."""


class ReplProblem(EvalError):
    """Something was asked of the repl that it can't do."""

    identifier = "repl.refused"


class ReplSession:
    """Variables, and what to do with expressions."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.variables: dict[str, Value] = {}
        self.loaded: list[str] = []
        self.error: EvalError | None = None
        self.builtins: dict[str, Any] = evaluation.evaluator.registry.globals

    def value(self, text: str) -> Value:
        """The value of an expression, in weak head normal form. Raises `EvalError`."""
        evaluation = self.evaluation
        return evaluation.evaluator.string(text, evaluation.directory, scope=self.variables)

    def bind(self, name: str, text: str) -> None:
        """`name = text`: read now, evaluated when it is needed. Raises `EvalError`."""
        evaluation = self.evaluation
        value: Value = evaluation.evaluator.later(text, evaluation.directory, self.variables)
        self.variables = {**self.variables, name: value}

    def printed(self, value: Value, *, deep: bool, color: bool) -> str:
        """A value as the repl shows it. Raises what evaluating it does."""
        return print_for_repl(value, UNLIMITED if deep else 1, color=color)

    def add(self, value: Value) -> int:
        """The attributes of a set become variables; how many. Raises `TypeMismatch`."""
        value = force(value)
        if type(value) is not dict:
            raise TypeMismatch(f"expected a set but found {article(value)}")
        self.variables = {**self.variables, **value}
        return len(value)

    def load(self, path: str) -> int:
        """Do this with a file's value, or with that of `<name>`; a function is called with what the command line gave."""
        evaluation = self.evaluation
        value: Value = evaluation.evaluator.file(evaluation.file(path))
        added = self.add(call_automatically(value, evaluation.automatic_arguments()))
        if path in self.loaded:
            self.loaded.remove(path)
        self.loaded.append(path)
        return added

    def forget(self) -> None:
        """Back to the beginning: no variables, and files are read anew."""
        self.variables = {}
        self.evaluation.evaluator.forget_files()

    def is_incomplete(self, text: str) -> bool:
        """Whether a text could be an expression if it went on."""
        evaluator = self.evaluation.evaluator
        try:
            evaluator.tree(evaluator.sources.string(text, "/"), text, check=False)
        except SyntaxError_ as error:
            return INCOMPLETE in error.detail
        except EvalError:
            return False
        return False

    def names(self) -> list[str]:
        """All variables that there are."""
        shown = [name for name in self.builtins if not name.startswith("__")]
        return sorted({*self.variables, *shown})

    def attributes(self, path: list[str], *, evaluate: bool) -> list[str]:
        """The names in the set at a path; none where that is no set, or isn't evaluated and may not be."""
        value: Value = self.variables.get(path[0], self.builtins.get(path[0], UNDEFINED))
        for index in range(len(path)):
            if index:
                value = value.get(path[index], UNDEFINED) if type(value) is dict else UNDEFINED
            if value is not UNDEFINED:
                value = force(value) if evaluate else known(value)
        return sorted(value) if type(value) is dict else []
