"""A server under load: a thousand clients at once, and what a second server process is worth."""

from __future__ import annotations

import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from time import perf_counter

from tests.bench.harness import Figure, in_turn
from tests.bench.program import ROOT, TVIX
from tvix.castore.digests import Digest, digest_of
from tvix.castore.transfer.framing import CALL, END, HEADER, MESSAGE, record
from tvix.castore.transfer.messages import SERVICE
from tvix.castore.transfer.requests import decode_missing_response, encode_missing_request
from tvix.store.addresses import open_store

CLIENTS = 1000
DIGESTS = 10_000
READERS = 8
READ_BYTES = 128 << 20
_MISSING = f"/{SERVICE}/Missing"
_PATIENCE = 600.0


@dataclass
class Server:
    """A server process, with its children."""

    process: subprocess.Popen[str]
    addresses: list[str]

    @property
    def peak(self) -> float:
        """MiB that were resident at most, of the largest process."""
        peaks = []
        for process in (self.process.pid, *_children(self.process.pid)):
            status = Path(f"/proc/{process}/status").read_text()
            peaks.append(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        return max(peaks)


@contextmanager
def serving(store: str, *words: str) -> Iterator[Server]:
    """`tvix store serve`, over both transports."""
    command = [str(TVIX), "store", "serve", "--store", store]
    command += ["--listen", "127.0.0.1:0", "--listen", "tvix+tcp://127.0.0.1:0", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        yield Server(process, process.stdout.readline().split()[1:])
        process.terminate()


def figures() -> Iterator[Figure]:
    """The rows."""
    with tempfile.TemporaryDirectory() as directory:
        store = f"pack:{directory}/store"
        digests = fill(store)
        request = encode_missing_request([digest for pair in digests for digest in pair], directories=False)
        with serving(store) as server:
            yield from missing("framed", server, lambda: ask_framed(server.addresses[1], request), len(digests))
        with serving(store) as server:
            yield from missing("gRPC", server, lambda: ask_grpc(server.addresses[0], request), len(digests))
        yield from processes(store)


def fill(store_url: str) -> list[tuple[Digest, Digest]]:
    """Store as many blobs as half of what is asked for, and something to read; each digest with one that isn't there."""
    with open_store(store_url) as store:
        pairs = [(store.blobs.put(b"here %d" % number), digest_of(b"absent %d" % number)) for number in range(DIGESTS // 2)]
        writer = store.blobs.writer()
        for _ in range(READ_BYTES >> 20):
            writer.write(os.urandom(1 << 20))
        (Path(store_url.removeprefix("pack:")).parent / "large").write_text(writer.close().hex())
        store.sync()
    return pairs


def missing(transport: str, server: Server, ask: Callable[[], tuple[list[float], bytes]], absent: int) -> Iterator[Figure]:
    """A thousand clients ask the same at once; the answers are looked at."""
    before = server.peak
    seconds, answer = ask()
    bits = decode_missing_response(answer, DIGESTS)
    assert sum(bits) == absent
    p99, median = statistics.quantiles(seconds, n=100)[98], statistics.median(seconds)
    what = f"{CLIENTS} clients ask for {DIGESTS} digests each, {transport}"
    note = f"(median {median:.1f} s, {len(seconds) / max(seconds):.0f} requests a second)"
    yield Figure(f"{what}: p99", "", p99, 60, "s", note=note)
    yield Figure(f"{what}: memory of the server", "idle", server.peak - before, 1024, "MiB", note=f"(idle {before:.0f} MiB)")


def ask_framed(address: str, request: bytes) -> tuple[list[float], bytes]:
    """Seconds that each client waited, and one answer. All connect first, then all ask."""
    host, port = address.removeprefix("tvix+tcp://").rsplit(":", 1)
    whole = record(CALL, _MISSING.encode()) + HEADER.pack(len(request), MESSAGE) + request + record(END)
    waiting = selectors.DefaultSelector()
    for _ in range(CLIENTS):
        connected = socket.create_connection((host, int(port)))
        connected.setblocking(False)
        waiting.register(connected, selectors.EVENT_WRITE, [memoryview(whole), b""])
    begun = perf_counter()
    seconds: list[float] = []
    answer = b""
    while len(seconds) < CLIENTS:
        for key, events in waiting.select(_PATIENCE):
            connected, state = key.fileobj, key.data
            assert isinstance(connected, socket.socket)
            if events & selectors.EVENT_WRITE:
                state[0] = state[0][connected.send(state[0]) :]
                if not state[0]:
                    waiting.modify(connected, selectors.EVENT_READ, state)
                continue
            received = connected.recv(1 << 16)
            assert received, "the server hung up"
            state[1] += received
            if state[1].endswith(record(END)):
                length, kind = HEADER.unpack_from(state[1])
                assert kind == MESSAGE, state[1]
                answer = state[1][HEADER.size : HEADER.size + length]
                seconds.append(perf_counter() - begun)
                waiting.unregister(connected)
                connected.close()
    return seconds, answer


def ask_grpc(address: str, request: bytes) -> tuple[list[float], bytes]:
    """The same, each client with a channel and a connection of its own."""
    import grpc

    target = address.removeprefix("grpc+http://")
    channels = [grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(CLIENTS)]
    for channel in channels:
        grpc.channel_ready_future(channel).result(_PATIENCE)
    seconds: list[float] = []
    landed = Semaphore(0)
    begun = perf_counter()

    def land(_call: object) -> None:
        seconds.append(perf_counter() - begun)
        landed.release()

    calls = []
    for channel in channels:
        call = channel.unary_unary(_MISSING).future(request, timeout=_PATIENCE)
        call.add_done_callback(land)
        calls.append(call)
    for _ in channels:
        landed.acquire()
    answer: bytes = calls[-1].result()
    for channel in channels:
        channel.close()
    return seconds, answer


def processes(store: str) -> Iterator[Figure]:
    """Readers of a large blob, against one server process and against two."""
    blob = (Path(store.removeprefix("pack:")).parent / "large").read_text()
    with serving(store) as one, serving(store, "--processes", "2") as two:
        for number, transport in enumerate(("gRPC", "framed")):
            pairs = in_turn(lambda: read(two.addresses[number], blob), lambda: read(one.addresses[number], blob), 3)  # noqa: B023
            rate = READERS * READ_BYTES / statistics.median(pairs.ours) / 1e6
            what = f"{READERS} clients read {READ_BYTES >> 20} MiB each from two server processes, {transport}"
            yield Figure(what, "one process", pairs.ratio, 1.1, note=f"{pairs.note()}, {rate:.0f} MB/s together")
        pairs = in_turn(lambda: ask(two.addresses[1]), lambda: ask(one.addresses[1]), 3)
        what = f"{READERS} clients ask two server processes for {DIGESTS} digests, 50 times, framed"
        yield Figure(what, "one process", pairs.ratio, 0.9, note=pairs.note())


def read(address: str, blob: str) -> float:
    """Seconds until all readers are through."""
    return _in_clients("read", address, blob)


def ask(address: str) -> float:
    """Seconds until all askers are through."""
    return _in_clients("ask", address, "")


def _in_clients(what: str, address: str, blob: str) -> float:
    command = [sys.executable, "-m", "tests.bench.load", what, address, blob]
    clients = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(READERS)]
    for client in clients:
        assert client.stdout is not None
        client.stdout.readline()
    begun = perf_counter()
    for client in clients:
        assert client.stdin is not None
        client.stdin.close()
    for client in clients:
        assert client.wait() == 0
        client.stdout.close()  # type: ignore[union-attr]
    return perf_counter() - begun


def _client(what: str, address: str, blob: str) -> None:
    """One client process: connects, says so, waits for the end of its input, and works."""
    request = encode_missing_request([digest_of(b"%d" % number) for number in range(DIGESTS)], directories=False)
    from tvix.castore.addresses import parse_address
    from tvix.castore.remote_channel import open_channel

    channel = open_channel(parse_address(address))
    channel.unary(SERVICE, "Describe", b"")
    print("ready", flush=True)
    sys.stdin.readline()
    if what == "ask":
        for _ in range(50):
            channel.unary(SERVICE, "Missing", request)
        return
    from tvix.castore.grpc_messages import encode_digest

    stream = channel.stream("castore.v1.BlobService", "Read", encode_digest(Digest(bytes.fromhex(blob))))
    while stream.next() is not None:
        pass


def _children(process: int) -> list[int]:
    text = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True).stdout
    return [int(number) for number in re.findall(r"\d+", text)]


if __name__ == "__main__":
    _client(*sys.argv[1:])
