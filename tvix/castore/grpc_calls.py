"""The kinds of calls that a gRPC channel makes: one attempt each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from threading import Condition

from tvix.castore.blobs.interface import Buffer
from tvix.castore.grpc_errors import call_failed
from tvix.castore.grpc_import import Foreign, import_grpc
from tvix.castore.grpc_watch import Watchdog
from tvix.castore.remote_calls import NEVER
from tvix.castore.remote_errors import CallFailed

_MESSAGES_AHEAD = 4


def checked_answer(answer: bytes | None) -> bytes:
    """gRPC gives None where a server says that all is well and sends nothing."""
    if answer is None:
        raise CallFailed("INTERNAL", "it says that all is well and sends no answer")
    return answer


class GrpcPending:
    """See `Pending`."""

    def __init__(self, future: Foreign) -> None:
        self._future = future

    def result(self) -> bytes:
        """See `Pending`."""
        try:
            return checked_answer(self._future.result())
        except import_grpc().RpcError as error:
            raise call_failed(error) from None
        except import_grpc().FutureCancelledError:
            raise call_failed(self._future) from None  # which is the error, with its code

    def cancel(self) -> None:
        """See `Pending`."""
        self._future.cancel()


class GrpcStream:
    """See `RawStream`. gRPC bounds a call as a whole alone: each wait is bounded by the watchdog."""

    def __init__(self, call: Foreign, watchdog: Watchdog) -> None:
        self._call = call
        self._watchdog = watchdog
        self._watch = watchdog.watch(call.cancel)
        watchdog.add(self._watch)

    def next(self, end: float = NEVER) -> bytes | None:
        """See `RawStream`."""
        self._watch.begin(end)
        try:
            message: bytes = next(self._call)
        except StopIteration:
            return None
        except import_grpc().RpcError as error:
            raise call_failed(error) from None
        finally:
            self._watch.end()
        return message

    def cancel(self) -> None:
        """See `RawStream`."""
        self._watchdog.remove(self._watch)
        self._call.cancel()


class GrpcSending:
    """See `Sending`: a few messages ahead of the thread of gRPC's that sends them."""

    def __init__(self, method: Foreign, metadata: object, watchdog: Watchdog, messages: Iterable[bytes] | None = None) -> None:
        self._feed = _Feed()
        self._watchdog = watchdog
        self._watch = watchdog.watch(self._stop)
        watchdog.add(self._watch)
        self._watch.begin()
        self._call = method.future(self._watched(self._feed if messages is None else messages), metadata=metadata)
        self._call.add_done_callback(self._feed.kill)

    def send(self, message: Buffer) -> None:
        """See `Sending`."""
        if not self._feed.push(bytes(message)):
            self.finish()
            raise CallFailed("INTERNAL", "it answered before everything was sent")

    def finish(self) -> bytes:
        """See `Sending`."""
        self._feed.end()
        try:
            return checked_answer(self._call.result())
        except import_grpc().RpcError as error:
            raise call_failed(error) from None
        except import_grpc().FutureCancelledError:
            raise call_failed(self._call) from None
        finally:
            self.cancel()

    def cancel(self) -> None:
        """See `Sending`."""
        self._watchdog.remove(self._watch)
        self._stop()

    def _stop(self) -> None:
        self._call.cancel()
        self._feed.kill(None)

    def _watched(self, messages: Iterable[bytes]) -> Iterator[bytes]:
        for message in messages:
            self._watch.begin()  # until the next one is asked for
            yield message
            self._watch.end()
        self._watch.begin()


class _Feed:
    """Messages handed from a writer to the thread that sends them, a few ahead."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._messages: deque[bytes] = deque()
        self._ended = False
        self._dead = False

    def push(self, message: bytes) -> bool:
        """Hand one over, waiting for room; False where nobody takes it any more."""
        with self._condition:
            self._condition.wait_for(lambda: len(self._messages) < _MESSAGES_AHEAD or self._dead)
            self._messages.append(message)
            self._condition.notify_all()
            return not self._dead

    def end(self) -> None:
        """No more will come."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def kill(self, _call: Foreign) -> None:
        """No more will be taken."""
        with self._condition:
            self._dead = True
            self._messages.clear()
            self._condition.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._messages or self._ended or self._dead)
                if self._dead or not self._messages:
                    return
                message = self._messages.popleft()
                self._condition.notify_all()
            yield message
