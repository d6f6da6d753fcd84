"""Which initrd this is, and what kinds of store it can speak with: found out before anything waits for a network."""

from __future__ import annotations

from initrd import layout
from tvix.errors import EX_USAGE, TvixError


class StoreNotSpoken(TvixError):
    """The store's address has a scheme that this initrd was built without."""

    identifier = "boot.store-not-spoken"
    message = "{store}: {profile} has no gRPC in it; it speaks tvix+tcp and tvix+tls"
    hint = "have the store served with --listen tvix+tls://HOST:PORT, or boot initrd-minimal"
    exit_code = EX_USAGE


def check_store(store: str, path: str = f"/{layout.PROFILE}") -> None:
    """Raise `StoreNotSpoken` for an address, or one with an address inside, that the initrd can't speak with."""
    if "grpc+" in store and name(path) == layout.TINY:
        raise StoreNotSpoken(store=store, profile=layout.TINY)


def name(path: str = f"/{layout.PROFILE}") -> str:
    """What the initrd is called; nothing where it doesn't say."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read().strip()
    except OSError:
        return ""
