"""Literals that are dubious: URLs without quotes, and hashes that aren't quite ones."""

from __future__ import annotations

from tvix.eval.lint.rule import Rule
from tvix.eval.syntax import Interpolated, Literal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.lint.scopes import Scope
    from tvix.eval.syntax import Expression


class UrlLiteral(Rule):
    """`https://example.org` without quotes."""

    identifier = "url-literal"
    code = "W001"
    summary = "a URL without quotes"
    advice = "put it into quotes"

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._in_strings: set[int] = set()
        """What is text of a string that has interpolations, too."""

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        if type(tree) is Interpolated:
            self._in_strings.update([id(part) for part in tree.parts if type(part) is Literal])
        if type(tree) is not Literal or not isinstance(tree.value, str) or id(tree) in self._in_strings:
            return
        at = tree.position
        quoted = self.text[max(0, at - 2) : at] == "''"
        if not quoted and ":" in tree.value and self.text[at : at + 1].isalpha() and self.text.startswith(tree.value, at):
            self.report(at, f"the URL {tree.value} has no quotes", len(tree.value))


class HashPadding(Rule):
    """`sha256-…` with too few or too many `=` at its end. C++ Nix takes it all the same."""

    identifier = "hash-padding"
    code = "W012"
    summary = "a hash in SRI form with wrong padding"
    advice = "let as many = follow as base 64 demands"

    def expression(self, tree: Expression, scope: Scope | None) -> None:
        if type(tree) is not Literal or not isinstance(tree.value, str):
            return
        algorithm, dash, rest = tree.value.partition("-")
        digits = rest.rstrip("=")
        if not dash or algorithm not in _DIGITS or len(digits) != _DIGITS[algorithm] or not _is_base64(digits):
            return
        if len(rest) % 4 or len(rest) - len(digits) != -len(digits) % 4:
            self.report(tree.position, f"this {algorithm} hash should end in {-len(digits) % 4} =")


_DIGITS = {"md5": 22, "sha1": 27, "sha256": 43, "sha512": 86}


def _is_base64(text: str) -> bool:
    return text.isascii() and all(character.isalnum() or character in "+/" for character in text)
