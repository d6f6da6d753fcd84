"""Resolved code: what the resolver makes of a syntax tree, the cache keeps, and the compiler turns into nodes.

Every piece is a tuple of an opcode and operands, made of tuples, strings, integers, floats, None and bytes alone, so that `marshal`
writes and reads it. Bytes in the place of a piece are a piece, marshalled for itself: it is only read once it is needed. `at` is a
byte offset in the source. A change here needs a new `FORMAT`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeAlias

    Code: TypeAlias = "tuple[Any, ...] | bytes"

FORMAT: Final = 3

CONSTANT: Final = 0  # value: int, float or str
GLOBAL: Final = 1  # name of a builtin or constant in scope everywhere, at
ARGUMENT: Final = 2  # scopes up, at
SLOT: Final = 3  # scopes up, index, at
SIBLING: Final = 4  # variable
WITH_VARIABLE: Final = 5  # name, (scopes up to each `with` and where that is, …, innermost first), at
PATH: Final = 6  # text as written
CURRENT_POSITION: Final = 7  # at
LAST_TRIVIAL: Final = 7

APPLY: Final = 10  # function, (arguments), at
BUILTIN: Final = 11  # name, (arguments), at
SELECT: Final = 12  # set, name, at
SELECT_PATH: Final = 13  # set, (names: str or code), at
SELECT_OR: Final = 14  # set, (names: str or code), default, at
HAS: Final = 15  # set, (names: str or code), at

LAMBDA: Final = 20  # parameter, body, at, name
FORMALS: Final = 21  # (names), (defaults or None), (positions), ellipsis, name of the whole set or "", body, at, name
LET: Final = 22  # (bindings: code), body
SET: Final = 23  # (name, code, at, …), ((name code, code, at), …), at
RECURSIVE: Final = 24  # the same, then the slot of __overrides or -1, (what `inherit (from)` selects from)
WITH: Final = 25  # set, body, at
LIST: Final = 26  # (items)
INHERIT_SOURCES: Final = 27  # (what `inherit (from)` selects from), the set around which this makes a scope

IF: Final = 30  # condition, yes, no, at
ASSERT: Final = 31  # condition, body, at
INTERPOLATION: Final = 32  # (parts), (where each is), at
PATH_INTERPOLATION: Final = 33  # base as written, (parts), (where each is), at
NOT: Final = 34  # operand, at
NEGATE: Final = 35  # operand, at
FIRST_BINARY: Final = 40  # from here on: left, right, at
AND: Final = 40
OR: Final = 41
IMPLIES: Final = 42
EQUAL: Final = 43
NOT_EQUAL: Final = 44
UPDATE: Final = 45
CONCATENATE: Final = 46
ADD: Final = 47  # and where the operands begin
SUBTRACT: Final = 48
LESS: Final = 49
GREATER_OR_EQUAL: Final = 50
GREATER: Final = 51
LESS_OR_EQUAL: Final = 52
MULTIPLY: Final = 53
DIVIDE: Final = 54

BINARY: Final[dict[str, int]] = {
    "&&": AND,
    "||": OR,
    "->": IMPLIES,
    "==": EQUAL,
    "!=": NOT_EQUAL,
    "//": UPDATE,
    "++": CONCATENATE,
    "+": ADD,
    "-": SUBTRACT,
    "<": LESS,
    ">=": GREATER_OR_EQUAL,
    ">": GREATER,
    "<=": LESS_OR_EQUAL,
    "*": MULTIPLY,
    "/": DIVIDE,
}

WORDS: Final[dict[int, str]] = {
    CONSTANT: "constant",
    GLOBAL: "global",
    ARGUMENT: "argument",
    SLOT: "slot",
    SIBLING: "sibling",
    WITH_VARIABLE: "with-variable",
    PATH: "path",
    CURRENT_POSITION: "__curPos",
    APPLY: "call",
    BUILTIN: "builtin-call",
    SELECT: "select",
    SELECT_PATH: "select-path",
    SELECT_OR: "select-or",
    HAS: "has",
    LAMBDA: "function",
    FORMALS: "pattern-function",
    LET: "let",
    SET: "set",
    RECURSIVE: "rec",
    WITH: "with",
    LIST: "list",
    INHERIT_SOURCES: "inherit",
    IF: "if",
    ASSERT: "assert",
    INTERPOLATION: "interpolation",
    PATH_INTERPOLATION: "path-interpolation",
    NOT: "!",
    NEGATE: "negate",
    **{opcode: operator for operator, opcode in BINARY.items()},
}
"""What people see of opcodes: in dumps, traces and counters."""
