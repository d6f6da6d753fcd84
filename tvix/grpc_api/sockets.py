"""Giving servers their addresses, with errors that say what is wrong.

gRPC itself would share a port that another server has, and take a Unix socket away from a server that is alive. So what stands in
the way is looked for first.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from tvix.castore.grpc_import import Foreign
from tvix.errors import EX_UNAVAILABLE, TvixError
from tvix.grpc_api.policy import Listen

if TYPE_CHECKING:
    from tvix.castore.credentials import ServerTls

_UMASK_ALL = 0o177
_BACKLOG = 1024


class CannotListen(TvixError):
    """An address that can't be listened on."""

    identifier = "grpc.cannot-listen"
    message = "can't listen on {address}: {reason}"
    hint = "take another port or path, or stop what has it: `ss -lntxp` shows who listens where"
    exit_code = EX_UNAVAILABLE


def bind(server: Foreign, listen: Listen, socket_mode: int, *, tls: ServerTls | None = None, reuse_port: bool = False) -> Listen:
    """Make a gRPC server listen there, and say where: port 0 becomes the one that was free. Raises `CannotListen`.

    The file of a Unix socket has `socket_mode`, and no wider mode at any moment.
    """
    try:
        if listen.path:
            _clear_stale(listen)
            with _private_files():
                _add(server, "unix:" + quote(listen.path), listen, None)
            os.chmod(listen.path, socket_mode)
            return listen
        _bound(listen, reuse_port=reuse_port).close()
        return listen._replace(port=_add(server, listen.place, listen, tls))
    except OSError as error:
        raise CannotListen(address=listen, reason=error.strerror or str(error)) from None


def bind_framed(listen: Listen, socket_mode: int, *, reuse_port: bool = False) -> tuple[socket.socket, Listen]:
    """A listening socket, and where it listens: otherwise as `bind`."""
    try:
        if not listen.path:
            listening = _bound(listen, reuse_port=reuse_port)
            listening.listen(_BACKLOG)
            return listening, listen._replace(port=listening.getsockname()[1])
        _clear_stale(listen)
        listening = socket.socket(socket.AF_UNIX)
        try:
            with _private_files():
                listening.bind(listen.path)
            os.chmod(listen.path, socket_mode)
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
        return listening, listen
    except OSError as error:
        raise CannotListen(address=listen, reason=error.strerror or str(error)) from None


def reserve(listen: Listen) -> tuple[socket.socket, Listen]:
    """A port for several processes that share it: bound and not listened on, so nothing arrives here. Raises `CannotListen`."""
    try:
        _bound(listen).close()  # whether anybody else is there
        reserved = _bound(listen, reuse_port=True)
    except OSError as error:
        raise CannotListen(address=listen, reason=error.strerror or str(error)) from None
    return reserved, listen._replace(port=reserved.getsockname()[1])


@contextmanager
def _private_files() -> Iterator[None]:
    before = os.umask(_UMASK_ALL)
    try:
        yield
    finally:
        os.umask(before)


def _add(server: Foreign, target: str, listen: Listen, tls: ServerTls | None) -> int:
    try:
        if tls is None:
            port = int(server.add_insecure_port(target))
        else:
            import grpc

            port = int(server.add_secure_port(target, tls.grpc_credentials(grpc)))
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


def _bound(listen: Listen, *, reuse_port: bool = False) -> socket.socket:
    """A TCP socket that has the address."""
    family, kind, protocol, _name, address = socket.getaddrinfo(
        listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            with suppress(OSError):  # as gRPC does: [::] is everywhere
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound
