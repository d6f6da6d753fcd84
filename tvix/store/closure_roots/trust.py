"""Whether a closure root may be believed: a small object from a store that nobody trusts, checked against keys that are trusted."""

from __future__ import annotations

from collections.abc import Sequence

from tvix.castore.digests import Digest
from tvix.errors import EX_DATAERR, EX_NOINPUT, EX_NOPERM, TvixError
from tvix.nix_compat.signatures import VerifyingKey
from tvix.nix_compat.store_path import StorePath
from tvix.store.store import Store


class NoSignedRoot(TvixError):
    """A store path whose closure is to be trusted by signature, and the store has no signed closure root of it."""

    identifier = "store.no-signed-root"
    message = "there is no signed closure root of {path}: {reason}"
    hint = "`tvix store sign-closure STORE_PATH --key FILE` makes one in the store"
    exit_code = EX_NOINPUT


class UntrustedRoot(TvixError):
    """A closure root that nobody has signed who is trusted."""

    identifier = "store.untrusted-root"
    message = "the closure root of {path} is signed by {found}, not by {trusted}: refused"
    hint = "trust one of the keys that signed it, or let the owner of a trusted key sign it"
    exit_code = EX_NOPERM


class WrongRootSignature(TvixError):
    """A signature that bears the name of a trusted key, and isn't that key's signature of the closure root."""

    identifier = "store.wrong-root-signature"
    message = "the closure root of {path} bears the name of {names}, but the signature is wrong: refused"
    hint = "the root was tampered with, or another key has the same name"
    exit_code = EX_DATAERR


def trusted_root(store: Store, path: StorePath, keys: Sequence[VerifyingKey]) -> Digest:
    """The closure root of `path` that one of `keys` has signed. What the root names is verified as it is read.

    Raises `NoSignedRoot`, `UntrustedRoot`, `WrongRootSignature`, and what the store raises.
    """
    if store.closure_roots is None:
        raise NoSignedRoot(path=path, reason="the store keeps none")
    signed = store.closure_roots.get(path.digest)
    if signed is None or signed.path != path:
        raise NoSignedRoot(path=path, reason="the store has none" if signed is None else f"the store has one of {signed.path}")
    if not signed.signatures:
        raise NoSignedRoot(path=path, reason="the store's bears no signature")
    wrong: list[str] = []
    for key in keys:
        for signature in signed.signatures:
            if signature.name == key.name:
                if key.verify(signed.message, signature):
                    return signed.root
                wrong.append(key.name)
    if wrong:
        raise WrongRootSignature(path=path, names=_names(wrong))
    found = _names([signature.name for signature in signed.signatures])
    raise UntrustedRoot(path=path, found=found, trusted=_names([key.name for key in keys]))


def _names(names: Sequence[str]) -> str:
    return ", ".join(sorted(set(names))) or "anybody"
