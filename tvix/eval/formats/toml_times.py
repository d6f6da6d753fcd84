"""Dates and times in TOML, which C++ Nix knows and refuses."""

from __future__ import annotations

from tvix.eval.errors import EvalError


def is_time(text: str) -> bool:
    """Whether a text begins as a date (`1979-`) or a time of day (`07:`) does."""
    return (_digits(text, 0, 4) and text[4:5] == "-") or (_digits(text, 0, 2) and text[2:3] == ":")


def refuse_times(text: str) -> EvalError:
    """The error for such a text: what is wrong with it, or that it isn't supported."""
    rest = text
    if text[4:5] == "-":
        if not (_digits(text, 5, 2) and text[7:8] == "-" and _digits(text, 8, 2)):
            return _refused("bad date: must be YYYY-MM-DD")
        if not _is_date(int(text[:4]), int(text[5:7]), int(text[8:10])):
            return _refused("toml::parse_local_date: invalid date.")
        rest = text[11:] if text[10:11] in {"T", "t"} or (text[10:11] == " " and _digits(text, 11, 2)) else ""
        if not rest and text[10:11] not in {"T", "t"}:
            return _unsupported()
    if not (_digits(rest, 0, 2) and rest[2:3] == ":" and _digits(rest, 3, 2) and rest[5:6] == ":" and _digits(rest, 6, 2)):
        return _refused("bad time: must be HH:MM:SS.subsec")
    if int(rest[:2]) > 23 or int(rest[3:5]) > 59 or int(rest[6:8]) > 60:
        return _refused("toml::parse_local_time: invalid time.")
    return _unsupported()


def _digits(text: str, at: int, count: int) -> bool:
    digits = text[at : at + count]
    return len(digits) == count and digits.isdecimal() and digits.isascii()


def _is_date(year: int, month: int, day: int) -> bool:
    if not 1 <= month <= 12:
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 30 if month in {4, 6, 9, 11} else 31 if month != 2 else 29 if leap else 28
    return 1 <= day <= last


def _refused(reason: str) -> EvalError:
    return EvalError(f"while parsing TOML: [error] {reason}")


def _unsupported() -> EvalError:
    return EvalError("while parsing TOML: Dates and times are not supported")
