"""Builtins that say something while a program runs."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import text
from tvix.eval.coercion import to_text
from tvix.eval.errors import Aborted, EvalError
from tvix.eval.functions import Primitive
from tvix.eval.values import force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.evaluator import Evaluator, Settings
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class Trace(Primitive):
    """`trace message value`: say the message and give the value. `traceVerbose` says it where that is asked for."""

    def __init__(self, name: str, settings: Settings, only_verbose: bool) -> None:
        super().__init__(name, 2)
        self.settings = settings
        self.only_verbose = only_verbose

    def call2(self, first: Value, second: Value) -> Value:
        if not self.only_verbose or self.settings.trace_verbose:
            message: Value = force(first)
            if not isinstance(message, str):
                from tvix.eval.printing import Layout, Printer

                message = Printer(Layout()).text(message)
            self.settings.log(f"trace: {message}")
        return force(second)


@final
@mypyc_attr(acyclic=True)
class Warn(Primitive):
    """`warn message value`: say that something is dubious, or fail because of it where that is asked for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("warn", 2)
        self.settings = settings

    def call2(self, first: Value, second: Value) -> Value:
        message = text(first, "while evaluating the first argument; the message passed to builtins.warn")
        begin = "evaluation warning: "
        self.settings.log(begin + message.replace("\n", "\n" + " " * len(begin)))
        if self.settings.abort_on_warn:
            raise Aborted("aborting to reveal stack trace of warning, as abort-on-warn is set")
        return force(second)


@final
@mypyc_attr(acyclic=True)
class Break(Primitive):
    """`break value`: where a debugger would stop. Without one it is the value."""

    def call1(self, first: Value) -> Value:
        return force(first)


@final
@mypyc_attr(acyclic=True)
class AddErrorContext(Primitive):
    """`addErrorContext message value`: the value, and the message in the trace of what goes wrong with it."""

    def call2(self, first: Value, second: Value) -> Value:
        try:
            return force(second)
        except EvalError as error:
            purpose = "while evaluating the error message passed to builtins.addErrorContext"
            error.while_(0, to_text(first, None, False, False, purpose), always=True)
            raise


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    settings = evaluator.settings
    return [
        *(Trace("trace", settings, False), Trace("traceVerbose", settings, True), Warn(settings)),
        *(Break("break", 1), AddErrorContext("addErrorContext", 2)),
    ]
