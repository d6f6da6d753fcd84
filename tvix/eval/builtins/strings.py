"""Strings. Those that are made of others depend on what they do."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import coerced, integer, list_of, text
from tvix.eval.coercion import to_text
from tvix.eval.errors import EvalError
from tvix.eval.functions import Primitive
from tvix.eval.strings import context_of, with_context
from tvix.eval.values import Path, force

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value


@final
@mypyc_attr(acyclic=True)
class BaseNameOf(Primitive):
    """`baseNameOf path`: what comes after the last slash, but one at the end."""

    def call1(self, first: Value) -> Value:
        context: set[str] = set()
        path = to_text(first, context, False, False, "while evaluating the first argument passed to builtins.baseNameOf")
        path = path.removesuffix("/")
        return with_context(path[path.rfind("/") + 1 :], context)


@final
@mypyc_attr(acyclic=True)
class DirOf(Primitive):
    """`dirOf path`: what comes before the last slash. A path stays a path."""

    def call1(self, first: Value) -> Value:
        value: Value = force(first)
        if type(value) is Path:
            return Path(value.text.rpartition("/")[0] or "/")
        context: set[str] = set()
        path = to_text(value, context, False, False, "while evaluating the first argument passed to 'builtins.dirOf'")
        return with_context(_directory(path), context)


def _directory(path: str) -> str:
    slash = path.rfind("/")
    if slash < 0:
        return "."
    directory = path[:slash].rstrip("/")
    if directory:
        return directory
    return "/" if slash + 1 < len(path) else path


@final
@mypyc_attr(acyclic=True)
class ConcatStringsSep(Primitive):
    """`concatStringsSep separator strings`."""

    def call2(self, first: Value, second: Value) -> Value:
        separator = text(first, "while evaluating the first argument (the separator string) passed to builtins.concatStringsSep")
        items = list_of(
            second, "while evaluating the second argument (the list of strings to concat) passed to builtins.concatStringsSep"
        )
        context: set[str] = set()
        context |= context_of(separator)
        parts: list[str] = []
        for item in items:
            value: Value = force(item)
            if type(value) is str:
                parts.append(value)
            else:
                purpose = "while evaluating one element of the list of strings to concat passed to builtins.concatStringsSep"
                parts.append(to_text(value, context, False, True, purpose))
        return with_context(str(separator).join(parts), context)


@final
@mypyc_attr(acyclic=True)
class ReplaceStrings(Primitive):
    """`replaceStrings from to string`: at each place the first of `from` that is there is replaced; of `to` only what is needed is
    evaluated.
    """

    def call3(self, first: Value, second: Value, third: Value) -> Value:
        wanted = list_of(first, "while evaluating the first argument passed to builtins.replaceStrings")
        replacements = list_of(second, "while evaluating the second argument passed to builtins.replaceStrings")
        if len(wanted) != len(replacements):
            raise EvalError("'from' and 'to' arguments passed to builtins.replaceStrings have different lengths")
        patterns: list[str] = []
        for item in wanted:
            patterns.append(str(text(item, "while evaluating one of the strings to replace passed to builtins.replaceStrings")))
        subject = text(third, "while evaluating the third argument passed to builtins.replaceStrings")
        plain = str(subject)
        if not _any_occurs(patterns, plain):
            return subject
        context: set[str] = set()
        context |= context_of(subject)
        return with_context(_Replacing(patterns, replacements, context).replace(plain), context)


def _any_occurs(patterns: list[str], subject: str) -> bool:
    for pattern in patterns:
        if pattern in subject:
            return True
    return False


@final
class _Replacing:
    """The patterns of one call, by their first characters; an empty one is everywhere."""

    def __init__(self, patterns: list[str], replacements: tuple[Any, ...], context: set[str]) -> None:
        self.patterns = patterns
        self.replacements = replacements
        self.context = context
        self.texts: list[Any] = [None] * len(patterns)
        self.everywhere: list[int] = []
        self.by_first: dict[str, list[int]] = {}
        for index, pattern in enumerate(patterns):
            if pattern:
                if pattern[0] not in self.by_first:
                    self.by_first[pattern[0]] = self.everywhere.copy()
                self.by_first[pattern[0]].append(index)
            else:
                self.everywhere.append(index)
                for candidates in self.by_first.values():
                    candidates.append(index)

    def replace(self, subject: str) -> str:
        """The string with everything replaced."""
        if len(self.patterns) == 1 and self.patterns[0]:
            return subject.replace(self.patterns[0], self._replacement(0))
        parts: list[str] = []
        at = 0
        kept = 0
        end = len(subject)
        while at <= end:
            found = self._found(subject, at)
            if found < 0:
                at += 1
                continue
            parts.append(subject[kept:at])
            parts.append(self._replacement(found))
            kept = at
            length = len(self.patterns[found])
            if length == 0:
                at += 1
            else:
                at += length
                kept = at
        parts.append(subject[kept:])
        return "".join(parts)

    def _found(self, subject: str, at: int) -> int:
        """The first pattern that is at this place, or -1."""
        candidates = self.everywhere
        if at < len(subject):
            candidates = self.by_first.get(subject[at], candidates)
        for index in candidates:
            if subject.startswith(self.patterns[index], at):
                return index
        return -1

    def _replacement(self, index: int) -> str:
        known: Any = self.texts[index]
        if known is None:
            known = text(
                self.replacements[index], "while evaluating one of the replacement strings passed to builtins.replaceStrings"
            )
            self.context |= context_of(known)
            known = str(known)
            self.texts[index] = known
        result: str = known
        return result


@final
@mypyc_attr(acyclic=True)
class StringLength(Primitive):
    """`stringLength string`, in bytes."""

    def call1(self, first: Value) -> Value:
        return len(coerced(first, "while evaluating the argument passed to builtins.stringLength"))


@final
@mypyc_attr(acyclic=True)
class Substring(Primitive):
    """`substring start length string`, in bytes; a negative length means up to the end."""

    def call3(self, first: Value, second: Value, third: Value) -> Value:
        start = integer(first, "while evaluating the first argument (the start offset) passed to builtins.substring")
        if start < 0:
            raise EvalError("negative start position in 'substring'")
        length = integer(second, "while evaluating the second argument (the substring length) passed to builtins.substring")
        subject: Value = coerced(third, "while evaluating the third argument (the string) passed to builtins.substring")
        plain: str = subject if type(subject) is str else str(subject)
        part = plain[start:] if length < 0 else plain[start : start + length]
        return part if type(subject) is str else with_context(part, context_of(subject))


def primitives(evaluator: Evaluator) -> list[Primitive]:
    """The builtins of this theme."""
    return [
        BaseNameOf("baseNameOf", 1),
        DirOf("dirOf", 1),
        ConcatStringsSep("concatStringsSep", 2),
        ReplaceStrings("replaceStrings", 3),
        StringLength("stringLength", 1),
        Substring("substring", 3),
    ]
