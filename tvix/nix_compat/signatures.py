"""Ed25519 signatures of path infos: who vouches for what a store path holds.

What is signed is a fingerprint, `1;PATH;sha256:NARHASH;NARSIZE;REFERENCES`: references are absolute, sorted, joined by commas. Keys
and signatures are written `NAME:BASE64`; the name only says which key to try. A secret key's 64 bytes are the seed and, behind it,
the public key. A library is loaded by the first signature made or checked.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, NamedTuple

from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat import nixbase32

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tvix.nix_compat.store_path import StorePath

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
SECRET_KEY_BYTES = 64
_SEED_BYTES = 32


class InvalidSignature(TvixError):
    """A text that should be a signature and isn't. A signature that is well-formed but wrong is no error: `verify` says False."""

    identifier = "nix-compat.invalid-signature"
    message = "{text!r} is not a signature: {reason}"
    hint = "signatures are written KEYNAME:BASE64, with 64 bytes behind the colon"
    exit_code = EX_DATAERR


class InvalidKey(TvixError):
    """A text that should be a public or secret key and isn't. The text isn't repeated: it may be secret."""

    identifier = "nix-compat.invalid-key"
    message = "key {name!r} is not a {kind} key: {reason}"
    hint = "keys are written NAME:BASE64, with 32 bytes behind the colon when public, 64 when secret"
    exit_code = EX_DATAERR


class Signature(NamedTuple):
    """`name` is that of the key, `data` the 64 bytes of the signature."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.name}:{_base64(self.data)}"


def parse_signature(text: str) -> Signature:
    """Read `KEYNAME:BASE64`. Raises `InvalidSignature`."""
    try:
        return Signature(*_parse_named(text, SIGNATURE_BYTES))
    except ValueError as error:
        raise InvalidSignature(text=text, reason=str(error)) from None


def fingerprint(path: StorePath, nar_sha256: bytes, nar_size: int, references: Iterable[StorePath]) -> bytes:
    """What a signature of a path info covers; `references` may come in any order."""
    listed = ",".join(map(str, sorted(set(references))))
    return f"1;{path};sha256:{nixbase32.encode(nar_sha256)};{nar_size};{listed}".encode()


class VerifyingKey(NamedTuple):
    """A public key, 32 bytes, and its name."""

    name: str
    data: bytes

    @classmethod
    def parse(cls, text: str) -> VerifyingKey:
        """Read `NAME:BASE64`. Raises `InvalidKey`."""
        try:
            return cls(*_parse_named(text, PUBLIC_KEY_BYTES))
        except ValueError as error:
            raise InvalidKey(name=text.partition(":")[0], kind="public", reason=str(error)) from None

    def verify(self, message: bytes, signature: Signature) -> bool:
        """Whether the signature bears this key's name and is this key's signature of `message`."""
        if signature.name != self.name:
            return False
        from tvix.nix_compat.ed25519 import verifier

        return verifier()(self.data, message, signature.data)

    def __str__(self) -> str:
        return f"{self.name}:{_base64(self.data)}"


class SigningKey:
    """A secret key. It prints as `<redacted>`; `secret_text` is what goes into a key file."""

    __slots__ = ("_secret", "name")

    def __init__(self, name: str, secret: bytes) -> None:
        self.name = name
        self._secret = secret

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """A new key from the operating system's randomness. Raises `InvalidKey` for a name that can't be written."""
        from nacl.bindings import crypto_sign_keypair

        if not _is_key_name(name):
            raise InvalidKey(name=name, kind="secret", reason="a name has one character at least, no colon and no blank")
        _public, secret = crypto_sign_keypair()
        return cls(name, secret)

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read `NAME:BASE64`. Raises `InvalidKey`, also where the public half isn't that of the secret half."""
        from nacl.bindings import crypto_sign_seed_keypair

        name = text.partition(":")[0]
        try:
            name, secret = _parse_named(text, SECRET_KEY_BYTES)
        except ValueError as error:
            raise InvalidKey(name=name, kind="secret", reason=str(error)) from None
        if crypto_sign_seed_keypair(secret[:_SEED_BYTES])[1] != secret:
            raise InvalidKey(name=name, kind="secret", reason="its two halves don't belong together")
        return cls(name, secret)

    def sign(self, message: bytes) -> Signature:
        """The signature of `message`, which for path infos is their `fingerprint`."""
        from nacl.bindings import crypto_sign

        return Signature(self.name, crypto_sign(message, self._secret)[:SIGNATURE_BYTES])

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self.name, self._secret[_SEED_BYTES:])

    def secret_text(self) -> str:
        """`NAME:BASE64` with the secret in it."""
        return f"{self.name}:{_base64(self._secret)}"

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r}, <redacted>)"


def _parse_named(text: str, byte_count: int) -> tuple[str, bytes]:
    """Raises ValueError with a reason that doesn't repeat the text."""
    name, colon, encoded = text.strip().partition(":")
    if not colon:
        raise ValueError("there is no colon")
    if not _is_key_name(name):
        raise ValueError("its name is empty or contains blanks")
    try:
        raw = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise ValueError(f"what follows the colon isn't base 64 ({error})") from None
    if len(raw) != byte_count:
        raise ValueError(f"it has {len(raw)} bytes instead of {byte_count}")
    return name, raw


def _is_key_name(name: str) -> bool:
    return name != "" and ":" not in name and not any(character.isspace() for character in name)


def _base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")
