"""The store server against a bare socket: how long a call takes over TCP and over a Unix socket, and how fast contents move.

A round trip that waited for a delayed acknowledgement would take 40 ms and show here as a hundredfold.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.harness import Figure

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from tvix.castore.digests import Digest
    from tvix.store.store import Store

CALLS = 2000
BYTES = 512 << 20
PIECE = 1 << 20
QUESTION = bytes(40)


def figures() -> Iterator[Figure]:
    """Latency in microseconds (median, and the slowest of a hundred), throughput in MB/s."""
    with tempfile.TemporaryDirectory(prefix="tvix-bench-") as scratch:
        bare = bare_latency(Path(scratch) / "bare")
        fast = bare_throughput(Path(scratch) / "bare")
        with served(Path(scratch) / "socket") as urls:
            yield from _latencies(urls, bare)
            yield _reading(urls["unix"], fast)
        # A store that is too small for the blob hashes it and lets it go: what is left is the way there.
        with served(Path(scratch) / "socket", "memory:?max=16M") as urls:
            yield _writing(urls["unix"], fast)


def _latencies(urls: dict[str, str], bare: float) -> Iterator[Figure]:
    from tvix.castore.digests import digest_of
    from tvix.castore.directory import Directory
    from tvix.castore.nodes import FileNode, Name
    from tvix.store.addresses import open_store

    for transport, url in urls.items():
        with open_store(url) as store:
            digest = store.blobs.put(b"small")
            directory = Directory.of([(Name(b"%03d" % number), FileNode(digest, 5, False)) for number in range(20)])
            store.directories.put([directory])
            yield from _latency(f"question, {transport}", partial(store.blobs.missing, [digest]), bare)
            yield from _latency(f"directory, {transport}", partial(store.directories.get_many, [directory.digest]), bare)
            yield from _latency(f"small blob, {transport}", partial(store.blobs.open, digest), bare)
            wanted = [digest_of(b"%d" % number) for number in range(CALLS)]
            start = time.perf_counter()
            store.blobs.missing(wanted)
            each = (time.perf_counter() - start) / CALLS * 1e6
            yield Figure(f"one of {CALLS} questions, {transport}", "one on a bare socket", each / bare, 30, note=f"({each:.0f} µs)")


def _latency(what: str, call: Callable[[], object], bare: float) -> Iterator[Figure]:
    median, slow = latency_of(call)
    note = f"({median:.0f} µs against {bare:.0f}; one in a hundred takes {slow:.0f} or more)"
    yield Figure(what, "bare Unix socket", median / bare, 60, note=note)
    yield Figure(f"{what}, slowest hundredth", "40 ms of a delayed acknowledgement", slow / 40_000, 0.25, note=f"({slow:.0f} µs)")


def _reading(url: str, bare: float) -> Figure:
    with _opened(url) as store:
        digest, _seconds = _write(store)
        reader = store.blobs.open(digest)
        assert reader is not None
        offset = 0
        start = time.perf_counter()
        while piece := reader.read_at(offset, PIECE):
            offset += len(piece)
        speed = BYTES / 1e6 / (time.perf_counter() - start)
    note = f"({speed:.0f} MB/s against {bare:.0f})"
    return Figure("reading 512 MB, verified", "bare Unix socket", speed / bare, 0.2, at_most=False, note=note)


def _writing(url: str, bare: float) -> Figure:
    with _opened(url) as store:
        _digest, seconds = _write(store)
    speed = BYTES / 1e6 / seconds
    note = f"({speed:.0f} MB/s against {bare:.0f})"
    return Figure("writing 512 MB, verified", "bare Unix socket", speed / bare, 0.1, at_most=False, note=note)


def _opened(url: str) -> Store:
    from tvix.store.addresses import open_store

    return open_store(url)


def _write(store: Store) -> tuple[Digest, float]:
    block = os.urandom(PIECE)
    start = time.perf_counter()
    writer = store.blobs.writer()
    for _ in range(BYTES // PIECE):
        writer.write(block)
    return writer.close(), time.perf_counter() - start


def latency_of(call: Callable[[], object]) -> tuple[float, float]:
    """Median and 99th percentile of one call at a time, in microseconds."""
    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    ordered = sorted(seconds[CALLS // 10 :])
    return statistics.median(ordered) * 1e6, ordered[len(ordered) * 99 // 100] * 1e6


@contextmanager
def served(path: Path, url: str = "memory:") -> Iterator[dict[str, str]]:
    """A server of a store in a process of its own; URLs by transport."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(str(path), url, there))
    process.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        process.join()


def _serve(path: str, url: str, pipe: Connection) -> None:
    from tvix.grpc_api.server import make_server
    from tvix.store.addresses import open_store

    store: Store
    with open_store(url) as store:
        server = make_server(store, ["127.0.0.1:0", f"unix:{path}"])
        server.start()
        pipe.send({"TCP": f"grpc+http://{server.addresses[0]}", "unix": f"grpc+unix:{path}"})
        pipe.recv()
        server.stop(grace=0)


def bare_latency(path: Path) -> float:
    """Median microseconds of 40 bytes there and back."""
    with _peer(path, _echo) as connection:

        def ask() -> None:
            connection.sendall(QUESTION)
            connection.recv(len(QUESTION), socket.MSG_WAITALL)

        return latency_of(ask)[0]


def bare_throughput(path: Path) -> float:
    """MB/s of 1 MiB pieces one way."""
    with _peer(path, _swallow) as connection:
        block = bytes(PIECE)
        start = time.perf_counter()
        for _ in range(BYTES // PIECE):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        return BYTES / 1e6 / (time.perf_counter() - start)


@contextmanager
def _peer(path: Path, behaviour: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        listening.listen()
        process = multiprocessing.get_context("spawn").Process(target=_connect, args=(str(path), behaviour))
        process.start()
        accepted, _address = listening.accept()
        with accepted:
            yield accepted
        process.join()


def _connect(path: str, behaviour: Callable[[socket.socket], None]) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        behaviour(connection)


def _echo(connection: socket.socket) -> None:
    while question := connection.recv(len(QUESTION), socket.MSG_WAITALL):
        connection.sendall(question)


def _swallow(connection: socket.socket) -> None:
    buffer = bytearray(PIECE)
    while connection.recv_into(buffer):
        pass
    connection.sendall(b"x")
