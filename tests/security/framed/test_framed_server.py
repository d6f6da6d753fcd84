"""The framed server: what a connection carries, and that who talks nonsense, stalls or goes away harms himself at most."""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tvix.castore.transfer.framing import CALL, END, HEADER, MESSAGE, Status, record
from tvix.grpc_api.server import Server

if TYPE_CHECKING:
    from tests.security.framed.conftest import Methods, Raw

Start: TypeAlias = Callable[..., Server]
Framed: TypeAlias = Callable[..., Server]
Connect: TypeAlias = Callable[[Server], "Raw"]


def test_one_call_after_the_other(framed: Framed, connect: Connect) -> None:
    raw = connect(framed())
    raw.call("Echo", b"one")
    assert raw.answer() == [b"one"]
    raw.call("Count", b"3 0")
    assert raw.answer() == [b"0", b"1", b"2"]
    raw.call("Join", b"a", b"b")
    assert raw.answer() == [b"ab"]
    raw.call("Talk", b"x", b"y")
    assert raw.answer() == [b"x", b"y"]
    raw.call("Echo", b"last")
    assert raw.answer() == [b"last"]


def test_calls_ahead_of_their_answers(framed: Framed, connect: Connect) -> None:
    raw = connect(framed())
    for number in range(100):
        raw.call("Echo" if number % 3 else "Fail", b"%d" % number)
    for number in range(100):
        answer = raw.answer()
        assert answer == [b"%d" % number] if number % 3 else isinstance(answer, Status)


def test_after_a_long_silence(framed: Framed, connect: Connect) -> None:
    server = framed()
    raw = connect(server)
    for text in (b"one", b"two"):
        raw.call("Echo", text)
        assert raw.answer() == [text]
        until(lambda: server._framed._parked)  # the connection is with the poll now, and no thread waits for it


def test_an_error_is_the_same_as_over_grpc(framed: Framed, connect: Connect) -> None:
    raw = connect(framed())
    raw.call("Fail", b"it")
    assert raw.answer() == Status("NOT_FOUND", "thing it is not in the store", "grpc.not-here", '{"kind": "thing", "name": "it"}')
    raw.call("NoSuch", b"")
    assert raw.error().code == "UNIMPLEMENTED"
    raw.call("Echo", b"goes on")
    assert raw.answer() == [b"goes on"]


def test_what_is_left_of_a_refused_call_is_read_over(start: Start, connect: Connect, tmp_path: Path) -> None:
    raw = connect(start(f"tvix+unix:{tmp_path}/framed", read_only=True))
    raw.call("Join", *[bytes(1 << 20)] * 20)
    assert raw.error().identifier == "grpc.read-only"
    raw.call("Echo", b"goes on")
    assert raw.answer() == [b"goes on"]


def test_large_messages_in_pieces(framed: Framed, connect: Connect) -> None:
    raw = connect(framed())
    raw.call("Count", b"3 5000000")
    assert [len(message) for message in raw.answer()] == [5000001] * 3
    large = os.urandom(4 << 20)
    raw.call("Echo", large)
    assert raw.answer() == [large]


@pytest.mark.parametrize("count", [0, 2])
def test_one_message_is_one_message(framed: Framed, connect: Connect, count: int) -> None:
    raw = connect(framed())
    raw.call("Echo", *[b"x"] * count)
    assert raw.error().code == "UNIMPLEMENTED"
    raw.call("Echo", b"goes on")
    assert raw.answer() == [b"goes on"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff" * 5000,
        b"GET / HTTP/1.1\r\nHost: store\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        record(MESSAGE, b"x"),
        record(END),
        HEADER.pack(1 << 31, CALL),
        record(CALL, b"x" * 257),
        record(CALL, b"/tvix_appliance.test.v1.Test/Echo") + record(CALL, b"/tvix_appliance.test.v1.Test/Echo"),
        record(CALL, b"/tvix_appliance.test.v1.Test/Echo") + record(9, b"x"),
        record(CALL, b"\xff\xfe") + record(7),
    ],
)
def test_garbage_is_answered_and_the_connection_closed(framed: Framed, connect: Connect, garbage: bytes) -> None:
    server = framed()
    raw = connect(server)
    raw.send(garbage)
    raw.socket.shutdown(socket.SHUT_WR)
    assert raw.closed()
    other = connect(server)
    other.call("Echo", b"well")
    assert other.answer() == [b"well"]


def test_random_bytes_of_all_sorts(framed: Framed, connect: Connect) -> None:
    server = framed(stall=0.5)
    for _ in range(100):
        raw = connect(server)
        with_head = os.urandom(1)[0] % 2
        raw.send(record(CALL, b"/tvix_appliance.test.v1.Test/Talk") if with_head else b"", os.urandom(200))
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.closed()
    other = connect(server)
    other.call("Echo", b"well")
    assert other.answer() == [b"well"]


def test_a_message_of_two_gigabytes(framed: Framed, connect: Connect) -> None:
    server = framed()
    before = resident()
    raw = connect(server)
    raw.call("Join", b"begun", end=False)
    raw.send(HEADER.pack(2 << 30, MESSAGE), bytes(1 << 20))
    status = raw.error()
    assert (status.code, status.identifier) == ("RESOURCE_EXHAUSTED", "grpc.message-too-large")
    assert "large blobs go in pieces" in status.details
    assert raw.closed()
    assert resident() - before < 32 << 20


def test_large_requests_together_are_bounded(framed: Framed, connect: Connect) -> None:
    server = framed(request_bytes=10 << 20)
    slow = [connect(server) for _ in range(2)]
    for raw in slow:
        raw.call("Write", end=False)
        raw.send(HEADER.pack(4 << 20, MESSAGE), bytes(1 << 20))
    until(lambda: server._framed._rules.room._used >= 8 << 20)
    third = connect(server)
    third.call("Write", bytes(4 << 20))
    assert third.error().identifier == "grpc.too-much-at-once"
    for raw in slow:
        raw.send(bytes(3 << 20), record(END))
        assert raw.answer() == [bytes(4 << 20)]
    third.call("Write", bytes(4 << 20))
    assert third.answer() == [bytes(4 << 20)]


def test_who_drips_or_hangs_is_ended_and_holds_up_nobody(framed: Framed, connect: Connect) -> None:
    server = framed(stall=1, question=1, call_threads=1, stream_threads=1, long_streams=1)
    hanging = [connect(server) for _ in range(100)]
    for number, raw in enumerate(hanging):  # none of which is a whole call
        raw.send((b"", b"\x21", HEADER.pack(33, CALL), HEADER.pack(33, CALL) + b"/tvix")[number % 4])
    other = connect(server)
    begun = monotonic()
    other.call("Echo", b"well")
    assert other.answer() == [b"well"]
    assert monotonic() - begun < 1
    dripping = connect(server)
    dripping.call("Echo", end=False)
    dripping.send(HEADER.pack(100, MESSAGE))
    begun = monotonic()
    with suppress(OSError):
        while monotonic() - begun < 20:
            dripping.send(b"x")
            select.select([dripping.socket], [], [], 0.1)
    assert monotonic() - begun < 5


def test_who_does_not_read_is_ended(framed: Framed, connect: Connect) -> None:
    server = framed(stall=0.5)
    raw = connect(server)
    raw.call("Count", b"1000 1000000")
    assert raw.socket.recv(1) == b"\x41"
    assert server._framed.wait(20)
    assert sum(len(piece) for piece in iter(lambda: raw.socket.recv(1 << 20), b"")) < 8 << 20


def test_who_goes_away_half_way(framed: Framed, connect: Connect, methods: Methods) -> None:
    server = framed()
    raw = connect(server)
    raw.call("Join", b"half", end=False)
    raw.socket.close()
    assert methods.gone.wait(10)
    talking = connect(server)
    talking.call("Talk", b"x", end=False)
    assert talking.record() == (MESSAGE, b"x")
    talking.socket.close()
    assert server._framed.wait(10)


def test_more_long_streams_than_the_limit(framed: Framed, connect: Connect) -> None:
    server = framed(long_streams=2)
    open_ones = [connect(server) for _ in range(2)]
    for raw in open_ones:
        raw.call("Talk", b"x", end=False)
        assert raw.record() == (MESSAGE, b"x")
    third = connect(server)
    third.call("Talk", b"x")
    status = third.error()
    assert (status.code, status.identifier) == ("RESOURCE_EXHAUSTED", "grpc.too-many-streams")
    assert "unmount" in status.details
    third.call("Echo", b"calls go on")
    assert third.answer() == [b"calls go on"]
    open_ones[0].send(record(END))
    assert open_ones[0].answer() == []
    third.call("Talk", b"now")
    assert third.answer() == [b"now"]


def test_more_calls_than_may_wait(framed: Framed, connect: Connect, methods: Methods) -> None:
    server = framed(call_threads=1, calls_waiting=1)
    first, second, third = (connect(server) for _ in range(3))
    first.call("Hold", b"1")
    assert methods.entered.wait(10)
    second.call("Hold", b"2")
    until(lambda: server._framed._rules._calls._waiting)
    third.call("Echo", b"3")
    status = third.error()
    assert (status.code, status.identifier) == ("RESOURCE_EXHAUSTED", "grpc.too-many-calls")
    methods.hold.set()
    assert (first.answer(), second.answer()) == ([b"1"], [b"2"])


def test_more_connections_than_the_limit(framed: Framed, connect: Connect, methods: Methods) -> None:
    server = framed(connections=2)
    for _ in range(2):
        connect(server).call("Hold", b"")
    assert methods.entered.wait(10)
    third = connect(server)
    third.call("Echo", b"")
    status = third.error()
    assert (status.code, status.identifier) == ("RESOURCE_EXHAUSTED", "grpc.too-many-connections")
    assert "try again" in status.details
    assert third.closed()


def test_tls_from_two_threads_at_once(start: Start, tmp_path: Path) -> None:
    from tvix.castore.credentials import ServerTls, files_in
    from tvix.grpc_api import server as server_module
    from tvix.store.addresses import open_store
    from tvix.testing.site import Site

    site = Site(tmp_path)
    tls = ServerTls(files_in(str(site.issue("server"))))
    client = files_in(str(site.issue("reader"))).read()
    methods = start(f"tvix+unix:{tmp_path}/other")  # for its table
    with open_store("memory:") as store, pytest.MonkeyPatch.context() as patch:
        table = [method for _path, method in methods._framed._rules.table]
        patch.setattr(server_module, "methods_of", lambda *_words, **_options: iter(table))
        server = server_module.make_server(store, ["tvix+tls://127.0.0.1:0"], tls=tls)
        server.start()
        connected = socket.create_connection(("127.0.0.1", server.addresses[0].port), timeout=30)
        inner = client.client_context().wrap_socket(connected, server_hostname="127.0.0.1")
        text = os.urandom(100_000)
        lock_step = Thread(target=_send_all, args=(inner, text))
        with inner:
            inner.setblocking(True)
            lock_step.start()
            received = b""
            wanted = 200 * (len(text) + HEADER.size) + HEADER.size
            while len(received) < wanted:
                received += inner.recv(1 << 16)
            lock_step.join()
        assert received == (record(MESSAGE, text) * 200) + record(END)
        server.stop(0)


def _send_all(inner: ssl.SSLSocket, text: bytes) -> None:
    inner.sendall(record(CALL, b"/tvix_appliance.test.v1.Test/Talk"))
    for _ in range(200):
        inner.sendall(record(MESSAGE, text))
    inner.sendall(record(END))


def until(condition: Callable[[], object]) -> None:
    """What the server's own threads bring about."""
    end = monotonic() + 30
    while not condition():
        assert monotonic() < end
        os.sched_yield()


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
