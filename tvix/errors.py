"""The base of every error that a person may see.

A subclass stands beside the code that raises it. `message` is filled from the fields; it is data, not a docstring, since compiled
code and `python -OO` drop docstrings. `identifier` never changes once released, because scripts match on it; `docs/errors.md` is
made from the subclasses. PID 1 imports this module, so it imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

# Exit codes of sysexits(3), with the meaning each has here.
EX_USAGE = 64
"""The command line is wrong."""
EX_DATAERR = 65
"""The data is wrong: it doesn't parse, or isn't what its name promises."""
EX_NOINPUT = 66
"""Something named is not there."""
EX_UNAVAILABLE = 69
"""A store or a service can't be reached."""
EX_IOERR = 74
"""The operating system refused to read or write."""
EX_TEMPFAIL = 75
"""Not now; the same call may work later."""
EX_NOPERM = 77
"""Refused: not allowed, or against what the store already holds."""


class TvixError(Exception):
    """Something a person can be told in one line, with what to do about it."""

    identifier: ClassVar[str] = "tvix"
    message: ClassVar[str] = "{detail}"
    hint: ClassVar[str | None] = None
    exit_code: ClassVar[int] = 1

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        super().__init__(self.message.format(**fields))

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process boundaries: rebuild from the class and its fields."""
        return (_rebuild, (type(self), self.fields))


def _rebuild(kind: type[TvixError], fields: dict[str, object]) -> TvixError:
    return kind(**fields)
