"""The kinds of tokens, as integers, and what each is called in an error.

Binary operators come last, in the order of `FIRST_OPERATOR` and after it, so that one comparison tells them from the rest.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

END: Final = 0
INVALID: Final = 1
ID: Final = 2
INTEGER: Final = 3
FLOAT: Final = 4
STRING: Final = 5
INDENTED: Final = 6
PATH: Final = 7
HOME_PATH: Final = 8
SEARCH: Final = 9
PATH_END: Final = 10
URI: Final = 11
IF: Final = 12
THEN: Final = 13
ELSE: Final = 14
ASSERT: Final = 15
WITH: Final = 16
LET: Final = 17
IN: Final = 18
REC: Final = 19
INHERIT: Final = 20
OR_WORD: Final = 21
ELLIPSIS: Final = 22
QUOTE: Final = 23
INDENTED_OPEN: Final = 24
INDENTED_CLOSE: Final = 25
INTERPOLATION: Final = 26
BRACE_OPEN: Final = 27
BRACE_CLOSE: Final = 28
PARENTHESIS_OPEN: Final = 29
PARENTHESIS_CLOSE: Final = 30
BRACKET_OPEN: Final = 31
BRACKET_CLOSE: Final = 32
SEMICOLON: Final = 33
COLON: Final = 34
COMMA: Final = 35
DOT: Final = 36
AT: Final = 37
ASSIGN: Final = 38
NOT: Final = 39
PIPE_INTO: Final = 40
PIPE_FROM: Final = 41
IMPLIES: Final = 42
OR: Final = 43
AND: Final = 44
EQUAL: Final = 45
UNEQUAL: Final = 46
LESS: Final = 47
GREATER: Final = 48
LESS_EQUAL: Final = 49
GREATER_EQUAL: Final = 50
UPDATE: Final = 51
PLUS: Final = 52
MINUS: Final = 53
TIMES: Final = 54
DIVIDE: Final = 55
CONCATENATE: Final = 56
QUESTION: Final = 57

FIRST_OPERATOR: Final = IMPLIES

NAMES: Final[list[str]] = [
    "end of file",
    "invalid token",
    "ID",
    "INT_LIT",
    "FLOAT_LIT",
    "STR",
    "IND_STR",
    "PATH",
    "HPATH",
    "SPATH",
    "PATH_END",
    "URI",
    "IF",
    "THEN",
    "ELSE",
    "ASSERT",
    "WITH",
    "LET",
    "IN_KW",
    "REC",
    "INHERIT",
    "OR_KW",
    "ELLIPSIS",
    "'\"'",
    "IND_STRING_OPEN",
    "IND_STRING_CLOSE",
    "DOLLAR_CURLY",
    "'{'",
    "'}'",
    "'('",
    "')'",
    "'['",
    "']'",
    "';'",
    "':'",
    "','",
    "'.'",
    "'@'",
    "'='",
    "'!'",
    "PIPE_INTO",
    "PIPE_FROM",
    "IMPL",
    "OR",
    "AND",
    "EQ",
    "NEQ",
    "'<'",
    "'>'",
    "LEQ",
    "GEQ",
    "UPDATE",
    "'+'",
    "'-'",
    "'*'",
    "'/'",
    "CONCAT",
    "'?'",
]
"""As C++ Nix names them."""

OPERATORS: Final[list[str]] = ["->", "||", "&&", "==", "!=", "<", ">", "<=", ">=", "//", "+", "-", "*", "/", "++", "?"]
"""How the operators from `FIRST_OPERATOR` on are written."""

KEYWORDS: Final[dict[str, int]] = {
    "if": IF,
    "then": THEN,
    "else": ELSE,
    "assert": ASSERT,
    "with": WITH,
    "let": LET,
    "in": IN,
    "rec": REC,
    "inherit": INHERIT,
    "or": OR_WORD,
}

SINGLE: Final[dict[int, int]] = {
    40: PARENTHESIS_OPEN,
    41: PARENTHESIS_CLOSE,
    91: BRACKET_OPEN,
    93: BRACKET_CLOSE,
    59: SEMICOLON,
    58: COLON,
    44: COMMA,
    64: AT,
    42: TIMES,
    63: QUESTION,
}
"""Tokens that are one character and begin no other, by that character."""
