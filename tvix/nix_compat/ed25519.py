"""Checking Ed25519 signatures: with libsodium, or with OpenSSL in builds that have that alone.

The smallest initrd takes libcrypto along for TLS, and would be a twentieth larger with libsodium beside it.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Verify = Callable[[bytes, bytes, bytes], bool]
    """Public key (32 bytes), message, signature (64 bytes): whether it is this key's signature of the message."""

_LIBCRYPTO = "libcrypto.so.3"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_NID_ED25519 = 1087


@cache
def verifier() -> Verify:
    """The check. Loads a library, once: a few milliseconds."""
    try:
        return _libsodium()
    except ModuleNotFoundError:
        return openssl()


def _libsodium() -> Verify:
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError

    def verify(key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            crypto_sign_open(signature + message, key)
        except BadSignatureError:
            return False
        return True

    return verify


def openssl() -> Verify:
    """The same by OpenSSL 3. Raises OSError where there is none. See EVP_DigestVerifyInit(3), Ed25519(7)."""
    library = ctypes.CDLL(_LIBCRYPTO)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t

    def function(name: str, result: type[ctypes.c_void_p | ctypes.c_int] | None, *arguments: object) -> Callable[..., int]:
        found = getattr(library, name)
        found.restype, found.argtypes = result, arguments
        return found  # type: ignore[no-any-return]

    new_key = function("EVP_PKEY_new_raw_public_key", pointer, ctypes.c_int, pointer, ctypes.c_char_p, size)
    free_key = function("EVP_PKEY_free", None, pointer)
    new_context = function("EVP_MD_CTX_new", pointer)
    free_context = function("EVP_MD_CTX_free", None, pointer)
    begin = function("EVP_DigestVerifyInit", ctypes.c_int, pointer, pointer, pointer, pointer, pointer)
    check = function("EVP_DigestVerify", ctypes.c_int, pointer, ctypes.c_char_p, size, ctypes.c_char_p, size)

    def verify(key: bytes, message: bytes, signature: bytes) -> bool:
        if len(key) != _KEY_BYTES or len(signature) != _SIGNATURE_BYTES:
            return False
        public = new_key(_NID_ED25519, None, key, _KEY_BYTES)
        context = new_context()
        try:
            # The algorithm hashes by itself, so none is named. Freeing nothing is allowed.
            began = public and context and begin(context, None, None, None, public) == 1
            return bool(began) and check(context, signature, _SIGNATURE_BYTES, message, len(message)) == 1
        finally:
            free_context(context)
            free_key(public)

    return verify
