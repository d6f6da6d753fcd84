"""`tvix store sign-closure`: vouch for what a store path and all that it refers to look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.key.files import read_signing_key
from appliance.cli.options import add_json, add_store, describe, open_existing_store, print_json, store_url
from tvix.errors import EX_USAGE, TvixError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Sign the closure root of a store path, so that machines can trust it wherever it comes from."


class KeepsNoSignedRoots(TvixError):
    """A store that has no place for signed closure roots, such as a published server of another program."""

    identifier = "cli.keeps-no-signed-roots"
    message = "{store} keeps no signed closure roots"
    hint = "sign in a pack store, or through `tvix store serve`; machines can pin the root itself with tvix.root="
    exit_code = EX_USAGE


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix key generate site-1",
        "tvix store sign-closure /nix/store/…-hello-2.10 --key site-1.secret",
        "tvix run --store tvix+tcp://10.0.0.1:8001 --trusted-key site-1:… /nix/store/…-hello-2.10/bin/hello",
        text="What is signed is tvix-root;1;STORE_PATH;DIGEST. The closure root and its signature are kept in the store; signing\n"
        "the same root again adds a signature, another root of the path replaces it. Prints the root and the signature.",
        exits=(65, 66, 69, 77),
    )
    parser.add_argument("path", metavar="STORE_PATH", help="where the closure starts")
    parser.add_argument("--key", required=True, metavar="FILE", help="the secret key, as `tvix key generate` makes it")
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Sign it."""
    from tvix.castore.digests import print_digest
    from tvix.nix_compat.store_path import parse_store_path
    from tvix.store.closure import closure, closure_directory
    from tvix.store.closure_roots.interface import SignedRoot

    path = parse_store_path(arguments.path)
    key = read_signing_key(arguments.key)
    with open_existing_store(arguments) as store:
        if store.closure_roots is None:
            raise KeepsNoSignedRoots(store=store_url(arguments))
        directory = closure_directory(closure(store.path_infos, [path]).values())
        if store.directories.missing([directory.digest]):
            store.directories.put([directory])
        store.directories.sync()
        signed = store.closure_roots.put(SignedRoot(path, directory.digest).signed_by(key))
    signature = key.sign(signed.message)
    root = print_digest(directory.digest)
    if arguments.json:
        signatures = [str(each) for each in signed.signatures]
        print_json({"path": str(path), "root": root, "signature": str(signature), "signatures": signatures})
    else:
        print(root)
        print(signature)
    return 0
