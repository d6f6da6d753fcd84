"""Giving a gRPC server its addresses, with errors that say what is wrong.

gRPC itself would share a port that another server has, and take a Unix socket away from a server that is alive. So what stands in
the way is looked for first.
"""

from __future__ import annotations

import os
import socket
import stat
from urllib.parse import quote

from tvix.castore.grpc_import import Foreign
from tvix.errors import EX_UNAVAILABLE, TvixError
from tvix.grpc_api.policy import Listen

_UMASK_ALL = 0o177


class CannotListen(TvixError):
    """An address that can't be listened on."""

    identifier = "grpc.cannot-listen"
    message = "can't listen on {address}: {reason}"
    exit_code = EX_UNAVAILABLE


def bind(server: Foreign, listen: Listen, socket_mode: int) -> Listen:
    """Make `server` listen there, and say where: port 0 becomes the one that was free. Raises `CannotListen`.

    The file of a Unix socket has `socket_mode`, and no wider mode at any moment.
    """
    try:
        if listen.path:
            _clear_stale(listen)
            _add_unix(server, listen, socket_mode)
            return listen
        _try_port(listen)
        return listen._replace(port=_add(server, str(listen), listen))
    except OSError as error:
        raise CannotListen(address=listen, reason=error.strerror or str(error)) from None


def _add_unix(server: Foreign, listen: Listen, socket_mode: int) -> None:
    before = os.umask(_UMASK_ALL)
    try:
        _add(server, "unix:" + quote(listen.path), listen)
    finally:
        os.umask(before)
    os.chmod(listen.path, socket_mode)


def _add(server: Foreign, target: str, listen: Listen) -> int:
    try:
        port = int(server.add_insecure_port(target))
    except RuntimeError:
        port = 0
    if port == 0:
        raise CannotListen(address=listen, reason="the address can't be bound")
    return port


def _clear_stale(listen: Listen) -> None:
    """Remove the socket that a server which is gone left behind."""
    try:
        mode = os.lstat(listen.path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(address=listen, reason="something that is not a socket is there")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(listen.path)
        except ConnectionRefusedError:
            os.unlink(listen.path)
            return
        except FileNotFoundError:
            return
    raise CannotListen(address=listen, reason="a server listens there already")


def _try_port(listen: Listen) -> None:
    family, kind, protocol, _name, address = socket.getaddrinfo(
        listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
