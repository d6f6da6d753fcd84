"""Key files: one line, `NAME:BASE64`, as Nix writes them too; and the option by which people say whom they trust."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tvix.castore.tree import printable
from tvix.errors import EX_NOINPUT, TvixError

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from tvix.nix_compat.signatures import SigningKey, VerifyingKey

_BYTES_MAX = 4096


class KeyUnreadable(TvixError):
    """A key file that can't be read."""

    identifier = "cli.key-unreadable"
    message = "the key file {path} can't be read: {reason}"
    hint = "`tvix key generate NAME` makes NAME.secret and NAME.public"
    exit_code = EX_NOINPUT


def read_signing_key(path: str) -> SigningKey:
    """Raises `KeyUnreadable`, `InvalidKey`."""
    from tvix.nix_compat.signatures import SigningKey

    try:
        with open(path, "rb") as stream:
            text = stream.read(_BYTES_MAX)
    except OSError as error:
        raise KeyUnreadable(path=printable(os.fsencode(path)), reason=error.strerror or str(error)) from None
    return SigningKey.parse(text.decode("utf-8", "replace"))


def add_trusted_key(parser: ArgumentParser) -> None:
    """`--trusted-key`, as often as it is wanted."""
    parser.add_argument(
        "--trusted-key",
        action="append",
        default=[],
        metavar="NAME:BASE64",
        help="believe only a closure root that this key has signed; may be given more than once: any of them will do",
    )


def parse_trusted_keys(texts: list[str]) -> tuple[VerifyingKey, ...]:
    """Raises `InvalidKey`."""
    from tvix.nix_compat.signatures import VerifyingKey

    return tuple(VerifyingKey.parse(text) for text in texts)
