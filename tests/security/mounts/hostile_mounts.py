"""Mounts of lying servers, and a line between the two whose bytes can be tampered with."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from tvix.testing.liar import Liar

ROOT = Path(__file__).parents[3]
Tamper = Callable[[Liar, Iterator[bytes]], Iterable[bytes]]


class Mount:
    """A process that serves `place`."""

    def __init__(self, process: subprocess.Popen[bytes], place: Path) -> None:
        self.process = process
        self.place = place

    def peak(self) -> int:
        """Bytes of it that were in memory at most."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10


@contextmanager
def mounted(url: str, place: Path) -> Iterator[Mount]:
    """A mount, which must end well and soon."""
    place.mkdir()
    words = ["mount", "--engine", "fuse", "--near", "memory:", "--prefetch", "none", "--store", url, str(place)]
    with subprocess.Popen([sys.executable, "-m", "appliance", *words], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith(b"READY")
            yield Mount(process, place)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert not place.is_mount()
        finally:
            if process.poll() is None:
                process.kill()  # whoever still reads from it is let go
                process.wait()
                subprocess.run(["umount", "-l", place], check=False)


def within(seconds: float, read: Callable[[], object]) -> object:
    """What reading gave, be it an `OSError`; a mount that lets its readers wait for ever fails the test."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(read).result(seconds)
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:
            raise
        return error
    finally:
        pool.shutdown(wait=False)


class Line:
    """Carries bytes between `path` and a server at `target`; what the server says goes through `tamper` while it lies."""

    def __init__(self, liar: Liar, path: str, target: str, tamper: Tamper) -> None:
        self._liar = liar
        self._target = target
        self._tamper = tamper
        self._open: list[socket.socket] = []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen(64)
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Cut what is connected."""
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """For good."""
        self.cut()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for end in (self._listening, *self._open):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._open += (client, server)
                Thread(target=self._carry, args=(client, server, self._plain), daemon=True).start()
                Thread(target=self._carry, args=(server, client, self._tampered), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, change: Callable[[Iterator[bytes]], Iterable[bytes]]) -> None:
        with suppress(OSError):
            for piece in change(_pieces(source)):
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _plain(pieces: Iterator[bytes]) -> Iterator[bytes]:
        return pieces

    def _tampered(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if not self._liar.lying:
                yield piece
                continue
            yield from self._tamper(self._liar, (one for ones in ([piece], pieces) for one in ones))
            return


def _pieces(source: socket.socket) -> Iterator[bytes]:
    return iter(lambda: source.recv(1 << 16), b"")
