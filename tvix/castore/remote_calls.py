"""Calls to a store server: what a transport gives for each kind, and streams that begin again where that may help."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

from tvix.castore.blobs.interface import Buffer
from tvix.castore.remote_errors import CallFailed
from tvix.errors import TvixError

if TYPE_CHECKING:
    from tvix.castore.remote_channel import Channel

NEVER = float("inf")


class Pending(Protocol):
    """One question that is on its way. Whoever started it takes the result or cancels it."""

    def result(self) -> Buffer:
        """Wait for the answer. Raises `CallFailed`."""

    def cancel(self) -> None:
        """Don't wait. Harmless after the result was taken."""


class RawStream(Protocol):
    """Messages of one attempt at a call."""

    def next(self, end: float = NEVER) -> Buffer | None:
        """The next, None at the end. Waits at most the channel's deadline, and until `end`. Raises `CallFailed`."""

    def cancel(self) -> None:
        """Take no more. Harmless twice."""


class Sending(Protocol):
    """One call that takes messages and gives one answer."""

    def send(self, message: Buffer) -> None:
        """Send one, waiting while the server takes none. Raises `CallFailed` where the call ended already."""

    def finish(self) -> Buffer:
        """The answer to what was sent. Raises `CallFailed`."""

    def cancel(self) -> None:
        """End the call, whatever it is at. Harmless twice and after the answer."""


class Incoming:
    """The messages of one call. Each is waited for at most the deadline of the channel."""

    def __init__(self, channel: Channel, service: str, method: str, request: bytes) -> None:
        self._channel = channel
        self._service = service
        self._method = method
        self._request = request
        self._end = monotonic() + channel.deadline
        self._begun = False
        self.broken = False
        """Whether the connection was lost after the first message: asking again may give the rest."""
        self._stream: RawStream | None = None
        self._failed: CallFailed | None = None
        self._refused: TvixError | None = None
        self._start()

    def next(self) -> Buffer | None:
        """The next message, None at the end. Raises `Absent` for NOT_FOUND."""
        pause = 0.02
        while True:
            try:
                if self._refused is not None:
                    raise self._refused
                if self._stream is None:
                    raise self._failed or CallFailed("CANCELLED")
                message = self._stream.next(NEVER if self._begun else self._end)
            except CallFailed as failed:
                if not self._begun and self._channel.encrypted:
                    self._channel.explain(failed)
                if (
                    not self._begun
                    and monotonic() < self._end
                    and self._channel.may_repeat(self._service, self._generation, failed)
                ):
                    if failed.code != "UNIMPLEMENTED":
                        sleep(pause)
                        pause = min(pause * 2, 0.25)
                    self._start()
                    continue
                self.broken = self._begun and failed.lost
                self.cancel()
                raise self._channel.failure(self._method, failed) from None
            if not self._begun:
                self._begun = True
                self._channel.settle(self._service)
            if message is None:
                self.cancel()
            return message

    def cancel(self) -> None:
        """Take no more. Harmless twice and after the end."""
        if self._stream is not None:
            self._stream.cancel()

    def _start(self) -> None:
        """What goes wrong here is told by `next`: asking doesn't wait, and doesn't raise."""
        self.cancel()
        self._generation = self._channel.generation(self._service)
        try:
            self._stream = self._channel.start_stream(self._service, self._method, self._request)
        except CallFailed as failed:
            self._stream, self._failed = None, failed
        except TvixError as error:
            self._stream, self._refused = None, error
