"""Content addresses: how a store path that is named after its contents was hashed.

Written `text:sha256:…` (a file with references, such as a derivation), `fixed:sha256:…` (a flat file), `fixed:r:sha256:…` (a NAR);
the digest is printed in Nix's base 32.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tvix.errors import EX_DATAERR, TvixError
from tvix.nix_compat.hashes import Hash, InvalidHash, parse_hash

Method = Literal["flat", "nar", "text"]


class InvalidContentAddress(TvixError):
    """A text that should be a content address and isn't."""

    identifier = "nix-compat.invalid-content-address"
    message = "{text!r} is not a content address: {reason}"
    hint = "they are written text:sha256:DIGEST, fixed:ALGORITHM:DIGEST or fixed:r:ALGORITHM:DIGEST"
    exit_code = EX_DATAERR


class ContentAddress(NamedTuple):
    """`method` says what was hashed: the bytes of one file (flat, text) or a NAR."""

    method: Method
    hash: Hash

    def __str__(self) -> str:
        return _PREFIXES[self.method] + str(self.hash)


# The longer of two prefixes stands first.
_PREFIXES: dict[Method, str] = {"text": "text:", "nar": "fixed:r:", "flat": "fixed:"}


def parse_content_address(text: str) -> ContentAddress:
    """Read one of the three forms; the digest may be in any encoding. Raises `InvalidContentAddress`."""
    method = next((method for method, prefix in _PREFIXES.items() if text.startswith(prefix)), None)
    if method is None:
        raise InvalidContentAddress(text=text, reason="it begins with neither `text:` nor `fixed:`")
    rest = text[len(_PREFIXES[method]) :]
    if ":" not in rest:
        raise InvalidContentAddress(text=text, reason="the algorithm and its colon are missing")
    try:
        parsed = parse_hash(rest)
    except InvalidHash as error:
        raise InvalidContentAddress(text=text, reason=error.fields["reason"]) from None
    if method == "text" and parsed.algorithm != "sha256":
        raise InvalidContentAddress(text=text, reason=f"texts are hashed with sha256, not {parsed.algorithm}")
    return ContentAddress(method, parsed)
