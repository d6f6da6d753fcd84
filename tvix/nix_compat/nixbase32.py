"""Nix's base 32: the bytes as one little-endian number, its digits written most significant first.

The alphabet leaves out e, o, t and u. Since bytes are read from the end, a digest's text sorts as its reversed bytes do. Both
directions are called for every store path of every closure, so neither goes digit by digit.
"""

from __future__ import annotations

from tvix.errors import EX_DATAERR, TvixError

ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"
# int() would let signs, blanks, underscores and capitals pass: what isn't in the alphabet becomes a character that it refuses.
_STRANGE = bytes(byte for byte in range(256) if byte not in ALPHABET.encode())
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_TO_INT_DIGITS = bytes.maketrans(ALPHABET.encode() + _STRANGE, b"0123456789abcdefghijklmnopqrstuv" + b"!" * len(_STRANGE))


class InvalidNixBase32(TvixError):
    """A text that no bytes encode to."""

    identifier = "nix-compat.invalid-nixbase32"
    message = "{text!r} is not Nix's base 32: {reason}"
    hint = f"its digits are {ALPHABET}"
    exit_code = EX_DATAERR


def encoded_length(byte_count: int) -> int:
    """How many characters `byte_count` bytes are written in."""
    return (byte_count * 8 + 4) // 5


def encode(raw: bytes) -> str:
    """The text of any byte string; nothing encodes to nothing."""
    length = (len(raw) * 8 + 4) // 5
    # Five bytes are eight digits, or four pairs of them; zeros before the most significant byte leave no odd ones.
    padded = bytes(-len(raw) % 5) + raw[::-1]
    pairs = _PAIRS
    text = ""
    for at in range(0, len(padded), 5):
        number = int.from_bytes(padded[at : at + 5], "big")
        text += pairs[number >> 30] + pairs[number >> 20 & 1023] + pairs[number >> 10 & 1023] + pairs[number & 1023]
    return text[-length:] if raw else ""


def decode(text: str) -> bytes:
    """The bytes of a text that `encode` made. Raises `InvalidNixBase32` for any other text."""
    byte_count = len(text) * 5 // 8
    try:
        number = int(text.encode("ascii").translate(_TO_INT_DIGITS), 32)
        raw = number.to_bytes(byte_count, "little")
    except (ValueError, OverflowError):
        if not text:
            return b""
        raise InvalidNixBase32(text=text, reason=_why_not(text)) from None
    if encoded_length(byte_count) != len(text):
        raise InvalidNixBase32(text=text, reason=_why_not(text))
    return raw


def _why_not(text: str) -> str:
    for position, character in enumerate(text):
        if character not in ALPHABET:
            return f"{character!r} at position {position} is not a digit"
    byte_count = len(text) * 5 // 8
    if encoded_length(byte_count) != len(text):
        return f"no number of bytes takes {len(text)} characters"
    return f"its value takes more than {byte_count} bytes"
