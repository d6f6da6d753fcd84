"""`tvix store serve`: a store server on TCP ports and Unix sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.options import add_json, add_progress, add_store, describe, print_json, progress, store_url

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from tvix.castore.credentials import CredentialFiles
    from tvix.grpc_api.policy import Listen

SUMMARY = "Serve a store over gRPC, under the names of tvix.*.v1 and snix.*.v1, and over the framed protocol."
_PROCESSES_MAX = 64


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix store serve --listen 127.0.0.1:8000",
        "tvix store serve --store pack:/srv/store --listen unix:/run/tvix/store.sock "
        "--listen tvix+tls://0.0.0.0:8001 --listen grpc+https://0.0.0.0:8000 --credentials server-attic",
        "tvix store serve --store pack:/srv/store --listen 0.0.0.0:8000 --insecure",
        text="Once it answers it prints one line, READY and the addresses that clients may use (--json: an object with them).\n"
        "It stops on SIGTERM, SIGINT or SIGHUP: calls under way may end, and what was written is made durable.\n"
        "Over TLS callers show a certificate of the server's site, and may do what its role allows; renewed certificates are read\n"
        "again from their files. Without TLS, addresses beyond this machine are refused unless --insecure is spelled out.",
        exits=(65, 66, 69, 77),
    )
    parser.add_argument(
        "--listen",
        action="append",
        required=True,
        metavar="ADDRESS",
        help="where to listen; may be repeated: gRPC at HOST:PORT, unix:/P, grpc+https://HOST:PORT; framed at tvix+unix:/P, "
        "tvix+tcp://HOST:PORT, tvix+tls://HOST:PORT; port 0 takes a free one",
    )
    parser.add_argument(
        "--insecure",
        nargs="?",
        const="read",
        choices=("read", "write"),
        metavar="write",
        help="serve reads to other machines without TLS, too; --insecure=write also lets them write",
    )
    parser.add_argument(
        "--credentials", metavar="DIR", help="what addresses with TLS show: a directory that `tvix tls issue server/NAME` made"
    )
    parser.add_argument("--tls-ca", metavar="FILE", help="the CA that callers' certificates come from, in place of the directory's")
    parser.add_argument("--tls-cert", metavar="FILE", help="the server's certificate, in place of the directory's")
    parser.add_argument("--tls-key", metavar="FILE", help="its key, in place of the directory's")
    parser.add_argument(
        "--processes",
        type=_count,
        default=1,
        metavar="N",
        help="serve a pack: store with so many processes, one for each core that it may use; one is the default",
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
        addresses = [listen.url for listen in listens]
        if arguments.json:
            print_json({"state": "ready", "store": url, "addresses": addresses})
        else:
            print("READY", *addresses, flush=True)

    with progress(arguments) as emit:
        spec = StoreServerSpec(
            url,
            arguments.listen,
            insecure=arguments.insecure,
            read_only=arguments.read_only,
            credentials=_credentials(arguments),
            processes=arguments.processes,
        )
        serve_store(spec, ready, emit)
    return 0


def _count(text: str) -> int:
    count = int(text)
    if not 0 < count <= _PROCESSES_MAX:
        raise ValueError
    return count


_count.__name__ = "number of processes"


def _credentials(arguments: Namespace) -> CredentialFiles | None:
    from tvix.castore.credentials import CredentialFiles, files_in

    given = (arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    if not arguments.credentials and not any(given):
        return None
    directory = files_in(arguments.credentials) if arguments.credentials else CredentialFiles("")
    return CredentialFiles(*(own or path for own, path in zip(given, directory, strict=True)))
