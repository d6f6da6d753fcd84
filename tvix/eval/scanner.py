"""From text to tokens, one at a time.

What a character means depends on where it stands: in code, in a string, in an indented string or in a path, and each of these may
be inside another. The scanner keeps a stack of such modes: `"`, `''` and paths enter one, `${` and `{` enter code again, and
whatever closes them goes back.

The text is read character by character through `ord`, which costs two nanoseconds when it is compiled, where a regular expression
a token costs half a microsecond. Four NULs after its end spare the tests for it.
"""

from __future__ import annotations

from sys import intern

from tvix.eval import tokens
from tvix.eval.annotations import final
from tvix.eval.characters import in_name, in_path, in_uri
from tvix.eval.errors import SyntaxError_
from tvix.eval.escapes import unescaped
from tvix.eval.numerals import digits_end, float_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.annotations import i64

CODE: Final = 0
IN_STRING: Final = 1
IN_INDENTED: Final = 2
IN_PATH: Final = 3
AFTER_SLASH: Final = 4
"""In a path, whose last character was a slash."""


@final
class Scanner:
    """The current token is `kind`, `value` and `start`; `advance` goes to the next. `value` is the text of names, the contents of
    strings, the digits of numbers. `verbatim` tells text of an indented string from its escapes."""

    def __init__(self, text: str, first_position: int, pipes: bool) -> None:
        self.text = text + "\0\0\0\0"
        self.size: i64 = len(text)
        self.first_position = first_position
        self.pipes = pipes
        self.kind: i64 = tokens.END
        self.value = ""
        self.start: i64 = 0
        self.verbatim = True
        self._at: i64 = 0
        self._mode: i64 = CODE
        self._outer: list[int] = []
        self._before: i64 = 0
        """The start of the token before the current one."""
        self._earlier: i64 = 0
        """And of the one before that."""
        self._last_piece: i64 = -1
        """The start of what ended a path at the end of the text: there is where C++ Nix says that the file ends."""
        self._run_end: i64 = 0
        """Where the path characters end among which the scanner is, so that `1+1+1…` isn't searched for a slash at every `+`."""

    def advance(self) -> None:
        """Read the next token."""
        self._earlier = self._before
        self._before = self.start
        if self._mode != CODE:
            self._advance_in_mode()
            return
        i = self._after_blanks(self._at)
        self.start = i
        c: i64 = ord(self.text[i])
        if 97 <= c <= 122 or 65 <= c <= 90 or c == 95:
            self._word(i)
        elif 48 <= c <= 57 or c == 46 or c == 43 or c == 45 or c == 47:
            self._number_or_path(i, c)
        elif c == 34:
            self.kind = tokens.QUOTE
            self._enter(IN_STRING, i + 1)
        elif c == 123:
            self.kind = tokens.BRACE_OPEN
            self._enter(CODE, i + 1)
        elif c == 125:
            self.kind = tokens.BRACE_CLOSE
            self._at = i + 1
            if self._outer:
                self._mode = self._outer.pop()
        else:
            self._other(i, c)

    def end(self) -> i64:
        """Where the current token ends."""
        return self._at

    def fail(self, text: str, offset: i64) -> SyntaxError_:
        """The error to raise for what is at `offset`."""
        return SyntaxError_(text, self.first_position + offset)

    def _with_nul(self, i: i64, j: i64) -> SyntaxError_:
        """What to raise for text of a string from `i` to `j`."""
        shown = self.text[i:j].replace("\0", "\xe2\x90\x80")
        return self.fail(f"input string '{shown}' cannot be represented as Nix string because it contains null bytes", i)

    def _after_blanks(self, i: i64) -> i64:
        """Where white space and comments end."""
        s = self.text
        while True:
            c: i64 = ord(s[i])
            if c == 32 or c == 10 or c == 9 or c == 13:
                i += 1
            elif c == 35:
                while c != 10 and c != 13 and (c != 0 or i < self.size):
                    i += 1
                    c = ord(s[i])
            elif c == 47 and ord(s[i + 1]) == 42:
                end: i64 = s.find("*/", i + 2)
                if end < 0:
                    return i
                i = end + 2
            else:
                return i

    def _enter(self, mode: i64, at: i64) -> None:
        self._outer.append(self._mode)
        self._mode = mode
        self._at = at

    def _word(self, i: i64) -> None:
        """A name, a keyword, a URI, or a path that begins with a letter."""
        s = self.text
        j = i + 1
        c: i64 = ord(s[j])
        while 97 <= c <= 122 or 65 <= c <= 90 or 48 <= c <= 57 or c == 45 or c == 95:
            j += 1
            c = ord(s[j])
        if c == 39:
            while in_name(ord(s[j])):
                j += 1
        elif (c == 47 or c == 46 or c == 43 or c == 58) and self._path_or_uri(i, j):
            return
        value = intern(s[i:j])
        self.value = value
        self._at = j
        self.kind = tokens.ID
        if 2 <= j - i <= 7 and value in tokens.KEYWORDS:
            self.kind = tokens.KEYWORDS[value]

    def _path_or_uri(self, i: i64, j: i64) -> bool:
        """Whether what begins at `i`, and is a name up to `j`, is a path or a URI; which then is the token."""
        s = self.text
        j = self._run(j)
        c: i64 = ord(s[j])
        if c == 47:
            end = self._path_end(i)
            if end >= 0:
                self._path(i, end, tokens.PATH)
                return True
        elif c == 58 and in_uri(ord(s[j + 1])) and s.find("_", i, j) < 0:
            j += 1
            while in_uri(ord(s[j])):
                j += 1
            self.kind = tokens.URI
            self.value = s[i:j]
            self._at = j
            return True
        return False

    def _run(self, k: i64) -> i64:
        """Where the path characters from `k` on end."""
        if k >= self._run_end:
            s = self.text
            while in_path(ord(s[k])):
                k += 1
            self._run_end = k
        return self._run_end

    def _path_end(self, k: i64) -> i64:
        """Where a path from `k` on ends, with its last slash; -1 if there is none."""
        s = self.text
        k = self._run(k)
        if ord(s[k]) != 47:
            return -1
        if not in_path(ord(s[k + 1])):
            return k + 1 if ord(s[k + 1]) == 36 and ord(s[k + 2]) == 123 else -1
        while ord(s[k]) == 47 and in_path(ord(s[k + 1])):
            k += 2
            while in_path(ord(s[k])):
                k += 1
        return k + 1 if ord(s[k]) == 47 else k

    def _path(self, i: i64, end: i64, kind: i64) -> None:
        self.kind = kind
        self.value = self.text[i:end]
        self._enter(AFTER_SLASH if ord(self.text[end - 1]) == 47 else IN_PATH, end)

    def _number_or_path(self, i: i64, c: i64) -> None:
        s = self.text
        end = self._path_end(i)
        if end >= 0:
            self._path(i, end, tokens.PATH)
            return
        d: i64 = ord(s[i + 1])
        if c == 46 and d == 46 and ord(s[i + 2]) == 46:
            self._plain(tokens.ELLIPSIS, i + 3)
        elif 48 <= c <= 57 or (c == 46 and 48 <= d <= 57):
            self._number(i)
        elif c == 46:
            self._plain(tokens.DOT, i + 1)
        elif c == 43:
            self._one_or_two(i, d == 43, tokens.PLUS, tokens.CONCATENATE)
        elif c == 45:
            self._one_or_two(i, d == 62, tokens.MINUS, tokens.IMPLIES)
        else:
            self._one_or_two(i, d == 47, tokens.DIVIDE, tokens.UPDATE)

    def _number(self, i: i64) -> None:
        s = self.text
        end = float_end(s, i)
        self.kind = tokens.FLOAT
        if end < 0:
            self.kind = tokens.INTEGER
            end = digits_end(s, i)
        self.value = s[i:end]
        self._at = end

    def _plain(self, kind: i64, at: i64) -> None:
        self.kind = kind
        self._at = at

    def _one_or_two(self, i: i64, two: bool, short: i64, long: i64) -> None:
        """An operator of one character, or of two."""
        if two:
            self.kind = long
            self._at = i + 2
        else:
            self.kind = short
            self._at = i + 1

    def _other(self, i: i64, c: i64) -> None:
        single = tokens.SINGLE.get(c, -1)
        if single >= 0:
            self.kind = single
            self._at = i + 1
            return
        s = self.text
        d: i64 = ord(s[i + 1])
        if c == 61:
            self._one_or_two(i, d == 61, tokens.ASSIGN, tokens.EQUAL)
        elif c == 39 and d == 39:
            self._open_indented(i + 2)
        elif c == 36 and d == 123:
            self.kind = tokens.INTERPOLATION
            self._enter(CODE, i + 2)
        elif c == 60:
            self._less(i, d)
        elif c == 62:
            self._one_or_two(i, d == 61, tokens.GREATER, tokens.GREATER_EQUAL)
        elif c == 33:
            self._one_or_two(i, d == 61, tokens.NOT, tokens.UNEQUAL)
        elif c == 38 and d == 38:
            self._plain(tokens.AND, i + 2)
        elif c == 124 and d == 124:
            self._plain(tokens.OR, i + 2)
        elif c == 124 and d == 62:
            self._pipe(tokens.PIPE_INTO, i)
        elif c == 126 and d == 47 and self._path_end(i + 1) >= 0:
            self._path(i, self._path_end(i + 1), tokens.HOME_PATH)
        elif c == 0:
            self._end(i)
        else:
            self._plain(tokens.INVALID, i + 1)

    def _end(self, i: i64) -> None:
        self.kind = tokens.END
        if self._last_piece >= 0:
            self.start = self._last_piece
        elif i < self.size:
            self.start = i + 1  # a NUL ends the text, and is part of it

    def _less(self, i: i64, d: i64) -> None:
        """`<name>`, `<`, `<=` or `<|`."""
        s = self.text
        j = i + 1
        while in_path(ord(s[j])) or (ord(s[j]) == 47 and j > i + 1 and in_path(ord(s[j + 1]))):
            j += 1
        if ord(s[j]) == 62 and j > i + 1:
            self.kind = tokens.SEARCH
            self.value = s[i + 1 : j]
            self._at = j + 1
        elif d == 124:
            self._pipe(tokens.PIPE_FROM, i)
        else:
            self._one_or_two(i, d == 61, tokens.LESS, tokens.LESS_EQUAL)

    def _pipe(self, kind: i64, i: i64) -> None:
        if not self.pipes:
            raise self.fail(_NO_PIPES, i)
        self._plain(kind, i + 2)

    def _open_indented(self, i: i64) -> None:
        """After `''`, spaces up to the end of the line belong to the opening."""
        s = self.text
        j = i
        while ord(s[j]) == 32:
            j += 1
        self.kind = tokens.INDENTED_OPEN
        self._enter(IN_INDENTED, j + 1 if ord(s[j]) == 10 else i)

    def _advance_in_mode(self) -> None:
        i = self._at
        s = self.text
        self.start = i
        c: i64 = ord(s[i])
        if c == 36 and ord(s[i + 1]) == 123:
            if self._mode == AFTER_SLASH:
                self._mode = IN_PATH
            self.kind = tokens.INTERPOLATION
            self._enter(CODE, i + 2)
        elif c == 0 and i >= self.size and self._mode < IN_PATH:
            self.kind = tokens.END
        elif self._mode == IN_STRING:
            if c == 34:
                self._leave(tokens.QUOTE, i + 1)
            else:
                self._string(i)
        elif self._mode == IN_INDENTED:
            self._indented(i, c)
        else:
            self._in_path(i, c)

    def _leave(self, kind: i64, at: i64) -> None:
        self.kind = kind
        self._at = at
        self._mode = self._outer.pop()

    def _string(self, i: i64) -> None:
        """Text between quotes and interpolations."""
        s = self.text
        j = i
        raw = True
        nul = False
        while True:
            c: i64 = ord(s[j])
            if c == 34:
                break
            if c == 92:
                raw = False
                j += 2
            elif c == 36:
                d: i64 = ord(s[j + 1])
                if d == 123:
                    break
                j += 2 if d == 36 else 1
            elif c == 0 and j >= self.size:
                break
            else:
                if c <= 13:
                    raw = raw and c != 13
                    nul = nul or c == 0
                j += 1
        self.kind = tokens.STRING
        if j > self.size:
            j = self.size
        self._at = j
        if nul:
            raise self._with_nul(i, j)
        self.value = s[i:j] if raw else unescaped(s[i:j])

    def _indented(self, i: i64, c: i64) -> None:
        """Text of an indented string, one of its escapes, or its end."""
        s = self.text
        d: i64 = ord(s[i + 1])
        if c == 39 and d == 39:
            self._escape(i)
            return
        self.kind = tokens.INDENTED
        if c == 39 and d == 36:
            self._constant("'", i + 1)
            return
        if c == 36 and d == 39:
            self._constant("$", i + 1)
            return
        j = i
        nul = False
        while True:
            c = ord(s[j])
            if c == 36 or c == 39:
                d = ord(s[j + 1])
                if d == 39 or d == (123 if c == 36 else 36):
                    break
                j += 2
            elif c == 0 and j >= self.size:
                break
            else:
                nul = nul or c == 0
                j += 1
        if j > self.size:
            j = self.size
        if nul:
            raise self._with_nul(i, j)
        self.value = s[i:j]
        self.verbatim = True
        self._at = j

    def _constant(self, value: str, at: i64) -> None:
        self.kind = tokens.INDENTED
        self.value = value
        self.verbatim = False
        self._at = at

    def _escape(self, i: i64) -> None:
        """After `''`: one of `''$`, `'''` and `''\\x`, or the end of the string."""
        s = self.text
        c: i64 = ord(s[i + 2])
        if c == 36:
            self._constant("$", i + 3)
        elif c == 39:
            self._constant("''", i + 3)
        elif c == 92 and i + 3 < self.size:
            self._constant(unescaped(s[i + 2 : i + 4]), i + 4)
        else:
            self._leave(tokens.INDENTED_CLOSE, i + 2)

    def _in_path(self, i: i64, c: i64) -> None:
        """More of a path, or its end."""
        s = self.text
        if not in_path(c) and c != 47:
            if self._mode == AFTER_SLASH:
                raise self.fail("path has a trailing slash", i if i < self.size else self._before)
            self.start = self._before
            if i >= self.size:
                self._last_piece = self._before
                self.start = self._earlier
            self._leave(tokens.PATH_END, i)
            return
        end = self._path_end(i)
        if end < 0:
            end = i
            while in_path(ord(s[end])):
                end += 1
            if ord(s[end]) == 47:
                end += 1
        self.kind = tokens.STRING
        self.value = s[i:end]
        self._at = end
        self._mode = AFTER_SLASH if ord(s[end - 1]) == 47 else IN_PATH


_NO_PIPES: Final = (
    "experimental Nix feature 'pipe-operators' is disabled; add '--extra-experimental-features pipe-operators' to enable it"
)
