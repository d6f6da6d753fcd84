"""Words of a command line, read without argparse, which takes longer to load than a small evaluation takes.

A verb's options are a table of `Option`s; `read` reads words by it, and `add_to` gives it to argparse, which makes the help.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence


_DIGITS = 18


class Option:
    """An option: what it is called (`-I`, `--include`), what it takes, and what it is for."""

    def __init__(self, names: str, takes: str, text: str) -> None:
        self.names = names.split()
        self.name = self.names[-1]
        self.takes = tuple(takes.split())
        self.text = text


class Words:
    """What was read: options in their order, by their long names, with what they were given, and all other words."""

    def __init__(self) -> None:
        self.options: list[tuple[str, tuple[str, ...]]] = []
        self.rest: list[str] = []

    def has(self, name: str) -> bool:
        """Whether an option was given."""
        return any(given == name for given, _ in self.options)

    def all(self, name: str) -> list[tuple[str, ...]]:
        """What an option was given, each time."""
        return [values for given, values in self.options if given == name]

    def last(self, name: str) -> str | None:
        """What an option was given the last time; None without it."""
        values = self.all(name)
        return values[-1][0] if values else None


def read(words: Sequence[str], options: Sequence[Option], command: str) -> Words:
    """Read all words. Long options may have their value behind `=`, short ones right behind them; what follows `--` is no option.

    Raises `UsageError`.
    """
    known = {name: option for option in options for name in option.names}
    result = Words()
    waiting = list(words)[::-1]
    while waiting:
        word = waiting.pop()
        if word == "--":
            result.rest += waiting[::-1]
            break
        if not word.startswith("-") or word == "-":
            result.rest.append(word)
            continue
        option = known.get(word)
        if option is None:
            option = _with_value(word, known, waiting)
        if option is None:
            raise usage_error(command, f"there is no option {word}{_suggestion(word, known)}")
        if len(waiting) < len(option.takes):
            raise usage_error(command, f"{word.partition('=')[0]} takes {' '.join(option.takes)}")
        result.options.append((option.name, tuple([waiting.pop() for _ in option.takes])))
    return result


def add_to(parser: ArgumentParser, options: Sequence[Option]) -> None:
    """Say the same to argparse, for its help."""
    for option in options:
        if option.takes:
            parser.add_argument(*option.names, action="append", nargs=len(option.takes), metavar=option.takes, help=option.text)
        else:
            parser.add_argument(*option.names, action="store_true", help=option.text)


def _with_value(word: str, known: dict[str, Option], waiting: list[str]) -> Option | None:
    """The option of `--name=value` or `-nvalue`, whose value is then the next word."""
    name, separator, value = word.partition("=") if word.startswith("--") else (word[:2], "", word[2:])
    option = known.get(name)
    if option is None or len(option.takes) != 1 or (word.startswith("--") and not separator):
        return None
    waiting.append(value)
    return option


def _suggestion(word: str, known: dict[str, Option]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def whole_number(text: str, command: str, option: str, written: str = "") -> int:
    """A positive number in decimal digits, which may be part of what was `written`. Raises `UsageError`."""
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text):
        return int(text)
    raise usage_error(command, f"{option} takes a whole number, not {written or text}")


def usage_error(command: str, reason: str) -> Exception:
    """A `UsageError`, whose module is only loaded where it is needed."""
    from appliance.cli.options import UsageError

    return UsageError(command=command, reason=reason)
