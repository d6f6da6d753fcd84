"""A gRPC call by hand, to gRPC's own server and to sockets that say anything else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Thread
from time import monotonic

import grpc
import pytest

from tvix.castore.http2_unary import NotAnswered, call

SERVICE = "some.v1.Service"
SECONDS = 10.0
ANSWER = bytes(range(256)) * 100  # of two frames at least
PREFIX = len(ANSWER).to_bytes(5, "big")


@pytest.fixture(scope="module")
def foreign() -> Iterator[tuple[int, Event]]:
    """A server of grpcio alone: its port, and what lets its slow method end."""
    free = Event()

    def echo(request: bytes, _context: grpc.ServicerContext) -> bytes:
        return request + ANSWER

    def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "it isn't here")
        raise AssertionError

    def nothing(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        return b""

    def wait(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        free.wait()
        return b"late"

    def squeeze(_request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return ANSWER

    def much(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        return bytes(70_000)

    methods = {"Echo": echo, "Refuse": refuse, "Nothing": nothing, "Wait": wait, "Squeeze": squeeze, "Much": much}
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server = grpc.server(ThreadPoolExecutor(4), compression=grpc.Compression.NoCompression)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port, free
    free.set()
    server.stop(0).wait()


def ask(port: int, method: str, request: bytes = b"", *, authority: str = "", seconds: float = SECONDS) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connected:
        path = f"/{SERVICE}/{method}"
        return call(connected, authority or f"127.0.0.1:{port}", path, request, monotonic() + seconds)


def test_an_answer_of_several_frames(foreign: tuple[int, Event]) -> None:
    assert ask(foreign[0], "Echo", b"question") == b"question" + ANSWER


def test_an_empty_message_is_an_answer(foreign: tuple[int, Event]) -> None:
    assert ask(foreign[0], "Nothing") == b""


@pytest.mark.parametrize("length", [126, 127, 128, 253, 300, 5000])
def test_headers_of_any_length(foreign: tuple[int, Event], length: int) -> None:
    """From 127 bytes on a length takes more than its prefix."""
    assert ask(foreign[0], "Echo", authority="a" * length) == ANSWER


@pytest.mark.parametrize("method", ["Refuse", "Unknown", "Squeeze", "Much"])
def test_what_is_no_answer(foreign: tuple[int, Event], method: str) -> None:
    with pytest.raises(NotAnswered):
        ask(foreign[0], method)


def test_an_answer_that_takes_too_long(foreign: tuple[int, Event]) -> None:
    started = monotonic()
    with pytest.raises(NotAnswered):
        ask(foreign[0], "Wait", seconds=0.2)
    assert monotonic() - started < SECONDS


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


SETTINGS = frame(4, 0, 0)
TRAILERS = frame(1, 5, 1, b"\x88")


def say(said: bytes, *, hold: bool = False, seconds: float = SECONDS) -> bytes:
    """What a call makes of a server that says this whatever it hears, and then hangs up, or doesn't."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = Event()

    def serve() -> None:
        connected, _ = listening.accept()
        with connected, suppress(OSError):
            connected.sendall(said)
            connected.shutdown(socket.SHUT_WR)
            while connected.recv(4096):
                pass

    def serve_on() -> None:
        connected, _ = listening.accept()
        with connected, suppress(OSError):
            connected.sendall(said)
            over.wait()

    thread = Thread(target=serve_on if hold else serve)
    thread.start()
    try:
        return ask(listening.getsockname()[1], "Any", seconds=seconds)
    finally:
        over.set()
        thread.join()
        listening.close()


MESSAGE = PREFIX + ANSWER
OTHERS = frame(0xFA, 0xFF, 1, b"grease") + frame(6, 0, 0, bytes(8)) + frame(8, 0, 0, bytes(4)) + frame(3, 0, 3, bytes(4))
MIDDLE, LAST = frame(0, 0, 1, MESSAGE[9000:25000]), frame(0, 1, 1, MESSAGE[25000:])
WHOLE = {
    "one end": SETTINGS + frame(0, 0, 1, MESSAGE[:9000]) + MIDDLE + LAST,
    "trailers": b"".join(frame(0, 0, 1, MESSAGE[at : at + 1000]) for at in range(0, len(MESSAGE), 1000)) + TRAILERS,
    "padding": frame(0, 8, 1, b"\5" + MESSAGE[:9000] + bytes(5))
    + frame(0, 0, 1, MESSAGE[9000:25000])
    + frame(0, 1, 1, MESSAGE[25000:]),
    "frames for others": OTHERS
    + frame(0, 1, 3, b"x")
    + frame(0, 0, 1 | 1 << 31, MESSAGE[:16000])
    + frame(0, 1, 1, MESSAGE[16000:]),
}


@pytest.mark.parametrize("said", WHOLE.values(), ids=WHOLE)
def test_whatever_else_comes_is_passed_over(said: bytes) -> None:
    assert say(said) == ANSWER


BROKEN = {
    "nothing": b"",
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "half a frame": SETTINGS + frame(0, 1, 1, MESSAGE[:100])[:50],
    "trailers alone": SETTINGS + TRAILERS,
    "half a message": SETTINGS + frame(0, 0, 1, MESSAGE[:100]) + TRAILERS,
    "two messages": frame(0, 1, 1, (bytes(4) + b"\x01x") * 2),
    "a compressed one": frame(0, 1, 1, b"\x01" + MESSAGE[1:100]),
    "padding alone": frame(0, 9, 1, b"\x05" + bytes(4)),
    "no length of padding": frame(0, 9, 1),
    "a reset": SETTINGS + frame(3, 0, 1, bytes(4)) + frame(0, 1, 1, bytes(5)),
    "a farewell": frame(7, 0, 0, bytes(8)) + frame(0, 1, 1, bytes(5)),
    "a frame too large": frame(0, 1, 1, bytes(16_385)),
    "frames without end": frame(0, 0, 1, bytes(16_000)) * 5,
    "other frames without end": frame(6, 0, 0, bytes(16_000)) * 5,
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
def test_what_a_grpc_server_does_not_say(said: bytes) -> None:
    with pytest.raises(NotAnswered):
        say(said)


@pytest.mark.parametrize("said", [b"", SETTINGS, SETTINGS + frame(0, 0, 1, PREFIX)], ids=["nothing", "settings", "half"])
def test_silence_ends_in_time(said: bytes) -> None:
    with pytest.raises(NotAnswered):
        say(said, hold=True, seconds=0.1)
