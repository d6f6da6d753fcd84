"""A server that is told to stop: what stands still is ended at once, what moves may end."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

import grpc
import pytest

from tvix.castore.transfer.framing import MESSAGE
from tvix.grpc_api.server import Server

if TYPE_CHECKING:
    from tests.security.framed.conftest import Methods, Raw

Start: TypeAlias = Callable[..., Server]
Connect: TypeAlias = Callable[[Server], "Raw"]
SERVICE = "/tvix_appliance.test.v1.Test/"
QUICK = 3.0
"""Seconds, where the grace is 30."""


def seconds_to_stop(server: Server) -> float:
    begun = monotonic()
    server.stop(grace=30)
    return monotonic() - begun


@pytest.fixture
def both(start: Start, tmp_path: Path) -> Server:
    """A server that listens for framed calls first, and for gRPC."""
    return start(f"tvix+unix:{tmp_path}/framed", f"unix:{tmp_path}/grpc")


@pytest.fixture
def channel(both: Server) -> Iterator[grpc.Channel]:
    """To its gRPC address."""
    with grpc.insecure_channel(both.addresses[1].url.removeprefix("grpc+")) as made:
        yield made


def test_idle_connections_and_streams_are_no_reason_to_wait(both: Server, connect: Connect, channel: grpc.Channel) -> None:
    silent, parked, talking, sending = (connect(both) for _ in range(4))
    parked.call("Echo", b"x")
    assert parked.answer() == [b"x"]
    talking.call("Talk", b"x", end=False)
    assert talking.record() == (MESSAGE, b"x")
    sending.call("Join", b"half", end=False)
    asks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    call = channel.stream_stream(SERVICE + "Talk")(iter(asks.get, None))
    asks.put(b"x")
    assert next(call) == b"x"
    assert seconds_to_stop(both) < QUICK
    status = talking.error()
    assert (status.code, status.identifier) == ("UNAVAILABLE", "grpc.stopping")
    assert all(raw.closed() for raw in (silent, parked, sending))
    with pytest.raises(grpc.RpcError):
        next(call)
    asks.put(None)


def test_who_does_not_read_is_no_reason_to_wait(both: Server, connect: Connect, channel: grpc.Channel) -> None:
    raw = connect(both)
    raw.call("Count", b"1000 1000000")
    assert raw.socket.recv(1)
    call = channel.unary_stream(SERVICE + "Count")(b"1000 1000000")
    next(call)
    assert seconds_to_stop(both) < QUICK
    call.cancel()


def test_a_call_under_way_is_answered(both: Server, connect: Connect, methods: Methods) -> None:
    raw = connect(both)
    raw.call("Hold", b"answered")
    assert methods.entered.wait(10)
    stopping = Thread(target=both.stop, kwargs={"grace": 30})
    stopping.start()
    while not both._framed._rules.stopping:
        pass
    methods.hold.set()
    stopping.join()
    assert raw.answer() == [b"answered"]
    assert raw.closed()


def test_a_stream_that_moves_may_end(both: Server, connect: Connect) -> None:
    raw = connect(both)
    raw.call("Count", b"200 100000")
    assert raw.record() == (MESSAGE, b"0" + b" " * 100000)
    stopping = Thread(target=both.stop, kwargs={"grace": 30})
    stopping.start()
    while not both._framed._rules.stopping:
        pass
    assert len(raw.answer()) == 199
    stopping.join()


def test_what_does_not_end_is_ended_after_the_grace(both: Server, connect: Connect, methods: Methods) -> None:
    raw = connect(both)
    raw.call("Hold", b"too long")
    assert methods.entered.wait(10)
    stopping = Thread(target=both.stop, kwargs={"grace": 0.2})
    stopping.start()
    assert raw.closed()
    methods.hold.set()
    stopping.join()


def test_stopping_twice_is_harmless(start: Start, tmp_path: Path) -> None:
    server = start(f"tvix+unix:{tmp_path}/framed")
    server.stop(0)
    server.stop(0)
