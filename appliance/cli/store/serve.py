"""`tvix store serve`: a store server on TCP ports and Unix sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from appliance.cli.options import add_json, add_progress, add_store, describe, print_json, progress, store_url

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from tvix.grpc_api.policy import Listen

SUMMARY = "Serve a store over gRPC, under the names of tvix.*.v1 and snix.*.v1."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix store serve --listen 127.0.0.1:8000",
        "tvix store serve --store pack:/srv/store --listen 0.0.0.0:8000 --insecure --listen unix:/run/tvix/store.sock",
        text="Once it answers it prints one line, READY and the addresses that clients may use (--json: an object with them).\n"
        "It stops on SIGTERM, SIGINT or SIGHUP: calls under way may end, and what was written is made durable.\n"
        "Addresses beyond this machine are refused without --insecure, since whoever reaches them isn't asked who they are.",
        exits=(69,),
    )
    parser.add_argument(
        "--listen",
        action="append",
        required=True,
        metavar="HOST:PORT|unix:/P",
        help="where to listen; may be repeated; port 0 takes a free one",
    )
    parser.add_argument(
        "--insecure",
        nargs="?",
        const="read",
        choices=("read", "write"),
        metavar="write",
        help="serve reads to other machines too; --insecure=write also lets them write",
    )
    parser.add_argument("--read-only", action="store_true", help="serve reads only, at every address")
    add_store(parser)
    add_json(parser)
    add_progress(parser)


def run(arguments: Namespace) -> int:
    """Serve until a signal says stop."""
    from appliance.roles.store import StoreServerSpec, serve_store

    url = store_url(arguments)

    def ready(listens: Sequence[Listen]) -> None:
        addresses = [_client_address(listen) for listen in listens]
        if arguments.json:
            print_json({"state": "ready", "store": url, "addresses": addresses})
        else:
            print("READY", *addresses, flush=True)

    with progress(arguments) as emit:
        spec = StoreServerSpec(url, arguments.listen, insecure=arguments.insecure, read_only=arguments.read_only)
        serve_store(spec, ready, emit)
    return 0


def _client_address(listen: Listen) -> str:
    """The address of the store as clients write it."""
    return f"grpc+unix:{quote(listen.path)}" if listen.path else f"grpc+http://{listen}"
