"""The scalars and keys of TOML 1.0.0. What is refused is refused in the words of toml11, with which C++ Nix reads it."""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.errors import EvalError
from tvix.eval.formats.toml_times import is_time, refuse_times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_DIGITS: Final[dict[str, frozenset[str]]] = {
    "x": frozenset("0123456789abcdefABCDEF"),
    "o": frozenset("01234567"),
    "b": frozenset("01"),
    "": frozenset("0123456789"),
}
_BASES: Final[dict[str, tuple[str, int, str]]] = {
    "x": ("hex", 16, "0xC0FFEE, 0xdead_beef"),
    "o": ("oct", 8, "0o775, 0o04_44"),
    "b": ("bin", 2, "0b0101, 0b1111_0000"),
}
_ESCAPES: Final[dict[str, str]] = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_ENDS: Final = frozenset(" \t\r\n#,]}=")


def refused(reason: str) -> EvalError:
    """The error of a text that isn't TOML."""
    return EvalError(f"while parsing TOML: [error] {reason}")


@final
class Scanner:
    """Reads one thing after the other; `at` is where the next one begins."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        """The next character, empty at the end."""
        return self.text[self.at] if self.at < len(self.text) else ""

    def takes(self, expected: str) -> bool:
        """Whether `expected` comes next; then it is read."""
        if not self.text.startswith(expected, self.at):
            return False
        self.at += len(expected)
        return True

    def skip_blanks(self) -> None:
        """Spaces and tabs."""
        while self.peek() in {" ", "\t"}:
            self.at += 1

    def skip_lines(self) -> None:
        """Blanks, comments and newlines."""
        while True:
            self.skip_blanks()
            self.skip_comment()
            if not self.takes("\n") and not self.takes("\r\n"):
                return

    def skip_comment(self) -> None:
        """What follows `#` on the line."""
        if self.peek() != "#":
            return
        while self.at < len(self.text) and self.text[self.at] != "\n" and not self.text.startswith("\r\n", self.at):
            c = self.text[self.at]
            if (c < " " and c != "\t") or c == "\x7f":
                raise refused("toml::parse_comment_line: newline (LF / CRLF) or EOF is expected")
            self.at += 1

    def key(self) -> list[str]:
        """A key and what its dots separate."""
        found = [self._simple_key()]
        while True:
            before = self.at
            self.skip_blanks()
            if not self.takes("."):
                self.at = before
                return found
            self.skip_blanks()
            found.append(self._simple_key())

    def _simple_key(self) -> str:
        c = self.peek()
        if c == '"':
            return self._basic_string()
        if c == "'":
            return self._literal_string()
        start = self.at
        while self.peek() in _BARE and self.peek():
            self.at += 1
        if start == self.at:
            raise refused("toml::parse_simple_key: invalid key: key must be \"quoted\", 'quoted-literal', or bare key.")
        return self.text[start : self.at]

    def scalar(self) -> Any:
        """A string, boolean or number."""
        c = self.peek()
        if c == '"':
            return self._multi_line('"""') if self.text.startswith('"""', self.at) else self._basic_string()
        if c == "'":
            return self._multi_line("'''") if self.text.startswith("'''", self.at) else self._literal_string()
        if c and c in "tfTF":
            return self._boolean()
        rest = self.text[self.at :]
        if is_time(rest):
            raise refuse_times(rest)
        if c and (c in "+-_.inINuU" or "0" <= c <= "9"):
            return self._number()
        raise refused("bad format: unknown value appeared")

    def _boolean(self) -> bool:
        if self.takes("true"):
            return True
        if self.takes("false"):
            return False
        word = self._word().lower()
        if word in {"true", "false"}:
            raise refused(f"toml::parse_value: `{word}` must be in lowercase. A string must be surrounded by quotes.")
        raise refused("bad format: unknown value appeared")

    def _word(self) -> str:
        end = self.at
        while end < len(self.text) and self.text[end] not in _ENDS:
            end += 1
        return self.text[self.at : end]

    def _number(self) -> Any:
        word = self._word()
        sign = word[0] if word[0] in {"+", "-"} else ""
        bare = word[len(sign) :]
        if bare[:1] in {"i", "n", "I", "N"}:
            return self._not_finite(sign, bare)
        if bare[:1] == "0" and bare[1:2] in {"x", "o", "b"}:
            return self._based(sign, bare)
        whole = self._digits(bare, 0)
        if whole == 0:
            if bare[:1] == "_":
                raise refused("bad number: `_` must be surrounded by digits")
            if bare[:1] == ".":
                raise refused("bad float: integer part is required before decimal point")
            raise refused("bad format: unknown value appeared")
        if bare[whole : whole + 1] == "_":
            raise refused("bad integer: `_` must be surrounded by digits")
        if bare[0] == "0" and whole > 1:
            raise refused("bad integer: invalid digit after an integer")
        if bare[whole : whole + 1] in {".", "e", "E"}:
            return self._float(sign, bare, whole)
        number = int(sign + bare[:whole].replace("_", ""))
        if not -(1 << 63) <= number < 1 << 63:
            raise refused("toml::parse_dec_integer: too large integer: current max digits = 2^63")
        self.at += len(sign) + whole
        return number

    def _not_finite(self, sign: str, bare: str) -> float:
        for name in ("inf", "nan"):
            if bare.startswith(name):
                self.at += len(sign) + 3
                return float(sign + name)
        name = "inf" if bare[0] in {"i", "I"} else "nan"
        raise refused(f"toml::parse_value: `{name}` must be in lowercase. A string must be surrounded by quotes.")

    def _based(self, sign: str, bare: str) -> int:
        name, base, examples = _BASES[bare[1]]
        digits = self._digits(bare, 2, bare[1])
        if sign or digits == 2 or bare[digits : digits + 1] == "_":
            raise refused(f"toml::parse_{name}_integer: invalid integer: {name}_int must be like: {examples}")
        number = int(bare[2:digits].replace("_", ""), base)
        if number >= 1 << 63:
            raise refused(f"toml::parse_{name}_integer: too large integer: current max value = 2^63")
        self.at += digits
        return number

    def _float(self, sign: str, bare: str, end: int) -> float:
        if bare[end] == ".":
            fraction = self._digits(bare, end + 1)
            if fraction == end + 1:
                raise refused("bad float: invalid format")
            end = fraction
        if bare[end : end + 1] in {"e", "E"}:
            start = end + 2 if bare[end + 1 : end + 2] in {"+", "-"} else end + 1
            exponent = self._digits(bare, start)
            if exponent == start:
                raise refused("bad float: invalid format")
            end = exponent
        if bare[end : end + 1] == "_":
            raise refused("bad float: `_` must be surrounded by digits")
        number = float(sign + bare[:end].replace("_", ""))
        if number in {float("inf"), float("-inf")}:
            raise refused("toml::parse_floating: failed to read floating point value from stream")
        self.at += len(sign) + end
        return number

    def _digits(self, text: str, at: int, base: str = "") -> int:
        """Where digits, with single underscores between them, end."""
        allowed = _DIGITS[base]
        start = at
        while at < len(text):
            if text[at] in allowed:
                at += 1
            elif text[at] == "_" and at > start and text[at + 1 : at + 2] in allowed and text[at + 1 : at + 2]:
                at += 2
            else:
                break
        return at

    def _literal_string(self) -> str:
        end = self.at + 1
        while end < len(self.text) and self.text[end] != "'" and _may_stand(self.text[end]):
            end += 1
        if self.text[end : end + 1] != "'":
            raise refused("toml::parse_literal_string: invalid string format")
        found = self.text[self.at + 1 : end]
        self.at = end + 1
        return found

    def _basic_string(self) -> str:
        parts: list[str] = []
        self.at += 1
        while not self.takes('"'):
            c = self.peek()
            if not c or not _may_stand(c):
                raise refused("toml::parse_basic_string: invalid string format")
            self.at += 1
            parts.append(c if c != "\\" else self._escape("parse_basic_string"))
        return "".join(parts)

    def _multi_line(self, quotes: str) -> str:
        """A string in three quotes, up to two more of which may stand at its end."""
        is_basic = quotes[0] == '"'
        name = "parse_ml_basic_string" if is_basic else "parse_ml_literal_string"
        self.at += 3
        if not self.takes("\n"):
            self.takes("\r\n")
        parts: list[str] = []
        while True:
            if self.takes(quotes):
                more = 0
                while more < 2 and self.takes(quotes[0]):
                    more += 1
                parts.append(quotes[0] * more)
                return "".join(parts)
            c = self.peek()
            if self.takes("\r\n"):
                parts.append("\r\n")
                continue
            if not c or (c != "\n" and not _may_stand(c)):
                raise refused(f"toml::{name}: invalid string format")
            self.at += 1
            if c != "\\" or not is_basic:
                parts.append(c)
            elif not self._line_ends():
                parts.append(self._escape(name))

    def _line_ends(self) -> bool:
        """Behind a backslash: if nothing but blanks follows on the line, everything up to the next word is skipped."""
        before = self.at
        self.skip_blanks()
        if self.peek() != "\n" and not self.text.startswith("\r\n", self.at):
            self.at = before
            return False
        while self.peek() in {" ", "\t", "\n"} or self.text.startswith("\r\n", self.at):
            self.at += 1
        return True

    def _escape(self, name: str) -> str:
        c = self.peek()
        self.at += 1
        plain = _ESCAPES.get(c)
        if plain is not None:
            return plain
        if c not in {"u", "U"}:
            raise refused(f"toml::{name}: invalid string format")
        length = 4 if c == "u" else 8
        digits = self.text[self.at : self.at + length]
        if len(digits) < length or not all(digit in _DIGITS["x"] for digit in digits):
            raise refused(f"toml::{name}: invalid string format")
        self.at += length
        code = int(digits, 16)
        if 0xD800 <= code <= 0xDFFF:
            raise refused("toml::parse_utf8_codepoint: [0xD800, 0xDFFF] is not a valid UTF-8")
        if code > 0x10FFFF:
            raise refused("toml::parse_utf8_codepoint: input codepoint is too large.")
        return chr(code).encode().decode("latin-1")


def _may_stand(c: str) -> bool:
    """Whether a string may hold a character as it is."""
    return (c >= " " and c != "\x7f") or c == "\t"
