"""What a rule of the linter is, and what it finds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from tvix.eval.lint.scopes import Scope
    from tvix.eval.syntax import Expression


class Finding:
    """A warning. `offset` and `length` are in bytes of the source."""

    def __init__(self, rule: type[Rule], offset: int, length: int, text: str) -> None:
        self.rule = rule
        self.offset = offset
        self.length = length
        self.text = text
        self.allowed_in_source = False
        """Whether a comment on its line, or on the line before, says that it is meant to be so."""

    @property
    def message(self) -> str:
        """The text, which has one character a byte, as an ordinary one."""
        return self.text.encode("latin-1").decode(errors="replace")


class Rule:
    """One idea of what to warn of. An instance goes through one text; it looks at what it is shown and calls `report`."""

    identifier: ClassVar[str]
    """How command lines, comments and SARIF name it; never changed."""
    code: ClassVar[str] = ""
    """What Tvix and snix call the same warning."""
    summary: ClassVar[str]
    """What it warns of, in a line."""
    advice: ClassVar[str]
    """What to do about it."""
    by_default: ClassVar[bool] = True
    """Whether it is asked without being named."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.findings: list[Finding] = []

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        """An expression, before its parts. `scope` is what surrounds it."""

    def scope_begins(self, scope: Scope) -> None:
        """A scope, before anything in it."""

    def scope_ends(self, scope: Scope) -> None:
        """A scope of which all is known, how often its names are used too."""

    def report(self, offset: int, text: str, length: int = 0) -> None:
        """Warn. Without a length it is that of the word at `offset`."""
        self.findings.append(Finding(type(self), offset, length or _word_length(self.text, offset), text))


_OPERATORS = ("&&", "||", "->", "==", "!=", "//", "++", "<=", ">=")


def _word_length(text: str, offset: int) -> int:
    if text[offset : offset + 2] in _OPERATORS:
        return 2
    if text[offset : offset + 1] == '"':
        end = text.find('"', offset + 1) + 1
        line = text.find("\n", offset)
        return end - offset if end and (line < 0 or end <= line) else 1
    end = offset
    while end < len(text) and (text[end].isalnum() or text[end] in "_'-") and text[end] < "\x80":
        end += 1
    return max(1, end - offset)
