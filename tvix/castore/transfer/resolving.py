"""The addresses of a host, looked up without making anyone wait: name servers may take seconds."""

from __future__ import annotations

import os
import socket
from threading import Lock, Thread
from typing import Any

SocketAddress = tuple[int, tuple[Any, ...]]
"""Family, and what `connect` takes."""


def numeric(host: str, port: int) -> list[SocketAddress]:
    """Of a host that is an address; none for a name."""
    try:
        return _look_up(host, port, socket.AI_NUMERICHOST)
    except OSError:
        return []


class Resolving:
    """A look-up under way; `fileno` is readable once it is over."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._found: list[SocketAddress] = []
        self._error: OSError | None = None
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = Lock()
        self._over = False
        self._abandoned = False
        Thread(target=self._run, name="resolve", daemon=True).start()

    def fileno(self) -> int:
        """What to poll."""
        return self._event

    def result(self) -> list[SocketAddress] | None:
        """The addresses, None while they are looked up. Raises `OSError`."""
        if not self._over:
            return None
        if self._error is not None:
            raise self._error
        return self._found

    def close(self) -> None:
        """Nobody wants to know any more: the descriptor goes, at once or with the thread."""
        with self._lock:
            if self._over:
                os.close(self._event)
            self._abandoned = True

    def _run(self) -> None:
        try:
            self._found = _look_up(self._host, self._port, 0)
        except OSError as error:
            self._error = error
        with self._lock:
            self._over = True
            if self._abandoned:
                os.close(self._event)
            else:
                os.eventfd_write(self._event, 1)


def _look_up(host: str, port: int, flags: int) -> list[SocketAddress]:
    # As bytes: text is looked up by the idna codec, which the initrds do without.
    found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=flags)
    return [(int(family), address) for family, _type, _protocol, _name, address in found]
