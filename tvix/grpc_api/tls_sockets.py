"""The server's end of TLS for framed connections: who is let in, and what those hear who aren't.

With TLS 1.3 a client learns of our judgement when it reads for the first time. Had it sent something by then which we don't read,
the system would answer with a reset that overtakes our reason, so what it sends is read for a moment before we close.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

from tvix.castore.transfer.framing import ERROR, Status, encode_status, record
from tvix.errors import EX_NOPERM, TvixError
from tvix.grpc_api.identity import caller_of
from tvix.grpc_api.status import status_of

if TYPE_CHECKING:
    from tvix.castore.credentials import ServerTls
    from tvix.grpc_api.caller import Caller

HANDSHAKE_SECONDS = 10.0
_LINGER_SECONDS = 1.0
_TLS_HANDSHAKE = b"\x16"
"""What TLS begins with. A call would begin with it where its method had a name of 22 bytes, and none is that short."""


class CallerRefused(TvixError):
    """Somebody who connected and wasn't let in."""

    identifier = "tls.caller-refused"
    message = "a caller from {peer} was refused: {reason}"
    hint = "`tvix tls issue ROLE/NAME` makes certificates that this server accepts"
    exit_code = EX_NOPERM


def accept(connected: socket.socket, tls: ServerTls, peer: str, seconds: float = HANDSHAKE_SECONDS) -> tuple[ssl.SSLSocket, Caller]:
    """Shake hands, and say who it is. Closes `connected` where it raises: `CallerRefused`, or what `caller_of` raises.

    The socket is left with a timeout of `seconds`, which bounds each step of the handshake.
    """
    try:
        connected.settimeout(seconds)
        _expect_tls(connected, peer)
        inner = tls.context().wrap_socket(connected, server_side=True, do_handshake_on_connect=False)
    except BaseException as error:
        connected.close()
        if isinstance(error, OSError):
            raise CallerRefused(peer=peer, reason=error.strerror or str(error)) from None
        raise
    try:
        inner.do_handshake()
        return inner, caller_of(inner.getpeercert(binary_form=True) or b"", tls.site)
    except OSError as error:
        _linger(inner)
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        raise CallerRefused(peer=peer, reason=reason.replace("_", " ").lower()) from None
    except TvixError as error:
        with suppress(OSError):
            inner.sendall(record(ERROR, encode_status(status_of(error))))
        _linger(inner)
        raise


def _expect_tls(connected: socket.socket, peer: str) -> None:
    """A client that speaks without TLS is told so in its own words."""
    head = connected.recv(len(_TLS_HANDSHAKE), socket.MSG_PEEK)
    if not head:
        raise CallerRefused(peer=peer, reason="it said nothing")
    if head != _TLS_HANDSHAKE:
        status = Status("PERMISSION_DENIED", "this address wants TLS: write tvix+tls:", "tls.other-protocol")
        connected.sendall(record(ERROR, encode_status(status)))
        _linger(connected)
        raise CallerRefused(peer=peer, reason="it doesn't speak TLS")


def _linger(connected: socket.socket) -> None:
    """Read what is on its way, for a moment, so that the last thing we said arrives; then close."""
    end = monotonic() + _LINGER_SECONDS
    with suppress(OSError, ValueError):
        raw = socket.socket(fileno=connected.detach())
        with raw:
            raw.shutdown(socket.SHUT_WR)
            raw.settimeout(_LINGER_SECONDS)
            while raw.recv(65536) and monotonic() < end:
                pass
