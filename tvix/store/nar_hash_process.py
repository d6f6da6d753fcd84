"""NAR hashing in a process of its own, beside an ingest: on two cores an import takes as long as the slower of the two.

The process is forked before any store is opened, since neither LMDB nor gRPC survive a fork; it costs some milliseconds and waits.
It ends when its parent closes the socket between them, or dies.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from typing import NamedTuple, Self

from tvix.castore.ingest.fingerprint import Fingerprint
from tvix.errors import EX_IOERR, TvixError
from tvix.store.nar_hash import hash_path
from tvix.store.path_infos.interface import NarSummary

_LENGTH_BYTES = 8


class HashingFailed(TvixError):
    """The process that computes NAR hashes is gone."""

    identifier = "store.hashing-failed"
    message = "the process that computes the NAR hash ended before it was done"
    hint = "was it killed, or is memory short?"
    exit_code = EX_IOERR


class HashedTree(NamedTuple):
    """What the walk came to: the NAR, and what it saw on the way."""

    nar: NarSummary
    fingerprint: int


class NarHashProcess:
    """A process that hashes one tree at a time; a context manager that ends it. Not safe to share between threads.

    Make it before a store is opened. Python forbids nothing here, so this is up to the caller.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._busy = False
        self._unwanted = 0
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                self._socket.close()
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                _serve(theirs)
                code = 0
            finally:
                os._exit(code)
        theirs.close()

    def start(self, path: str | bytes | os.PathLike[str]) -> None:
        """Begin with the tree at `path`."""
        assert not self._busy
        try:
            _send(self._socket, os.path.abspath(os.fsencode(path)))
        except OSError:
            raise HashingFailed from None
        self._busy = True

    def result(self) -> HashedTree:
        """Wait for what `start` began. Raises as `hash_path` does, and `HashingFailed`."""
        assert self._busy
        self._busy = False
        try:
            answer = _receive(self._socket)
            while self._unwanted and answer is not None:
                self._unwanted -= 1
                answer = _receive(self._socket)
        except OSError:
            answer = None
        if answer is None:
            raise HashingFailed
        result: HashedTree | TvixError = pickle.loads(answer)  # noqa: S301 (from our own child)
        if isinstance(result, TvixError):
            raise result
        return result

    def abandon(self) -> None:
        """Want no result of what `start` began."""
        self._busy = False
        self._unwanted += 1

    def close(self) -> None:
        """End the process, whatever it is doing. Harmless twice."""
        if self._pid:
            self._socket.close()
            if self._busy or self._unwanted:
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hash_tree(path: str | bytes | os.PathLike[str]) -> HashedTree:
    """The same in this process. Raises as `hash_path` does."""
    fingerprint = Fingerprint()
    return HashedTree(hash_path(path, fingerprint), fingerprint.value)


def _serve(connection: socket.socket) -> None:
    while (path := _receive(connection)) is not None:
        answer: HashedTree | TvixError
        try:
            answer = hash_tree(path)
        except TvixError as error:
            answer = error
        _send(connection, pickle.dumps(answer))


def _send(connection: socket.socket, message: bytes) -> None:
    connection.sendall(len(message).to_bytes(_LENGTH_BYTES, "little") + message)


def _receive(connection: socket.socket) -> bytes | None:
    """One message, or None where the other end is closed."""
    header = _receive_exactly(connection, _LENGTH_BYTES)
    return None if header is None else _receive_exactly(connection, int.from_bytes(header, "little"))


def _receive_exactly(connection: socket.socket, size: int) -> bytes | None:
    received = bytearray()
    while len(received) < size:
        piece = connection.recv(size - len(received))
        if not piece:
            return None
        received += piece
    return bytes(received)
