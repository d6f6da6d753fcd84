"""Hashes as Nix writes them: an algorithm and a digest, in hexadecimal, Nix's base 32, base 64, or as an SRI string.

The algorithm stands before the digest (`sha256:…`, or `sha256-…` in SRI, which is always base 64) or is known from elsewhere; the
length of the digest says which encoding it has, so the forms need no mark. Reading and printing load no library: the processes that
start a machine do nothing else.
"""

from __future__ import annotations

import binascii
from typing import Literal, NamedTuple

from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat import nixbase32

Form = Literal["hex", "nixbase32", "base64", "sri"]

DIGEST_BYTES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64, "blake3": 32}
"""The algorithms, each with its digest's length in bytes."""


class InvalidHash(TvixError):
    """A text that should be a hash and isn't."""

    identifier = "nix-compat.invalid-hash"
    message = "{text!r} is not a hash: {reason}"
    hint = "hashes are written ALGORITHM:DIGEST or ALGORITHM-BASE64, the algorithm one of " + ", ".join(DIGEST_BYTES)
    exit_code = EX_DATAERR


class Hash(NamedTuple):
    """`digest` is as long as `DIGEST_BYTES[algorithm]` says; `make_hash` and `parse_hash` see to that."""

    algorithm: str
    digest: bytes

    def print(self, form: Form, *, prefixed: bool = False) -> str:
        """The digest in `form`; with `prefixed`, `algorithm:` before it. SRI always names the algorithm, with a dash."""
        if form == "sri":
            return f"{self.algorithm}-{_base64(self.digest)}"
        if form == "hex":
            text = self.digest.hex()
        elif form == "nixbase32":
            text = nixbase32.encode(self.digest)
        else:
            text = _base64(self.digest)
        return f"{self.algorithm}:{text}" if prefixed else text

    def __str__(self) -> str:
        """As path infos and content addresses have it: `sha256:` and Nix's base 32."""
        return self.print("nixbase32", prefixed=True)


def make_hash(algorithm: str, digest: bytes) -> Hash:
    """Check that the two belong together. Raises `InvalidHash`."""
    expected = DIGEST_BYTES.get(algorithm)
    if expected is None:
        raise InvalidHash(text=algorithm, reason="there is no such algorithm")
    if len(digest) != expected:
        raise InvalidHash(text=digest.hex(), reason=f"a {algorithm} digest has {expected} bytes, not {len(digest)}")
    return Hash(algorithm, digest)


def hash_of(algorithm: str, contents: bytes) -> Hash:
    """The hash of a whole byte string. Raises `InvalidHash` for an unknown algorithm."""
    if algorithm == "blake3":
        from blake3 import blake3

        return Hash(algorithm, blake3(contents).digest())
    if algorithm not in DIGEST_BYTES:
        raise InvalidHash(text=algorithm, reason="there is no such algorithm")
    import hashlib

    return Hash(algorithm, hashlib.new(algorithm, contents, usedforsecurity=False).digest())


def parse_hash(text: str, algorithm: str | None = None) -> Hash:
    """Read any of the forms. `algorithm` is what the hash must have; it is needed where the text doesn't say.

    Padding may be missing or wrong in SRI strings alone: such strings are about, and stock Nix takes them. Raises `InvalidHash`.
    """
    named, mark, rest = _split(text)
    if not mark:
        if algorithm is None:
            raise InvalidHash(text=text, reason="it doesn't say which algorithm it has")
        named = algorithm
    expected = DIGEST_BYTES.get(named)
    if expected is None:
        raise InvalidHash(text=text, reason=f"there is no algorithm {named!r}")
    if algorithm is not None and named != algorithm:
        raise InvalidHash(text=text, reason=f"it is {named} where {algorithm} is wanted")
    return Hash(named, _decode(text, rest, expected, is_sri=mark == "-"))


def _split(text: str) -> tuple[str, str, str]:
    """Algorithm, the mark behind it, digest; algorithm and mark are empty where there is none."""
    named, mark, rest = text.partition(":")
    if mark:
        return named, mark, rest
    named, mark, rest = text.partition("-")
    return (named, mark, rest) if mark else ("", "", text)


def _decode(text: str, digits: str, byte_count: int, *, is_sri: bool) -> bytes:
    try:
        if is_sri:
            bare = digits.rstrip("=")
            raw = binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
        elif len(digits) == byte_count * 2:
            raw = binascii.unhexlify(digits)
        elif len(digits) == nixbase32.encoded_length(byte_count):
            raw = nixbase32.decode(digits)
        elif len(digits) == (byte_count + 2) // 3 * 4:
            raw = binascii.a2b_base64(digits, strict_mode=True)
        else:
            raise InvalidHash(text=text, reason=f"{len(digits)} characters are no form of {byte_count} bytes")
    except nixbase32.InvalidNixBase32 as error:
        raise InvalidHash(text=text, reason=error.fields["reason"]) from None
    except ValueError as error:
        raise InvalidHash(text=text, reason=str(error)) from None
    if len(raw) != byte_count:
        raise InvalidHash(text=text, reason=f"it has {len(raw)} bytes instead of {byte_count}")
    return raw


def _base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")
