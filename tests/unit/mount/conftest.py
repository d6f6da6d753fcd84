"""A kernel of paper: requests as bytes go into a session, replies come out of a socket."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tvix.mount.counters import Counters
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.engines.fuse import FuseSession
from tvix.mount.source import Source
from tvix.mount.tree import Tree


@dataclass
class Kernel:
    """The other end of a session."""

    session: FuseSession
    tree: Tree
    replies: socket.socket
    unique: int = 0
    pid: int = 0
    asked: list[int] = field(default_factory=list)

    def request(self, operation: int, node: int = 1, body: bytes = b"") -> bytes:
        """The next request."""
        self.unique += 2
        return fuse.IN_HEADER.pack(40 + len(body), operation, self.unique, node, 0, 0, self.pid, 0, 0) + body

    def ask(self, operation: int, node: int = 1, body: bytes = b"") -> tuple[int, bytes] | None:
        """(errno, payload) of the reply; None where it comes later."""
        reply = self.session.respond(memoryview(self.request(operation, node, body)))
        if reply is not None:
            return self.opened(b"".join(reply) if isinstance(reply, list) else reply)
        ready, _, _ = select.select([self.replies], [], [], 0)
        if not ready or struct.unpack_from("<Q", self.replies.recv(16, socket.MSG_PEEK), 8) != (self.unique,):
            return None
        return self.opened(self.replies.recv(2 << 20))

    def later(self) -> tuple[int, bytes]:
        """The next reply that comes by itself; the request it is for is the last of `asked`."""
        return self.opened(self.replies.recv(2 << 20), any_request=True)

    def opened(self, reply: bytes, any_request: bool = False) -> tuple[int, bytes]:
        """A well-formed reply taken apart."""
        length, error, unique = struct.unpack_from("<IiQ", reply)
        assert length == len(reply)
        assert any_request or unique == self.unique
        self.asked.append(unique)
        assert error <= 0
        assert length == 16 or not error
        return -error, reply[16:]

    def lookup(self, node: int, name: bytes) -> int:
        """The number of a name that is near; 0 for one that isn't there."""
        answer = self.ask(fuse.LOOKUP, node, name + b"\0")
        assert answer is not None
        assert answer[0] == 0
        number: int = struct.unpack_from("<Q", answer[1])[0]
        return number

    def read(self, node: int, offset: int, length: int) -> tuple[int, bytes] | None:
        """READ."""
        return self.ask(fuse.READ, node, struct.pack("<QQIIQII", 0, offset, length, 0, 0, 0, 0))


@pytest.fixture
def plug() -> Iterator[object]:
    """Makes kernels: plug(tree, source, **options of the session)."""
    kernels: list[tuple[Kernel, socket.socket]] = []

    def make(tree: Tree, source: Source, **options: object) -> Kernel:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.settimeout(20)
        session = FuseSession(ours.fileno(), tree, source, Counters(), **options)  # type: ignore[arg-type]
        kernel = Kernel(session, tree, theirs)
        kernels.append((kernel, ours))
        return kernel

    yield make
    for kernel, ours in kernels:
        kernel.session.close()
        kernel.replies.close()
        ours.close()
