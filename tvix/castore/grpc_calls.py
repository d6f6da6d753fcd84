"""The two kinds of streaming calls that a channel makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from time import monotonic, sleep
from typing import TYPE_CHECKING

from tvix.castore.grpc_errors import failure, is_lost
from tvix.castore.grpc_import import Foreign, import_grpc

if TYPE_CHECKING:
    from tvix.castore.grpc_channel import Channel
    from tvix.castore.grpc_watch import Watch


class Incoming:
    """The messages of one call. Each is waited for at most the deadline of the channel."""

    def __init__(self, channel: Channel, service: str, method: str, request: bytes) -> None:
        self._channel = channel
        self._what = service, method, request
        self._end = monotonic() + channel.deadline
        self._begun = False
        self.broken = False
        """Whether the connection was lost after the first message: asking again may give the rest."""
        self._call = channel.start_stream(*self._what)
        self._watch: Watch = channel.watchdog.watch(self.cancel)
        channel.watchdog.add(self._watch)

    def next(self) -> bytes | None:
        """The next message, None at the end. Raises `Absent` for NOT_FOUND."""
        rpc_error = import_grpc().RpcError
        pause = 0.02
        while True:
            self._watch.begin() if self._begun else self._watch.begin(self._end)
            try:
                message: bytes = next(self._call)
            except StopIteration:
                self._channel.settle(self._what[0])
                self.cancel()
                return None
            except rpc_error as error:
                if not self._begun and monotonic() < self._end and self._channel.may_repeat(self._what[0], error):
                    if error.code().name != "UNIMPLEMENTED":
                        sleep(pause)
                        pause = min(pause * 2, 0.25)
                    self._call = self._channel.start_stream(*self._what)
                    continue
                self.broken = self._begun and is_lost(error)
                self.cancel()
                raise failure(self._channel.origin, self._what[1], error, self._channel.deadline) from None
            finally:
                self._watch.end()
            if not self._begun:
                self._begun = True
                self._channel.settle(self._what[0])
            return message

    def cancel(self) -> None:
        """Take no more. Harmless twice and after the end."""
        self._channel.watchdog.remove(self._watch)
        self._call.cancel()


class Sending:
    """One call that takes messages and gives one answer."""

    def __init__(self, channel: Channel, method: Foreign, messages: Iterable[bytes]) -> None:
        self._watchdog = channel.watchdog
        self._watch = self._watchdog.watch(self.cancel)
        self._watchdog.add(self._watch)
        self._watch.begin()
        self.call = method.future(self._watched(messages), metadata=channel.metadata())

    def answer(self) -> bytes:
        """Wait for it."""
        try:
            answer: bytes = self.call.result()
        except import_grpc().FutureCancelledError:
            raise self.call from None  # which is the error, with its code
        return answer

    def cancel(self) -> None:
        """End the call, whatever it is at."""
        self.call.cancel()

    def __enter__(self) -> Sending:
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.remove(self._watch)
        self.call.cancel()

    def _watched(self, messages: Iterable[bytes]) -> Iterator[bytes]:
        for message in messages:
            self._watch.begin()  # until the next one is asked for
            yield message
            self._watch.end()
        self._watch.begin()
