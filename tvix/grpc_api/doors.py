"""Where a server listens for the framed protocol, as it tells those who come by gRPC.

A caller uses only the host and the directory that it knows, so a door is told where whoever reached the server by gRPC can be
expected to reach it under the same name: it stands at all of the host's addresses, at the one of all gRPC's, or in their directory.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import fsencode
from os.path import basename, dirname
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvix.grpc_api.policy import Listen

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 it is compared with, not listened on


class Doors:
    """What `Describe` says of this; empty until the server knows its addresses."""

    def __init__(self) -> None:
        self.ports: tuple[int, ...] = ()
        self.tls_ports: tuple[int, ...] = ()
        self.sockets: tuple[bytes, ...] = ()

    def stand(self, addresses: Iterable[Listen]) -> None:
        """These are the server's addresses."""
        listens = list(addresses)
        grpc = [listen for listen in listens if not listen.framed]
        framed = [listen for listen in listens if listen.framed]
        self.ports, self.tls_ports = (
            tuple(
                door.port
                for door in framed
                if not door.path
                and door.encrypted is encrypted
                and _serves(door.host, {listen.host for listen in grpc if not listen.path and listen.encrypted is encrypted})
            )
            for encrypted in (False, True)
        )
        directories = {dirname(listen.path) for listen in grpc if listen.path}
        self.sockets = tuple(fsencode(basename(door.path)) for door in framed if door.path and {dirname(door.path)} == directories)


def _serves(host: str, hosts: set[str]) -> bool:
    return bool(hosts) and (host in _EVERYWHERE or {host} == hosts)
