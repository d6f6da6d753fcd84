"""Directories of certificates and keys, written whole or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from appliance.cli.places import data_directory
from tvix.castore.credentials import CA_FILE, KEY_FILE, CredentialFiles
from tvix.castore.export import DestinationExists
from tvix.castore.pack.format import disk_error
from tvix.castore.tls_errors import CredentialsMissing
from tvix.castore.tree import printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tvix.grpc_api.authority import Authority

CA_KEY_FILE = "ca-key.pem"


def add_directory(parser: ArgumentParser) -> None:
    """`--directory DIR`; `authority_directory` says which is meant."""
    parser.add_argument(
        "--directory", metavar="DIR", help="where the site's CA is kept; default: tls in the user's data directory of tvix"
    )


def authority_directory(arguments: Namespace) -> str:
    """Where the CA is, or is to be."""
    return arguments.directory or str(data_directory() / "tls")


def read_authority(directory: str) -> Authority:
    """The CA in a directory. Raises `NoAuthority`, `KeyExposed`, `CredentialsMalformed`."""
    from tvix.grpc_api.authority import NoAuthority, load_authority

    certificate = os.path.join(directory, CA_FILE)
    try:
        found = CredentialFiles(certificate, certificate, os.path.join(directory, CA_KEY_FILE)).read()
    except CredentialsMissing as error:
        raise NoAuthority(directory=printable(os.fsencode(directory)), reason=str(error)) from None
    return load_authority(directory, found.certificate, found.key)


def write_directory(directory: str, files: dict[str, bytes], *, replace: bool = False) -> None:
    """Make a directory of 0700 with these files; those named `*key.pem` are 0600, others 0644.

    A directory that is there is refused (`DestinationExists`) unless its files are to be replaced, each by one rename. Raises
    `StoreFailed` and `DiskFull`.
    """
    there = os.path.lexists(directory)
    if there and not replace:
        raise DestinationExists(path=printable(os.fsencode(directory)))
    partial = os.path.join(os.path.dirname(os.path.abspath(directory)), f".tvix-{token_hex(8)}")
    try:
        os.makedirs(os.path.dirname(partial), exist_ok=True)
        os.mkdir(partial, 0o700)
        for name, contents in files.items():
            _write(os.path.join(partial, name), contents, 0o600 if name.endswith(KEY_FILE) else 0o644)
        if there:
            for name in files:
                os.replace(os.path.join(partial, name), os.path.join(directory, name))
        else:
            os.rename(partial, directory)
    except OSError as error:
        raise disk_error(printable(os.fsencode(directory)), error) from None
    finally:
        with suppress(OSError):
            shutil.rmtree(partial)


def _write(path: str, contents: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
