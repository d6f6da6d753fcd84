"""`tvix_appliance.store.v1.SignedRoot` as bytes: store_path = 1, root = 2, signatures = 3. Stores keep the same message."""

from __future__ import annotations

from tvix.castore.digests import digest_from_bytes
from tvix.castore.protobuf import MalformedMessage, bytes_field, fields, message_field
from tvix.nix_compat.signatures import Signature, parse_signature
from tvix.nix_compat.store_path import parse_store_path
from tvix.store.closure_roots.interface import SIGNATURES_MAX, SignedRoot

_WHAT = "SignedRoot"


def encode_signed_root(signed: SignedRoot) -> bytes:
    """The message."""
    signatures = b"".join(message_field(3, str(signature).encode()) for signature in signed.signatures)
    return bytes_field(1, str(signed.path).encode()) + bytes_field(2, signed.root) + signatures


def decode_signed_root(message: bytes) -> SignedRoot:
    """From bytes that may come from anywhere; whether a signature is right isn't looked at.

    Raises `MalformedMessage`, `InvalidStorePath`, `InvalidDigest`, `InvalidSignature`.
    """
    path, root = "", b""
    signatures: list[Signature] = []
    for number, value in fields(message, _WHAT):
        if number not in (1, 2, 3):
            continue
        if not isinstance(value, bytes):
            raise MalformedMessage(what=_WHAT, reason=f"field {number} has the wrong type", offset=0)
        if number == 1:
            path = _text(value)
        elif number == 2:
            root = value
        elif len(signatures) == SIGNATURES_MAX:
            raise MalformedMessage(what=_WHAT, reason=f"it has over {SIGNATURES_MAX} signatures", offset=0)
        else:
            signatures.append(parse_signature(_text(value)))
    return SignedRoot(parse_store_path(path), digest_from_bytes(root), tuple(signatures))


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MalformedMessage(what=_WHAT, reason="text is not UTF-8", offset=0) from None
