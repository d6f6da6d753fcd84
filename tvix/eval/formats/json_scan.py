"""The tokens of JSON, and what is wrong where there is none: as C++ Nix's JSON library says it, down to its columns.

A column counts the characters read on the line, the one that was too much included. "Last read" is everything since the last string
or number began.
"""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.errors import EvalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.annotations import i64

END: Final = "end of input"
STRING: Final = "string literal"
NUMBER: Final = "number literal"
LITERALS: Final[dict[str, str]] = {"true": "true literal", "false": "false literal", "null": "null literal"}
WRONG: Final = ""
"""The kind of what is no token."""

_CONTROLS: Final = (
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI",
    "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
)  # fmt: skip
_SHORT: Final[dict[int, str]] = {8: " or \\b", 9: " or \\t", 10: " or \\n", 12: " or \\f", 13: " or \\r"}
_UNESCAPED: Final[dict[str, str]] = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_DIGITS: Final = frozenset("0123456789")
_NO_HEX: Final = "'\\u' must be followed by 4 hex digits"
_NO_LOW: Final = "surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF"


@final
class Scanner:
    """`next` gives the kind of the next token; `value` is that of a string, number or literal, `reason` says what is wrong.

    `at` counts the characters that were read; one more stands for having seen the end.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.at: i64 = 0
        self.length: i64 = len(text)
        self.began: i64 = 0
        self.value: Any = None
        self.reason = ""
        self.gave_back_newline = False
        if text.startswith("\xef\xbb\xbf"):
            self.at = 3

    def next(self) -> str:
        """The kind of the next token."""
        text, length = self.text, self.length
        at = self.at
        self.gave_back_newline = False
        while at < length and (text[at] == " " or text[at] == "\n" or text[at] == "\t" or text[at] == "\r"):
            at += 1
        if at >= length:
            self.at = length + 1
            return END
        c = text[at]
        self.at = at + 1
        if c in "[]{}:,":
            return f"'{c}'"
        if at == 0 and c == "\xef":
            self.at = min(length, 2 if text[1:2] != "\xbb" else 3)
            return self._wrong("invalid BOM; must be 0xEF 0xBB 0xBF if given")
        if c == '"':
            self.began = at
            return self._string()
        if c == "-" or "0" <= c <= "9":
            self.began = at
            return self._number()
        for word in ("true", "false", "null"):
            if c == word[0]:
                return self._word(word)
        return self._wrong("invalid literal")

    def place(self) -> str:
        """Line and column."""
        read = self.text[: self.at]
        column = int(self.at) - (read.rfind("\n") + 1)
        if self.gave_back_newline:
            column = 0
        return f"line {read.count(chr(10)) + 1}, column {column}"

    def last_read(self) -> str:
        """Everything since the last string or number began."""
        return "".join([f"<U+{ord(c):04X}>" if c < " " else c for c in self.text[self.began : self.at]])

    def _wrong(self, reason: str) -> str:
        self.reason = reason
        return WRONG

    def _word(self, word: str) -> str:
        for expected in word[1:]:
            if self._read() != expected:
                return self._wrong("invalid literal")
        self.value = word == "true" if word != "null" else None
        return LITERALS[word]

    def _read(self) -> str:
        """The next character, empty at the end."""
        at = self.at
        self.at = at + 1
        return self.text[at] if at < self.length else ""

    def _string(self) -> str:
        parts: list[str] = []
        text, length = self.text, self.length
        start = self.at
        at = start
        while True:
            while at < length and text[at] != '"' and text[at] != "\\" and " " <= text[at] < "\x80":
                at += 1
            if at > start:
                parts.append(text[start:at])
            self.at = at + 1
            if at >= length:
                return self._wrong("invalid string: missing closing quote")
            c = text[at]
            if c == '"':
                break
            if c < " ":
                code = ord(c)
                name, short = _CONTROLS[code], _SHORT.get(code, "")
                return self._wrong(
                    f"invalid string: control character U+{code:04X} ({name}) must be escaped to \\u{code:04X}{short}"
                )
            problem = self._escape(parts) if c == "\\" else self._bytes(parts, ord(c))
            if problem:
                return self._wrong("invalid string: " + problem)
            start = at = self.at
        self.value = parts[0] if len(parts) == 1 else "".join(parts)
        return STRING

    def _bytes(self, parts: list[str], first: int) -> str:
        """A character of several bytes, the first of which was read; says what is wrong."""
        count = 1 if 0xC2 <= first <= 0xDF else 2 if 0xE0 <= first <= 0xEF else 3 if 0xF0 <= first <= 0xF4 else 0
        found = chr(first)
        low = {0xE0: "\xa0", 0xF0: "\x90"}.get(first, "\x80")
        high = {0xED: "\x9f", 0xF4: "\x8f"}.get(first, "\xbf")
        for _ in range(count):
            c = self._read()
            if not low <= c <= high:
                count = 0
                break
            found += c
            low, high = "\x80", "\xbf"
        parts.append(found)
        return "" if count else "ill-formed UTF-8 byte"

    def _escape(self, parts: list[str]) -> str:
        """What a backslash means; says what is wrong."""
        c = self._read()
        plain = _UNESCAPED.get(c)
        if plain is not None:
            parts.append(plain)
            return ""
        if c != "u":
            return "forbidden character after backslash"
        code = self._hex()
        if code < 0:
            return _NO_HEX
        if 0xDC00 <= code <= 0xDFFF:
            return "surrogate U+DC00..U+DFFF must follow U+D800..U+DBFF"
        if 0xD800 <= code <= 0xDBFF:
            if self._read() != "\\" or self._read() != "u":
                return _NO_LOW
            low = self._hex()
            if low < 0:
                return _NO_HEX
            if not 0xDC00 <= low <= 0xDFFF:
                return _NO_LOW
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
        parts.append(chr(code) if code < 0x80 else chr(code).encode().decode("latin-1"))
        return ""

    def _hex(self) -> int:
        digits = ""
        for _ in range(4):
            c = self._read()
            if c not in _HEX:
                return -1
            digits += c
        return int(digits, 16)

    def _number(self) -> str:
        negative = self.text[self.began] == "-"
        c = self._read() if negative else self.text[self.began]
        if c not in _DIGITS:
            return self._wrong("invalid number; expected digit after '-'")
        c = self._read() if c == "0" else self._digits()
        is_float = False
        if c == ".":
            if self._read() not in _DIGITS:
                return self._wrong("invalid number; expected digit after '.'")
            c = self._digits()
            is_float = True
        if c in {"e", "E"}:
            is_float = True
            c = self._read()
            if c in {"+", "-"}:
                if self._read() not in _DIGITS:
                    return self._wrong("invalid number; expected digit after exponent sign")
            elif c not in _DIGITS:
                return self._wrong("invalid number; expected '+', '-', or digit after exponent")
            c = self._digits()
        self.at -= 1
        self.gave_back_newline = c == "\n"
        self.value = _number_value(self.text[self.began : self.at], is_float)
        return NUMBER

    def _digits(self) -> str:
        """The first character behind the digits."""
        c = self._read()
        while c in _DIGITS:
            c = self._read()
        return c


def _number_value(text: str, is_float: bool) -> Any:
    if not is_float and len(text) <= 20:
        number = int(text)
        if -(1 << 63) <= number < 1 << 63:
            return number
        if 0 < number < 1 << 64:
            raise EvalError(f"unsigned json number {text} outside of Nix integer range")
    return float(text)
