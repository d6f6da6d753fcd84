"""Credentials for store addresses that name none."""

from __future__ import annotations

import os

from tvix.castore.addresses import parse_address

_ENCRYPTED = ("grpc+https:", "tvix+tls:")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:+")
_PARAMETERS = ("credentials", "ca", "cert", "key")


def with_credentials(url: str, directory: str) -> str:
    """`url` with `credentials=directory` wherever it names a server that is spoken to over TLS, and none.

    Addresses inside `cache:` get it too. What isn't an address is left as it is: whoever opens it says what is wrong.
    """
    if not any(scheme in url for scheme in _ENCRYPTED) and "%" not in url:
        return url
    from tvix.castore.addresses import InvalidStoreUrl

    try:
        address = parse_address(url)
    except InvalidStoreUrl:
        return url
    if address.scheme == "cache":
        parameters = (
            (name, with_credentials(value, directory) if name in ("near", "far") else value) for name, value in address.parameters
        )
        return "cache:?" + "&".join(f"{name}={_escape(value)}" for name, value in parameters)
    if not url.startswith(_ENCRYPTED) or any(address.parameter(name) for name in _PARAMETERS):
        return url
    return f"{url}{'&' if '?' in url else '?'}credentials={_escape(directory)}"


def _escape(text: str) -> str:
    """As a value in an address. By hand: `urllib.parse` is a tenth of what a machine imports that boots."""
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in os.fsencode(text))
