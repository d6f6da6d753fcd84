"""What can go wrong between Nix text and typed Python, and where in the text that is."""

from __future__ import annotations

from tvix.errors import EX_DATAERR, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Problem:
    """One mistake. Lines and columns count from 1, columns in bytes; the end is the first byte behind the span. All four are 0
    where nothing is known.

    `kind` is `wrong-type`, `wrong-value`, `unknown-key` or `missing-key`. `path` says which value is meant, as in
    `servers[0].port`. `frame` shows the lines of the source around it, and `documentation` is what the schema says of the field.
    """

    __slots__ = (
        *("kind", "path", "message", "expected", "suggestions", "documentation"),
        *("file", "line", "column", "end_line", "end_column", "frame"),
    )

    def __init__(self, kind: str, path: str, message: str, expected: str = "", suggestions: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.path = path
        self.message = message
        self.expected = expected
        self.suggestions = suggestions
        self.documentation = ""
        self.file = ""
        self.line = self.column = self.end_line = self.end_column = 0
        self.frame = ""

    def __str__(self) -> str:
        """In one line: `config.nix:3:10: servers[0].port: expected an integer but found a string: "x"`."""
        suggestion = f" (did you mean {' or '.join(self.suggestions)}?)" if self.suggestions else ""
        return ": ".join(part for part in (self.place(), self.path, self.message) if part) + suggestion

    def place(self) -> str:
        """As `file:line:column`; empty where it isn't known."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else ""

    def report(self) -> str:
        """All of it, in several lines."""
        lines = [": ".join(part for part in (self.path, self.message) if part)]
        if self.line:
            lines += [f"  at {self.place()}", *self.frame.split("\n")]
        if self.suggestions:
            lines.append("  did you mean " + " or ".join(self.suggestions) + "?")
        if self.documentation:
            lines.append(f"  {self.path}: {self.documentation}")
        return "\n".join(lines)

    def fields(self) -> dict[str, object]:
        """What JSON can hold of it: everything."""
        return {name: getattr(self, name) for name in self.__slots__}


class SchemaMismatch(TvixError):
    """A value isn't what the schema asks for; `problems` says what, and where, for all mistakes that were found."""

    identifier = "serde.mismatch"
    message = "{summary}"
    hint = "correct the value at the place named; the schema says which keys there are and what each of them takes"
    exit_code = EX_DATAERR

    def __init__(self, summary: str, problems: tuple[Mapping[str, object], ...]) -> None:
        super().__init__(summary=summary, problems=problems)
        self.problems = tuple([_problem(fields) for fields in problems])

    def report(self) -> str:
        """Every mistake with the source around it."""
        return "\n\n".join([problem.report() for problem in self.problems])


def mismatch(problems: list[Problem]) -> SchemaMismatch:
    """The error for what was found, in the order of the source."""
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
    more = len(ordered) - 1
    others = f" (and {more} more mistake{'s' if more > 1 else ''})" if more else ""
    return SchemaMismatch(f"{ordered[0]}{others}", tuple([problem.fields() for problem in ordered]))


def _problem(fields: Mapping[str, object]) -> Problem:
    problem = Problem("", "", "")
    for name, value in fields.items():
        setattr(problem, name, value)
    return problem


class EvaluationFailed(TvixError):
    """The text isn't Nix, or has no value. The evaluator's error is the `__cause__`, unless limits put a process in between."""

    identifier = "serde.evaluation"
    message = "{summary}"
    hint = "the program that computes the value fails; nothing was compared with the schema yet"
    exit_code = EX_DATAERR

    def __init__(self, summary: str, text: str) -> None:
        super().__init__(summary=summary, text=text)
        self.text = text

    def report(self) -> str:
        """The error as `nix-instantiate` prints it, with its trace."""
        return self.text


class UnsupportedSchema(TvixError):
    """A type that no value of the language can be turned into. The program that loads is wrong, not what it loads."""

    identifier = "serde.schema"
    message = "{where}: {reason}"


class NotDumpable(TvixError):
    """A value that no text of the language stands for."""

    identifier = "serde.dump"
    message = "{where}: {reason}"
    exit_code = EX_DATAERR
