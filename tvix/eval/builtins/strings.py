"""Strings. Those that are made of others depend on what they do."""

from __future__ import annotations

from tvix.eval.annotations import final, mypyc_attr
from tvix.eval.builtins.arguments import coerced, integer, list_of, text
from tvix.eval.coercion import to_text
from tvix.eval.errors import EvalError
from tvix.eval.functions import Primitive
from tvix.eval.strings import ContextString, context_of, with_context
from tvix.eval.values import Path, Thunk, force, force_thunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from typing import Any, Final

    from tvix.eval.evaluator import Evaluator
    from tvix.eval.values import Value

_FEW: Final = 8
"""Up to here, looking for the next place of each pattern is faster than trying all at each place."""


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
        context: set[str] | None = None
        if type(separator) is ContextString:
            context = set(separator.context)
        parts: list[str] = []
        for item in items:
            value: Value = force_thunk(item) if type(item) is Thunk else item
            if type(value) is str:
                parts.append(value)
            else:
                if context is None:
                    context = set()
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
        return _Replacing(patterns, replacements, context_of(subject)).replace(str(subject), subject)


@final
class _Replacing:
    """One call: what is replaced by what, and what the result depends on."""

    def __init__(self, patterns: list[str], replacements: tuple[Any, ...], context: AbstractSet[str]) -> None:
        self.patterns = patterns
        self.replacements = replacements
        self.context: set[str] = set()
        self.context |= context
        self.texts: list[Any] = [None] * len(patterns)

    def replace(self, subject: str, unchanged: str) -> str:
        """The string with everything replaced, or `unchanged` if none of the patterns is there."""
        present: list[int] = []
        places: list[int] = []
        everywhere = False
        for index, pattern in enumerate(self.patterns):
            place = subject.find(pattern)
            if place >= 0:
                present.append(index)
                places.append(place)
                everywhere = everywhere or not pattern
        if not present:
            return unchanged
        if everywhere or len(present) > _FEW:
            result = self._one_by_one(subject, present)
        elif len(present) == 1:
            result = subject.replace(self.patterns[present[0]], self._replacement(present[0]))
        else:
            result = self._place_by_place(subject, present, places)
        return with_context(result, self.context)

    def _place_by_place(self, subject: str, present: list[int], places: list[int]) -> str:
        """Look for each pattern's next place, and take the first of these."""
        parts: list[str] = []
        at = 0
        end = len(subject)
        while True:
            first = end
            chosen = -1
            for which in range(len(present)):
                place = places[which]
                if place < at:
                    place = subject.find(self.patterns[present[which]], at)
                    if place < 0:
                        place = end
                    places[which] = place
                if place < first:
                    first = place
                    chosen = present[which]
            if chosen < 0:
                parts.append(subject[at:])
                return "".join(parts)
            parts.append(subject[at:first])
            parts.append(self._replacement(chosen))
            at = first + len(self.patterns[chosen])

    def _one_by_one(self, subject: str, present: list[int]) -> str:
        """Try the patterns at one character after the other; an empty pattern is before each of them, and at the end."""
        everywhere: list[int] = []
        by_first: dict[str, list[int]] = {}
        for index in present:
            pattern = self.patterns[index]
            if not pattern:
                everywhere.append(index)
                for candidates in by_first.values():
                    candidates.append(index)
            elif pattern[0] in by_first:
                by_first[pattern[0]].append(index)
            else:
                by_first[pattern[0]] = [*everywhere, index]
        parts: list[str] = []
        at = 0
        while at < len(subject):
            found = self._found(subject, at, by_first.get(subject[at], everywhere))
            if found >= 0:
                parts.append(self._replacement(found))
            if found >= 0 and self.patterns[found]:
                at += len(self.patterns[found])
            else:
                parts.append(subject[at])
                at += 1
        if everywhere:
            parts.append(self._replacement(everywhere[0]))
        return "".join(parts)

    def _found(self, subject: str, at: int, candidates: list[int]) -> int:
        """The first pattern that is at this place, or -1."""
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
