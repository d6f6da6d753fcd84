"""The FUSE protocol spoken directly over /dev/fuse: one loop that reads a request and answers it.

Whatever is near is answered at once, by the loop's own thread. What must come from far is answered by whoever hears that it has
come: this loop, where it polls the connection too, else the thread of a flight. So a request that waits holds nothing up. Names and
attributes are valid for ever, OPEN and OPENDIR are answered with ENOSYS: once warm, the kernel asks nothing.
"""

from __future__ import annotations

import errno
import os
from struct import error as MalformedRequest  # noqa: N812
from typing import TYPE_CHECKING

from tvix.errors import EX_UNAVAILABLE, TvixError
from tvix.json_text import to_json
from tvix.mount.callers import is_dying, is_gone
from tvix.mount.counters import Counters
from tvix.mount.engines import fuse_protocol as fuse
from tvix.mount.engines.fuse_answers import Answers
from tvix.mount.engines.fuse_replies import answer, error
from tvix.mount.engines.fuse_waiting import Attended, PollingReader, RequestReader
from tvix.mount.housekeeper import Housekeeper
from tvix.mount.source import Stalled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvix.mount.engines.fuse_answers import Handler, Reply
    from tvix.mount.source import Done, Source
    from tvix.mount.tree import Tree

_WANTED = (
    fuse.ASYNC_READ
    | fuse.DO_READDIRPLUS
    | fuse.READDIRPLUS_AUTO
    | fuse.PARALLEL_DIROPS
    | fuse.MAX_PAGES
    | fuse.CACHE_SYMLINKS
    | fuse.NO_OPEN_SUPPORT
    | fuse.NO_OPENDIR_SUPPORT
)
_read_header = fuse.IN_HEADER_READ.unpack_from
_MAJOR, _MINOR, _MINOR_LEAST = 7, 38, 28
_READ_AHEAD = 1 << 20
_BACKGROUND, _CONGESTION = 64, 48


class KernelTooOld(TvixError):
    """The kernel speaks a FUSE protocol from before Linux 4.20."""

    identifier = "mount.kernel-too-old"
    message = "the kernel speaks FUSE {major}.{minor}; 7.28 is the least that will do"
    hint = "Linux 4.20 or later is needed"
    exit_code = EX_UNAVAILABLE


class FuseSession:
    """One mount's conversation with the kernel over the descriptor `device`, which stays the caller's.

    `listing` lets the root of a whole store be listed.
    """

    def __init__(
        self,
        device: int,
        tree: Tree,
        source: Source,
        counters: Counters,
        *,
        uid: int = 0,
        gid: int = 0,
        listing: bool = False,
    ) -> None:
        self.counters = counters
        self._device = device
        self.source = source
        self._polled = source.polled
        self.changed: Callable[[], None] | None = None
        """Called about once a second while requests come in, by a thread of its own."""
        self._seen = 0
        self._housekeeper = Housekeeper(self._tick)
        self._caller = 0
        self._waiting: dict[int, int] = {}
        self._interrupted: set[int] = set()
        self._no_opendir = True
        self._refused: KernelTooOld | None = None
        self._handlers: list[Handler | None] = [None] * 256
        answers = Answers(tree, source, self, uid=uid, gid=gid, listing=listing)
        self._idle = answers.idle
        mine: dict[int, Handler] = {
            fuse.INIT: self._init,
            fuse.INTERRUPT: self._interrupt,
            fuse.OPENDIR: self._opendir,
            fuse.IOCTL: self._no_ioctl,
            fuse.DESTROY: self._done,
            fuse.RELEASE: self._done,
            fuse.RELEASEDIR: self._done,
        }
        for operation, handler in (*answers.handlers.items(), *mine.items()):
            self._handlers[operation] = handler

    def greet(self) -> None:
        """Take the kernel's first request, and agree on a version. Raises `KernelTooOld`."""
        buffer = bytearray(fuse.REQUEST_BYTES)
        length = os.readv(self._device, [buffer])
        reply = self.respond(memoryview(buffer)[:length])
        if reply is not None:
            self.send(reply)
        if self._refused is not None:
            raise self._refused

    def serve(self) -> None:
        """Answer until the file system is unmounted. Raises OSError where the device fails otherwise."""
        buffer = bytearray(fuse.REQUEST_BYTES)
        request = memoryview(buffer)
        read, respond, send = self._reader(buffer).read, self.respond, self.send
        try:
            while length := read():
                reply = respond(request[:length])
                if reply is not None:
                    send(reply)
        finally:
            self.close()

    def stop(self) -> None:
        """Have `serve` return: the device is let go of, whatever still waits for it. A signal handler may call this."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, self._device, inheritable=False)
        os.close(null)

    def close(self) -> None:
        """Start nothing more. What is under way goes on."""
        self.source.close()
        self._housekeeper.close()

    def send(self, reply: Reply) -> None:
        """Give a reply to the kernel in one call."""
        try:
            if isinstance(reply, bytes):
                os.write(self._device, reply)
            else:
                os.writev(self._device, reply)
        except OSError as failure:
            # ENOENT: whoever asked is gone. ENODEV: the file system is; the loop will see that too.
            if failure.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def respond(self, request: memoryview) -> Reply | None:
        """The reply to one request, or None where there is none or where it will be sent later."""
        try:
            length, operation, unique, node, self._caller = _read_header(request)
        except MalformedRequest:
            return None
        if length != len(request):
            return error(unique, errno.EIO)
        self.counters.requests[operation & 63] += 1
        if self.changed is not None and not self._housekeeper.awake:
            self._housekeeper.wake()
        handler = self._handlers[operation & 255]
        if handler is None:
            return self._unhandled(operation, unique)
        try:
            reply: Reply | None = handler(unique, node, request)
        except Exception as failure:
            return self._failure(unique, failure)
        return reply

    def _unhandled(self, operation: int, unique: int) -> bytes | None:
        if operation in fuse.UNANSWERED:
            return None
        return error(unique, errno.EROFS if operation in fuse.WRITES else errno.ENOSYS)

    def _failure(self, unique: int, failure: Exception) -> bytes:
        """The reply for an exception."""
        if isinstance(failure, KeyError):
            return error(unique, errno.ESTALE)  # a node that was never given out
        if isinstance(failure, MalformedRequest):
            return error(unique, errno.EINVAL)
        self.counters.errors += 1
        text = str(failure) if isinstance(failure, TvixError) else f"{type(failure).__name__}: {failure}"
        self.counters.last_error = text if not isinstance(failure, Stalled) else "nothing came from far for too long"
        return error(unique, errno.EIO)

    def later(self, unique: int, ask: Callable[[Done], None], finish: Callable[[object], Reply]) -> None:
        """Answer a request once what `ask` asks for is here: `finish` makes the reply of it."""

        def done(result: object) -> None:
            self._waiting.pop(unique, None)
            self._interrupted.discard(unique)
            try:
                if isinstance(result, Exception):
                    raise result
                reply = finish(result)
            except Exception as reason:
                reply = self._failure(unique, reason)
            self.send(reply)

        # A reply may be sent before `ask` returns, so it is noted first who waits.
        self._waiting[unique] = self._caller
        try:
            ask(done)
        except Exception:
            self._waiting.pop(unique, None)
            raise
        self._housekeeper.wake()

    def notify(self, code: int, payload: bytes) -> None:
        """Tell the kernel something unasked. That it doesn't know what is meant is no matter."""
        self.send(fuse.OUT_HEADER.pack(fuse.OUT_HEADER.size + len(payload), code, 0) + payload)

    def count_read(self, length: int) -> None:
        """So many bytes of a file go to the kernel."""
        self.counters.bytes_read += length

    def stats(self) -> bytes:
        """The counters as JSON; see `Counters.as_json`."""
        counted = {**self.counters.as_json(fuse.NAMES), **self.source.counters(), "waiting": len(self._waiting)}
        return to_json(counted).encode()

    def _reader(self, buffer: bytearray) -> RequestReader | PollingReader:
        if self._polled is None:
            return RequestReader(self._device, buffer, self._idle)
        attended = Attended(self._polled, self._waiting, self._let_go_of_the_dying)
        return PollingReader(self._device, buffer, self._idle, attended)

    def _tick(self) -> bool:
        """Once a second, in a thread of its own: whether to come again."""
        total = sum(self.counters.requests) + self.counters.bytes_fetched
        if self.changed is not None and total != self._seen:
            self.changed()
        more = total != self._seen or bool(self._waiting)
        self._seen = total
        if self._polled is None:  # else the loop does
            self._let_go_of_the_dying()
        self.source.expire()
        return more

    def _let_go_of_the_dying(self) -> None:
        """Of those who are being killed, and of those who died without a word."""
        for unique, caller in list(self._waiting.items()):
            over = is_dying(caller) if unique in self._interrupted else is_gone(caller)
            if over and self.source.leave(unique):
                self._waiting.pop(unique, None)
                self._interrupted.discard(unique)
                self.send(error(unique, errno.EINTR))

    # The conversation itself.

    def _init(self, unique: int, _node: int, request: memoryview) -> Reply:
        major, minor, _, offered = fuse.INIT_IN.unpack_from(request, fuse.HEADER_BYTES)
        if major < _MAJOR or (major == _MAJOR and minor < _MINOR_LEAST):
            self._refused = KernelTooOld(major=major, minor=minor)
            return error(unique, errno.EPROTO)
        self._no_opendir = bool(offered & fuse.NO_OPENDIR_SUPPORT)
        reply = fuse.INIT_OUT.pack(
            _MAJOR, min(minor, _MINOR) if major == _MAJOR else _MINOR, _READ_AHEAD, offered & _WANTED,
            _BACKGROUND, _CONGESTION, fuse.MAX_WRITE, 1, fuse.MAX_PAGES_PER_READ, 0, 0, 0,
        )  # fmt: skip
        return answer(unique, reply)

    def _interrupt(self, _unique: int, _node: int, request: memoryview) -> Reply | None:
        (meant,) = fuse.INTERRUPT_IN.unpack_from(request, fuse.HEADER_BYTES)
        if meant in self._waiting:
            self._interrupted.add(meant)
            self._let_go_of_the_dying()
        return None

    def _opendir(self, unique: int, _node: int, _request: memoryview) -> Reply:
        if self._no_opendir:
            return error(unique, errno.ENOSYS)
        return answer(unique, fuse.OPEN_OUT.pack(0, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR, 0))

    def _done(self, unique: int, _node: int, _request: memoryview) -> Reply:
        return answer(unique, b"")

    def _no_ioctl(self, unique: int, _node: int, _request: memoryview) -> Reply:
        return error(unique, errno.ENOTTY)  # isatty() asks this of every file; ENOSYS wouldn't be remembered either
