"""A link over gRPC, for servers that offer nothing else: gRPC's threads receive, and wake the loop by a descriptor.

Its channel connects by itself, so a link is ready at once, and lost when its call ends.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread

from tvix.castore.addresses import Address
from tvix.castore.blobs.interface import Buffer
from tvix.castore.grpc_channel import GrpcChannel
from tvix.castore.grpc_errors import call_failed
from tvix.castore.grpc_import import import_grpc
from tvix.castore.remote_errors import CallFailed
from tvix.castore.transfer.link import METHOD, LinkLost, final_error
from tvix.errors import TvixError

_AHEAD = 16
"""Messages that gRPC may have received and nobody has looked at: back pressure for the server."""


class GrpcLink:
    """See `Link`."""

    ready = True
    wants_write = False

    def __init__(self, address: Address) -> None:
        self._address = address
        self._channel = GrpcChannel(address)
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._sending: SimpleQueue[bytes | None] = SimpleQueue()
        self._arrived: deque[bytes] = deque()
        self._room = Semaphore(_AHEAD)
        self._lost: LinkLost | None = None
        self._lock = Lock()
        self._closed = False
        self._heard = False
        self._call = self._channel.duplex(METHOD, self._requests())
        Thread(target=self._receive, name="fetch", daemon=True).start()

    @property
    def pending(self) -> bool:
        """See `Link`."""
        return bool(self._arrived)

    def fileno(self) -> int:
        """See `Link`."""
        return self._event

    def send(self, message: Buffer) -> None:
        """See `Link`."""
        self._sending.put(bytes(message))

    def receive(self) -> tuple[list[Buffer], int]:
        """See `Link`."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        try:
            message = self._arrived.popleft()
        except IndexError:
            if self._lost is not None:
                raise self._lost from None
            return [], 0
        self._room.release()
        return [message], len(message)

    def close(self) -> None:
        """See `Link`."""
        if self._closed:
            return
        self._sending.put(None)
        self._call.cancel()
        self._room.release()
        self._channel.close()
        with self._lock:
            self._closed = True
            os.close(self._event)

    def _requests(self) -> Iterator[bytes]:
        while (message := self._sending.get()) is not None:
            yield message

    def _receive(self) -> None:
        grpc = import_grpc()
        try:
            for message in self._call:
                self._heard = True
                self._room.acquire()
                self._arrived.append(message)
                self._wake()
            self._lost = LinkLost("it ended the call")
        except grpc.RpcError as error:
            failed = call_failed(error)
            self._lost = LinkLost(failed.details, final_error(self._address, failed) or self._diagnosed(failed))
        self._wake()

    def _diagnosed(self, failed: CallFailed) -> Exception | None:
        """What TLS has against a call that never got anywhere; this asks the server once more, and so may take a moment."""
        if self._heard or self._closed or self._address.scheme != "grpc+https":
            return None
        from tvix.castore.tls import diagnose

        try:
            return diagnose(self._address, failed.details)
        except TvixError as error:
            return error

    def _wake(self) -> None:
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._event, 1)
