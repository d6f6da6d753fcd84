"""The names of characters and classes that brackets know, in the C locale: `[[.hyphen.]]`, `[[:alpha:]]`, `[[=a=]]`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# The names of the portable character set, as POSIX lists them; a name of one character is only there for letters.
_CONTROL: Final = (
    "NUL SOH STX ETX EOT ENQ ACK alert backspace tab newline vertical-tab form-feed carriage-return SO SI "
    "DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC IS4 IS3 IS2 IS1 "
)
_PUNCTUATION: Final = (
    "space exclamation-mark quotation-mark number-sign dollar-sign percent-sign ampersand apostrophe left-parenthesis "
    "right-parenthesis asterisk plus-sign comma hyphen period slash zero one two three four five six seven eight nine "
    "colon semicolon less-than-sign equals-sign greater-than-sign question-mark commercial-at "
)
_REST: Final = (
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z left-square-bracket backslash right-square-bracket circumflex "
    "underscore grave-accent a b c d e f g h i j k l m n o p q r s t u v w x y z left-curly-bracket vertical-line "
    "right-curly-bracket tilde DEL"
)


def character_named(name: str) -> int:
    """The character that `[.name.]` stands for, -1 where there is no such name."""
    names = (_CONTROL + _PUNCTUATION + _REST).split(" ")
    return names.index(name) if name in names else -1


def span(first: int, last: int) -> int:
    """The set of the characters from `first` to `last`."""
    return ((1 << (last - first + 1)) - 1) << first


def _letters(text: str) -> int:
    found = 0
    for character in text:
        found |= 1 << ord(character)
    return found


_DIGIT: Final = span(48, 57)
_UPPER: Final = span(65, 90)
_LOWER: Final = span(97, 122)
_SPACE: Final = span(9, 13) | 1 << 32
_GRAPH: Final = span(33, 126)
_ALNUM: Final = _DIGIT | _UPPER | _LOWER
_CLASSES: Final[dict[str, int]] = {
    "d": _DIGIT,
    "w": _ALNUM | 1 << 95,
    "s": _SPACE,
    "alnum": _ALNUM,
    "alpha": _UPPER | _LOWER,
    "blank": 1 << 9 | 1 << 32,
    "cntrl": span(0, 31) | 1 << 127,
    "digit": _DIGIT,
    "graph": _GRAPH,
    "lower": _LOWER,
    "print": _GRAPH | 1 << 32,
    "punct": _GRAPH & ~_ALNUM,
    "space": _SPACE,
    "upper": _UPPER,
    "xdigit": _DIGIT | _letters("abcdefABCDEF"),
}


def class_named(name: str) -> int:
    """The characters of `[:name:]`, in capitals or not; 0 where there is no such class."""
    return _CLASSES.get("".join([chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in name]), 0)


def equivalents(character: int) -> int:
    """The characters of `[=c=]`: libstdc++ counts both cases of a letter."""
    if 65 <= character <= 90 or 97 <= character <= 122:
        return 1 << (character | 32) | 1 << (character & ~32)
    return 1 << character
